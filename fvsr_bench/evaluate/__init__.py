"""(methods, clips, protocol) -> records: the one loop that all evaluations go through.

For each clip, for each method: super-resolve, round to 8 bit, measure, store the rows of that clip.
A clip's rows are one file, written whole or not at all, so a killed run loses at most one clip of
one method and never doubles a record; memory does not grow with the number of clips.
"""

import dataclasses
import functools
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from fvsr_bench.errors import FvsrError, ModelError, UsageError
from fvsr_bench.evaluate.measure import Truth, load_network, run_clip
from fvsr_bench.evaluate.plan import Job, Setting, covers, fitting, plan
from fvsr_bench.faces.judge import face_distance
from fvsr_bench.manifest import (
    DatasetFacts,
    RunManifest,
    circumstances,
    read_facts,
    read_manifest,
    write_json,
)
from fvsr_bench.records import RunKey, clip_table, merge_parts, write_table
from fvsr_bench.spec import Clip

Progress = Callable[[str, int, int], None]  # what is done now, steps done, steps in all
FOREIGN = "frames of another program"  # in place of a method's source
Produce = Callable[[Clip], Tensor]  # the super-resolved frames of a clip: uint8 [T, 3, H, W]


@dataclass
class _Row:
    """A job on its way through the loop."""

    job: Job
    manifest: RunManifest
    produce: Produce | None = None
    missing: list[str] = field(default_factory=list)  # clips without a part
    seconds: float = 0.0
    making: list[float] = field(default_factory=list)  # ms per frame of each clip, models only

    @property
    def timed(self) -> bool:
        """Whether a network makes the frames: what another program brought along has no time."""
        return bool(self.manifest.identity["source"] != FOREIGN)

    @property
    def active(self) -> bool:
        return self.manifest.status == "running"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What `evaluate` did: the manifests of all jobs, and how many were run now."""

    manifests: tuple[RunManifest, ...]
    ran: int
    replaced: tuple[str, ...]  # older runs of the same rows that gave way to new ones


class Folder:
    """The paths of one results folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.records, self.manifests = root, root / "records", root / "manifests"

    def final(self, manifest: RunManifest) -> Path:
        return self.records / f"{manifest.stem}.parquet"

    def parts(self, manifest: RunManifest) -> Path:
        return self.records / ".parts" / manifest.stem

    def part(self, manifest: RunManifest, clip: str) -> Path:
        return self.parts(manifest) / f"{clip}.parquet"

    def manifest(self, manifest: RunManifest) -> Path:
        return self.manifests / f"{manifest.stem}.json"


def evaluate(
    jobs: Sequence[Job], setting: Setting, out: Path, progress: Progress | None = None
) -> Outcome:
    """Evaluate every job on every clip into the results folder `out`; skip what is there.

    One broken method does not stop the others: its manifest says why it has no numbers. Raises
    UsageError when `out` holds results of other data, DataError when a clip cannot be read.
    """
    folder = Folder(out)
    rows = [_Row(job=job, manifest=plan(job, setting)) for job in jobs]
    return _evaluate(rows, setting, folder, progress)


def evaluate_frames(
    manifest: RunManifest,
    produce: Produce,
    setting: Setting,
    out: Path,
    progress: Progress | None = None,
) -> Outcome:
    """Measure frames that `produce` brings along instead of a model: the same records.

    `manifest` (status "running") says what they are. What `produce` raises stops the run.
    """
    row = _Row(job=Job(method=manifest.model), manifest=manifest, produce=produce)
    return _evaluate([row], setting, Folder(out), progress)


def _evaluate(
    rows: list[_Row], setting: Setting, folder: Folder, progress: Progress | None
) -> Outcome:
    claim(folder, setting.facts())
    pending = [row for row in rows if row.active and not _finished(row, folder)]
    for row in pending:
        row.missing = [c for c in setting.clips if not folder.part(row.manifest, c).exists()]
        if row.produce is None:
            _load(row, setting)
    with torch.inference_mode():
        _loop(pending, setting, folder, progress or (lambda *_: None))
    for row in pending:
        if row.active:
            _complete(row, setting, folder)
    replaced = [name for row in rows for name in _store(row, folder)]
    return Outcome(
        manifests=tuple(row.manifest for row in rows),
        ran=sum(row.manifest.status == "complete" for row in pending),
        replaced=tuple(replaced),
    )


def claim(folder: Folder, facts: DatasetFacts) -> None:
    """Note whose results a folder holds. Raises UsageError when they are of other data."""
    path = folder.manifests / "dataset.json"
    if path.exists():
        old = read_facts(path)
        same = (old.id, old.split, dict(old.clips)) == (facts.id, facts.split, dict(facts.clips))
        if not same:
            raise UsageError(
                f"{folder.root} holds results of dataset '{old.name}' ({old.id}, split "
                f"{old.split}, {len(old.clips)} clips), not of '{facts.name}' ({facts.id}, split "
                f"{facts.split}, {len(facts.clips)} clips): choose another --out or delete it"
            )
    write_json(facts, path)


def _finished(row: _Row, folder: Folder) -> bool:
    """Take over the manifest of a run that is complete on disk, perhaps with more judges.

    What a reader is told of the method is that of today: it decides no number.
    """
    for path in sorted(folder.manifests.glob(f"{row.manifest.model}-*.json")):
        stored = read_manifest(path)
        done = stored.status == "complete" and folder.final(stored).exists()
        if done and covers(stored, row.manifest):
            about = row.manifest.about
            about = dataclasses.replace(about, parameters=stored.about.parameters)
            row.manifest = dataclasses.replace(stored, about=about)
            return True
    return False


def _load(row: _Row, setting: Setting) -> None:
    job = fitting(row.job, setting.dataset)
    try:
        model = load_network(job.method, job.weights, setting.device)
    except FvsrError as error:
        return _fail(row, str(error))
    count = sum(p.numel() for p in model.parameters())
    about = dataclasses.replace(row.manifest.about, parameters=count)
    row.manifest = dataclasses.replace(row.manifest, about=about)
    row.produce = functools.partial(
        run_clip, model, device=setting.device, precision=setting.precision
    )
    return None


def _fail(row: _Row, reason: str) -> None:
    row.manifest = dataclasses.replace(
        row.manifest, status="failed", reason=" ".join(reason.split())
    )
    row.produce = None  # give the model's memory back


def _loop(rows: list[_Row], setting: Setting, folder: Folder, progress: Progress) -> None:
    rows = [row for row in rows if row.active]
    total = sum(len(row.missing) for row in rows)
    if not total:
        return
    face = face_distance(setting.device, setting.protocol.face_box)
    for clip_id in setting.clips:
        todo = [row for row in rows if clip_id in row.missing]
        if not todo:
            continue
        cache = setting.dataset.root / ".cache" / "faces"
        clip = setting.dataset.load(clip_id)
        truth = Truth(clip, face, setting.device, cache, setting.judges)
        for row in todo:
            left = sum(len(row.missing) for row in rows)
            progress(f"{clip_id}: {row.manifest.about.title}", total - left, total)
            _one(row, truth, setting, folder)
    progress("done", total, total)


def _one(row: _Row, truth: Truth, setting: Setting, folder: Folder) -> None:
    """Run one method on one clip and store the clip's rows; only the method's own fault is kept."""
    start, manifest, clip = time.monotonic(), row.manifest, truth.clip
    assert row.produce is not None  # rows of the loop are active and have one
    try:
        sr = row.produce(clip)
        made = time.monotonic() - start
    except ModelError as error:
        _fail(row, f"clip {clip.id}: {error}")
        row.missing.clear()
        return
    table = clip_table(run_key(manifest, setting), clip.id, truth.measure(sr))
    write_table(table, folder.part(manifest, clip.id))
    row.missing.remove(clip.id)
    row.seconds += time.monotonic() - start
    if row.timed:
        row.making.append(1000 * made / len(clip.lr))


def run_key(manifest: RunManifest, setting: Setting) -> RunKey:
    """Return the columns that are the same on every record of a run."""
    return RunKey(
        run_id=manifest.run_id,
        model=manifest.model,
        variant=manifest.variant,
        weights=manifest.weights,
        dataset=setting.dataset.name,
        degradation=setting.dataset.degradation.name,
    )


def _complete(row: _Row, setting: Setting, folder: Folder) -> None:
    """Join the parts of a run whose clips are all there."""
    parts = [folder.part(row.manifest, clip) for clip in setting.clips]
    merge_parts(parts, folder.final(row.manifest))
    circumstance = circumstances(device=setting.device, seconds=row.seconds)
    if row.making:  # the median: the first clip warms up
        circumstance["ms_per_frame"] = round(statistics.median(row.making), 2)
    row.manifest = dataclasses.replace(row.manifest, status="complete", circumstance=circumstance)


def _store(row: _Row, folder: Folder) -> list[str]:
    """Write the manifest; remove what it replaces. Returns the names of replaced runs."""
    new = row.manifest
    replaced = remove_older(new, folder)
    path = folder.manifest(new)
    if new.status != "complete" and _has_numbers(new, folder):
        return replaced  # the row keeps the numbers it has
    if not path.exists() or read_manifest(path) != new:
        write_json(new, path)
    if new.status == "complete":
        shutil.rmtree(folder.parts(new), ignore_errors=True)
        parent = folder.records / ".parts"
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    return replaced


def remove_older(new: RunManifest, folder: Folder) -> list[str]:
    """Remove the runs of the same row that give way to `new`; names those that had numbers."""
    replaced = []
    for path in sorted(folder.manifests.glob(f"{new.model}-*.json")):
        old = read_manifest(path)
        if old.run_id == new.run_id or not _gives_way(old, new):
            continue
        shutil.rmtree(folder.parts(old), ignore_errors=True)
        folder.final(old).unlink(missing_ok=True)
        path.unlink()
        if old.status == "complete":
            replaced.append(old.stem)
    return replaced


def _has_numbers(row: RunManifest, folder: Folder) -> bool:
    """Say whether an earlier run of the same row left complete records."""
    others = (read_manifest(path) for path in folder.manifests.glob(f"{row.model}-*.json"))
    return any(other.status == "complete" and _same_row(other, row) for other in others)


def _gives_way(old: RunManifest, new: RunManifest) -> bool:
    """A refusal gives way to whatever came of its row later; numbers only to newer numbers."""
    return _same_row(old, new) and (old.status != "complete" or new.status == "complete")


def _same_row(a: RunManifest, b: RunManifest) -> bool:
    """Compare what a row is named by; "default" stands for weights that were never found."""
    tags = {a.weights, b.weights}
    return (a.model, a.variant) == (b.model, b.variant) and (len(tags) == 1 or "default" in tags)
