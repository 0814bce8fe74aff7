"""Keeps the frames of a few clips: made by the very method that was measured, or not."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from fvsr_bench import registry
from fvsr_bench.data.rights import Rights, rights
from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import FvsrError, UsageError
from fvsr_bench.evaluate import Produce, Progress
from fvsr_bench.evaluate.measure import load_network, run_clip
from fvsr_bench.evaluate.plan import Job, Setting, plan
from fvsr_bench.manifest import RunManifest
from fvsr_bench.spec import Clip
from fvsr_bench.strips import (
    GT,
    LR,
    KeptClip,
    frames_folder,
    read_clip,
    write_clip,
    write_strip,
)

SAME = ("options", "source", "blocks", "weights_sha256", "dataset", "precision")


@dataclass(frozen=True, kw_only=True)
class Maker:
    """How the frames of a run are made: by a job, or by a function that brings them along."""

    job: Job | None = None
    produce: Produce | None = None


def showable(dataset: Dataset, clips: Sequence[str], *, private: bool = False) -> dict[str, Rights]:
    """Return the clips of which frames may be shown, with how many. `private`: all of them."""
    found = {}
    for clip in clips:
        allowed = rights(str(dataset.row(clip)["source"]))
        if private and allowed.licence:
            allowed = dataclasses.replace(allowed, most=None, private=True)
        if allowed.most != 0:
            found[clip] = allowed
    return found


def keep_frames(
    root: Path,
    clips: Mapping[str, Rights],
    runs: Sequence[RunManifest],
    setting: Setting,
    makers: Mapping[str, Maker],
    progress: Progress | None = None,
) -> list[str]:
    """Write the missing frames of `clips` for all complete `runs` into the results folder `root`.

    `makers` maps run ids to how their frames are made; a run without an entry is found by name in
    the registry. Returns one line per run whose frames could not be made: those are left out.
    """
    tick = progress or (lambda *_: None)
    complete = [m for m in runs if m.status == "complete"]
    kept = {clip: _keep_truth(root, clip, allowed, setting) for clip, allowed in clips.items()}
    for clip in kept.values():
        for stale in clip.runs() - {m.stem for m in complete}:
            clip.path(stale).unlink()
    todo = [m for m in complete if any(not clip.path(m.stem).exists() for clip in kept.values())]
    notes = []
    for number, manifest in enumerate(todo):
        tick(f"frames of {manifest.about.title}", number, len(todo))
        try:
            produce = _producer(manifest, makers.get(manifest.run_id, Maker()), setting)
            _keep_run(kept, manifest, produce, setting)
        except FvsrError as error:
            notes.append(f"no frames of {manifest.about.title}: {error}")
    return notes


def _keep_truth(root: Path, clip_id: str, allowed: Rights, setting: Setting) -> KeptClip:
    """Write the ground truth and the LR frames of a clip, unless they are there."""
    dataset = setting.dataset
    row = dataset.row(clip_id)
    frames = allowed.frames(int(row["frames"]))
    old = read_clip(root, clip_id)
    if old and (old.dataset, old.frames) == (dataset.id, frames) and old.path(GT).exists():
        return old
    clip = dataset.load(clip_id)
    points = np.round(clip.landmarks[list(frames)].astype(float), 2).tolist()
    kept = KeptClip(
        clip=clip_id,
        dataset=dataset.id,
        frames=frames,
        total=len(clip.hr),
        size=dataset.meta.size,
        scale=dataset.degradation.scale,
        fps=clip.fps,
        landmarks=tuple(tuple((x, y) for x, y in frame) for frame in points),
        source=clip.source,
        licence=allowed.licence,
        private=allowed.private,
        note=dataset.meta.notes,
        root=frames_folder(root) / clip_id,
    )
    for path in kept.root.glob("*.webp"):  # of other data
        path.unlink()
    write_strip(kept.path(GT), clip.hr[list(frames)])
    write_strip(kept.path(LR), clip.lr[list(frames)])
    write_clip(kept)
    return kept


def _keep_run(
    kept: Mapping[str, KeptClip], manifest: RunManifest, produce: Produce, setting: Setting
) -> None:
    for clip_id, clip in kept.items():
        if clip.path(manifest.stem).exists():
            continue
        with torch.inference_mode():
            sr = produce(setting.dataset.load(clip_id))
        frames = sr.movedim(1, -1)[list(clip.frames)].cpu().numpy()
        write_strip(clip.path(manifest.stem), np.ascontiguousarray(frames))


def _producer(manifest: RunManifest, maker: Maker, setting: Setting) -> Produce:
    """Find what makes a run's frames; raises UsageError if it is not what was measured."""
    if maker.produce is not None:
        return maker.produce
    job = maker.job or _job(manifest)
    setting = dataclasses.replace(
        setting, precision=manifest.identity["precision"], allow_mismatch=True
    )
    now = plan(job, setting)
    if now.status != "running":
        raise UsageError(now.reason or "it cannot be run here")
    was = {**manifest.identity, "blocks": manifest.identity.get("blocks") or now.identity["blocks"]}
    changed = [name for name in SAME if now.identity[name] != was.get(name)]
    if changed:
        raise UsageError(f"its {' and '.join(changed)} changed since it was measured; run it again")
    weights = None if manifest.weights == "none" else manifest.weights
    model = load_network(job.method, job.weights or weights, setting.device)

    def produce(clip: Clip) -> torch.Tensor:
        return run_clip(model, clip, device=setting.device, precision=setting.precision)

    return produce


def _job(manifest: RunManifest) -> Job:
    """Name the job of a run that was measured by an earlier command."""
    if manifest.model not in registry.methods():
        raise UsageError(
            f"'{manifest.model}' is not an installed method; its frames are kept when it is run: "
            f"fvsr-bench run --models ./{manifest.model}.py"
        )
    variant = manifest.variant.removesuffix("-bf16")
    weights = None if manifest.weights == "none" else manifest.weights
    return Job(method=manifest.model, variant=variant, weights=weights)
