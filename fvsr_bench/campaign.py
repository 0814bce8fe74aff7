"""A list of networks to train, in order of value; any number of processes work it off together."""

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ConfigDict, TypeAdapter, ValidationError

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
    train: tuple[Entry, ...]


def read_campaign(path: Path) -> Campaign:
    """Read a campaign file; raises UsageError that names the wrong key or value."""
    try:
        values = tomllib.loads(path.read_text())
        return TypeAdapter(Campaign).validate_python(values)
    except OSError as error:
        raise UsageError(f"cannot read campaign {path}: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{path}, '{where}': {first['msg']}.") from error


def make_job(entry: Entry, campaign: Campaign, weights: Path) -> TrainJob:
    """Turn an entry into a training job; a seed other than 0 is part of the tag.

    `weights` is the folder that the campaign fills, and where an entry's start lies.
    """
    spec = load_spec(entry.method)
    tag, options = variant(spec, entry.without, entry.tag)
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


def is_done(job: TrainJob, weights: Path) -> bool:
    """Say whether weights trained for at least the job's steps lie in the folder.

    Raises UsageError if those that lie there were trained otherwise: the list would replace them,
    or take them for its own.
    """
    path = _weights(weights, job.method, job.tag)
    if not path.is_file():
        return False
    try:
        card = read_card(path)
    except WeightsError:
        return False
    if other := difference(card, job):
        raise UsageError(
            f"{path} holds a network that was trained otherwise than this list says ({other}); "
            "choose another --out."
        )
    return int(card.recipe.get("steps", 0)) >= job.recipe.steps


def missing(campaign: Campaign, weights: Path) -> list[tuple[Entry, TrainJob]]:
    """List what is still to be trained, in the order of the file."""
    jobs = [(entry, make_job(entry, campaign, weights)) for entry in campaign.train]
    return [(entry, job) for entry, job in jobs if not is_done(job, weights)]


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


def summary(campaign: Campaign, weights: Path) -> list[dict[str, Any]]:
    """Return one row per network: what it is and whether its weights are there.

    "other" are weights of that name which were trained otherwise than the list says.
    """
    rows = []
    for entry in campaign.train:
        job = make_job(entry, campaign, weights)
        try:
            state = "done" if is_done(job, weights) else "missing"
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
