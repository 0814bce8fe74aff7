"""Decide, before any pixel is touched, what a run is made from and whether it may be run."""

import dataclasses
import functools
import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fvsr_bench import registry
from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import FvsrError, ModelError, UsageError, WeightsError, unknown
from fvsr_bench.evaluate.judges import Judge
from fvsr_bench.infer import Precision
from fvsr_bench.manifest import About, DatasetFacts, Identity, RunManifest, Status
from fvsr_bench.spec import EvalProtocol, ModelCard, ModelSpec, digest

MEASURES = "grid-3"  # change it when the set of stored measures changes


@dataclass(frozen=True, kw_only=True)
class Job:
    """One method with one set of weights: a row of a table."""

    method: str  # name in the registry, or the path of a method's file
    variant: str = "full"  # or the ablation's name; weights tagged bi-seed1 are variant "seed1"
    weights: str | None = None  # tag or path; None = the method's default


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all jobs of a run share."""

    dataset: Dataset
    clips: tuple[str, ...]
    split: str
    protocol: EvalProtocol
    device: str = "cpu"
    precision: Precision = "fp32"
    allow_mismatch: bool = False
    judges: tuple[Judge, ...] = ()

    @property
    def measures(self) -> str:
        """Name what is measured: the grid, and the judges that were asked for."""
        return "+".join([MEASURES, *(judge.key for judge in self.judges)])

    def facts(self) -> DatasetFacts:
        """Collect what the report will say about the data."""
        data, index = self.dataset, self.dataset.index
        subjects = dict(zip(index["clip"], index["subject"].astype(str), strict=True))
        splits = {
            str(name): (len(rows), int(rows["frames"].sum()))
            for name, rows in index.groupby("split", sort=True)
        }
        meta = data.meta
        return DatasetFacts(
            name=data.name,
            id=data.id,
            kind=meta.kind,
            degradation=data.degradation.name,
            phase=data.degradation.phase,
            scale=data.degradation.scale,
            split=self.split,
            clips={clip: subjects[clip] for clip in self.clips},
            splits=splits,
            notes={
                "crop": meta.crop,
                "margin": meta.margin,
                "seed": meta.seed,
                "split_by": meta.split_by,
                "notes": meta.notes,
            },
        )


def choose_clips(dataset: Dataset, split: str, limit: int = 0) -> tuple[str, ...]:
    """List the clips of a split, the first `limit` if > 0. Raises UsageError if there is none."""
    clips = dataset.clip_ids(split)
    if not clips:
        have = dataset.index["split"].value_counts().sort_index()
        counts = ", ".join(f"{name} ({count})" for name, count in have.items())
        raise UsageError(
            f"dataset '{dataset.name}' has no clips in split '{split}'; it has {counts}: "
            "choose one with --split"
        )
    return tuple(clips[:limit] if limit > 0 else clips)


def choose_jobs(models: str) -> list[Job]:
    """Turn `--models` (all | a,b | ./file.py) into jobs; METHOD@TAG asks for certain weights.

    Raises UsageError for an unknown name, with the nearest known one.
    """
    words = [word.strip() for word in models.split(",") if word.strip()]
    if not words:
        raise UsageError("--models is empty; expected 'all', names (a,b,c) or ./my_model.py")
    known = registry.methods()
    jobs: list[Job] = []
    for word in words:
        if word == "all":
            jobs += [Job(method=name) for name in visible_methods()]
            continue
        name, _, tag = word.partition("@")
        is_file = name.endswith(".py")
        if is_file and not Path(name).is_file():
            raise UsageError(f"--models {name}: no such file; expected a Python file with a SPEC")
        if not is_file and name not in known:
            raise unknown("method", name, known)
        jobs.append(Job(method=name, weights=tag or None))
    return list(dict.fromkeys(jobs))


def visible_methods() -> list[str]:
    """List the methods that `all` means: every one that does not hide itself."""
    names = []
    for name in registry.methods():
        try:
            hidden = registry.load_spec(name).hidden
        except FvsrError:
            hidden = False  # it appears in the table with the reason
        if not hidden:
            names.append(name)
    return names


def plan(job: Job, setting: Setting) -> RunManifest:
    """Describe the run of one job: status "running", or why it cannot be run. Never raises."""
    name = registry.method_name(job.method)
    try:
        spec = registry.load_spec(job.method)
    except FvsrError as error:
        about = About(title=name, reference="unknown", licence="unknown", lookahead=None)
        return _refusal(job, setting, about, "unavailable", str(error))
    about = describe(spec)
    if not spec.trainable:
        return _manifest(job, setting, about, spec, None)
    job = fitting(job, setting.dataset)
    try:
        card = registry.load_card(job.method, job.weights)
    except WeightsError as error:
        if job.weights is None and not registry.weights_tags(job.method):
            reason = f"no weights: run `fvsr-bench train {job.method} --data DIR`"
            return _refusal(job, setting, about, "no-weights", reason)
        return _refusal(job, setting, about, "failed", str(error))
    job = dataclasses.replace(job, weights=card.tag) if job.weights else job
    seed = re.search(r"-(seed\d+)$", card.tag)
    if seed and job.variant == "full":  # another throw of the dice, not another method
        job = dataclasses.replace(job, variant=seed[1])
    if reason := wrong_scale(card, setting.dataset):
        return _refusal(job, setting, about, "refused", reason)
    about = dataclasses.replace(
        about,
        origin=card.origin,
        trained_for=f"{card.degradation}/{card.phase}",
        steps=int(card.recipe.get("steps") or card.steps),
        before=registry.steps_before(card),
        losses="+".join(sorted(card.recipe.get("losses") or ())),
        notes=card.notes,
        mismatch=mismatch(card, setting.dataset),
    )
    parts = switched_off(spec, card.options)
    if parts and job.variant == "full":  # the paper's numbers are those of the whole network
        title = " ".join([about.title, *(f"−{part}" for part in parts)])
        about = dataclasses.replace(about, title=title, published={})
    if about.mismatch and not setting.allow_mismatch:
        reason = f"{about.mismatch}; to evaluate it nevertheless: --allow-mismatch"
        return _refusal(job, setting, about, "refused", reason)
    return _manifest(job, setting, about, spec, card)


def fitting(job: Job, dataset: Dataset) -> Job:
    """Prefer, when no weights are asked for, those made for the dataset's degradation."""
    tag = dataset.degradation.name
    if job.weights is None and tag in registry.weights_tags(job.method):
        return dataclasses.replace(job, weights=tag)
    return job


def describe(spec: ModelSpec) -> About:
    """Copy from the spec what a report prints."""
    published = {name: dataclasses.asdict(value) for name, value in spec.published.items()}
    return About(
        title=spec.title,
        reference=spec.reference,
        licence=spec.licence,
        lookahead=spec.lookahead,
        published=published,
    )


def covers(done: RunManifest, wanted: RunManifest) -> bool:
    """Say whether a run holds what another would: the same numbers, of at least its judges.

    Runs of before the shared blocks were written down are believed.
    """
    sides = [json.loads(json.dumps(dict(m.identity))) for m in (done, wanted)]
    have, need = (set(str(side.pop("measures", "")).split("+")) for side in sides)
    blocks = {str(side.pop("blocks", "")) for side in sides} - {""}
    if len(blocks) > 1:
        return False
    return bool(sides[0] == sides[1]) and have >= need


def switched_off(spec: ModelSpec, options: Mapping[str, Any]) -> list[str]:
    """List the ablations that a network built with `options` is."""
    return sorted(
        name
        for name, changes in spec.ablations.items()
        if changes and all(key in options and options[key] == changes[key] for key in changes)
    )


def mismatch(card: ModelCard, dataset: Dataset) -> str:
    """Say how the LR frames of the weights' training differ from the dataset's; "" = they fit."""
    data = dataset.degradation
    if card.degradation == data.name and card.phase == data.phase:
        return ""
    return (
        f"weights '{card.tag}' were trained for {card.degradation} ({card.phase} phase), but the "
        f"dataset's LR frames are {data.name} ({data.phase} phase)"
    )


def wrong_scale(card: ModelCard, dataset: Dataset) -> str:
    """Say that the weights enlarge by another factor than the dataset needs; "" = the same."""
    scale, wanted = card.options.get("scale", dataset.degradation.scale), dataset.degradation.scale
    if scale == wanted:
        return ""
    return f"weights '{card.tag}' enlarge x{scale}, but the dataset's frames are x{wanted} apart"


def source_digest(method: str) -> str:
    """Hash the method's own file, or its folder: edited code must not pass for measured code.

    Beside a single file, what it may share with its neighbours counts as well: `_*.py`.
    """
    if method.endswith(".py"):
        path = Path(method)
    else:
        path = Path(str(sys.modules[registry.methods()[method].module].__file__))
    if path.name == "__init__.py":
        return _hash(sorted(path.parent.rglob("*.py")))
    shared = (p for p in sorted(path.parent.glob("_*.py")) if not p.name.startswith("__"))
    return _hash([path, *shared])


def built_in_weights(method: str) -> str:
    """Hash what an untrainable method's `build` brings along, a checkpoint, say; "" = nothing."""
    try:
        state = registry.build(method).state_dict()
    except ModelError:  # loading it for the run says why
        return ""
    content = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return content.hexdigest() if state else ""


@functools.cache
def blocks_digest() -> str:
    """Hash what networks are built from and run by: an edited warp moves numbers, too."""
    here = Path(__file__).parents[1]
    files = [here / "infer.py", *sorted((here / "nn").rglob("*.py"))]
    return _hash(files)


def _hash(files: Sequence[Path]) -> str:
    text = b"".join(file.read_bytes().replace(b"\r\n", b"\n") for file in files)
    return hashlib.sha256(text).hexdigest()[:12]


def _manifest(
    job: Job, setting: Setting, about: About, spec: ModelSpec, card: ModelCard | None
) -> RunManifest:
    options = dict(card.options) if card else dict(spec.options)
    built_in = "" if card else built_in_weights(job.method)
    identity = _identity(job, setting, options, source_digest(job.method), card, built_in)
    return _row(job, setting, about, identity, "running", "", card.tag if card else "none")


def _refusal(job: Job, setting: Setting, about: About, status: Status, reason: str) -> RunManifest:
    identity = _identity(job, setting, {}, "", None)
    return _row(job, setting, about, identity, status, reason, job.weights or "default")


def _identity(
    job: Job,
    setting: Setting,
    options: dict,
    source: str,
    card: ModelCard | None,
    built_in: str = "",
) -> Identity:
    from fvsr_bench import __version__

    return Identity(
        method=registry.method_name(job.method),
        variant=_variant(job, setting),
        options=options,
        source=source,
        blocks=blocks_digest(),
        weights=card.tag if card else job.weights or "none",
        weights_sha256=card.sha256 if card else built_in,
        dataset=setting.dataset.id,
        split=setting.split,
        clips=digest(list(setting.clips)),
        degradation=setting.dataset.degradation.name,
        measures=setting.measures,
        face_box=setting.protocol.face_box,
        precision=setting.precision,
        version=__version__,
    )


def _variant(job: Job, setting: Setting) -> str:
    return job.variant if setting.precision == "fp32" else f"{job.variant}-{setting.precision}"


def _row(
    job: Job,
    setting: Setting,
    about: About,
    identity: Identity,
    status: Status,
    reason: str,
    weights: str,
) -> RunManifest:
    return RunManifest(
        run_id=identity.run_id(),
        model=registry.method_name(job.method),
        variant=_variant(job, setting),
        weights=weights,
        status=status,
        reason=" ".join(reason.split()),
        identity=dataclasses.asdict(identity),
        about=about,
    )
