"""A list of networks to train, in order of value; any number of processes work it off together."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ConfigDict, TypeAdapter, ValidationError

from fvsr_bench.data.store import Dataset, open_dataset
from fvsr_bench.errors import UsageError, WeightsError
from fvsr_bench.recipes import choose_recipe, variant
from fvsr_bench.registry import load_spec, method_name, read_card
from fvsr_bench.train import TrainJob, difference


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One network of a campaign."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    method: str
    without: tuple[str, ...] = ()
    recipe: str = "default"
    tag: str = ""
    seed: int = 0
    steps: int = 0  # 0 = the campaign's
    learning_rate: float = 0.0  # 0 = the campaign's, or the recipe's
    data: str = ""  # "" = the campaign's
    notes: str = ""  # for the card and the tables' footnotes
    start: str = ""  # tag of the method's weights to start from; they come earlier in the list


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """A campaign file: what to train on, for how long, and which networks."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    data: str
    steps: int
    learning_rate: float = 0.0  # 0 = the recipe's
    # Ids of datasets that count as the campaign's: the same clips, found on another processor.
    twins: tuple[str, ...] = ()
    train: tuple[Entry, ...]


def read_campaign(path: Path) -> Campaign:
    """Read a campaign file; raises UsageError that names the wrong key or value."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return TypeAdapter(Campaign).validate_python(values)
    except OSError as error:
        raise UsageError(f"cannot read campaign {path}: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}, '{where}': {first['msg']}.") from error


def open_datasets(campaign: Campaign) -> dict[str, Dataset]:
    """Open the datasets of a campaign that are there, by the names that its entries have for them.

    Raises DataError for a damaged one.
    """
    folders = dict.fromkeys(entry.data or campaign.data for entry in campaign.train)
    return {folder: open_dataset(folder) for folder in folders if Path(folder).exists()}


def make_job(
    entry: Entry, campaign: Campaign, weights: Path, dataset: Dataset | None = None
) -> TrainJob:
    """Turn an entry into a training job; a seed other than 0 is part of the tag.

    `weights` is the folder that the campaign fills, and where an entry's start lies. Without its
    dataset, an entry is thought to have LR frames by bi.
    """
    spec = load_spec(entry.method)
    degradation = dataset.degradation.name if dataset else "bi"
    tag, options = variant(spec, entry.without, entry.tag, degradation)
    steps = entry.steps or campaign.steps
    rate = entry.learning_rate or campaign.learning_rate
    recipe, changes = choose_recipe(spec, entry.recipe, steps, rate)
    if entry.recipe != "default" and not entry.tag:
        tag = f"{tag}-{entry.recipe}"
    if entry.seed:
        tag = f"{tag}-seed{entry.seed}"
    return TrainJob(
        method=entry.method,
        tag=tag,
        options={**options, **changes},
        recipe=recipe,
        seed=entry.seed,
        notes=entry.notes,
        start=_weights(weights, entry.method, entry.start) if entry.start else None,
    )


def _weights(folder: Path, method: str, tag: str) -> Path:
    return folder / method_name(method) / f"{tag}.safetensors"


def is_done(
    job: TrainJob, weights: Path, dataset: Dataset | None = None, twins: Sequence[str] = ()
) -> bool:
    """Say whether weights trained for at least the job's steps lie in the folder.

    `dataset`: what they are to be trained on, where that is known, or one of its `twins`. Raises
    UsageError if those that lie there were trained otherwise: the list would replace them, or take
    them for its own.
    """
    path = _weights(weights, job.method, job.tag)
    if not path.is_file():
        return False
    try:
        card = read_card(path)
    except WeightsError:
        return False
    other = difference(card, job)
    same = [f"{dataset.name} {one}" for one in (dataset.id, *twins)] if dataset else [card.data]
    if dataset and card.data not in same:
        other = f"data: {card.data}, not {dataset.title}"
    if other:
        raise UsageError(
            f"{path} holds a network that was trained otherwise than this list says ({other}); "
            "choose another --out."
        )
    return int(card.recipe.get("steps", 0)) >= job.recipe.steps


def missing(
    campaign: Campaign, weights: Path, datasets: Mapping[str, Dataset]
) -> list[tuple[Entry, TrainJob]]:
    """List what is still to be trained, in the order of the file; `datasets`: those there are."""
    lacking = []
    for entry in campaign.train:
        dataset = datasets.get(entry.data or campaign.data)
        job = make_job(entry, campaign, weights, dataset)
        if not is_done(job, weights, dataset, campaign.twins):
            lacking.append((entry, job))
    return lacking


def claim(
    todo: Sequence[tuple[Entry, TrainJob]], runs: Path, weights: Path
) -> Iterator[tuple[Entry, TrainJob]]:
    """Yield each job that no other process is working on, holding its lock meanwhile.

    A job whose start is not there yet, or is to be trained for longer by another job of `todo`, is
    left for the next call.
    """
    runs.mkdir(parents=True, exist_ok=True)
    planned = {_weights(weights, job.method, job.tag): job for _, job in todo}
    for entry, job in todo:
        name = f"{method_name(job.method)}-{job.tag}.lock"
        lock = FileLock(runs / name, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            continue
        try:
            first = planned.get(job.start) if job.start else None
            ready = not job.start or (is_done(first, weights) if first else job.start.is_file())
            if ready and not is_done(job, weights):
                yield entry, job
        finally:
            lock.release()


def summary(
    campaign: Campaign, weights: Path, datasets: Mapping[str, Dataset]
) -> list[dict[str, Any]]:
    """Return one row per network: what it is and whether its weights are there.

    "other" are weights of that name which were trained otherwise than the list says.
    """
    rows = []
    for entry in campaign.train:
        dataset = datasets.get(entry.data or campaign.data)
        job = make_job(entry, campaign, weights, dataset)
        try:
            state = "done" if is_done(job, weights, dataset, campaign.twins) else "missing"
        except UsageError:
            state = "other"
        rows.append(
            {
                "method": entry.method,
                "tag": job.tag,
                "steps": job.recipe.steps,
                "seed": entry.seed,
                "weights": state,
            }
        )
    return rows
