"""The same HR frames under another degradation: a second dataset, without the videos.

Experiments about the degradation alone need two datasets that differ in nothing else: clips,
splits, frames and landmarks are the same, the HR files are the very same files.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fvsr_bench.data.store import (
    ClipInfo,
    Dataset,
    DatasetMeta,
    DatasetWriter,
    claim,
    open_dataset,
)
from fvsr_bench.errors import DataError, UsageError, unknown
from fvsr_bench.files import write_atomic
from fvsr_bench.spec import DEGRADATIONS

Progress = Callable[[str, int, int], None]  # clip, clips done, clips in all


def redegrade(
    dataset: Dataset, degradation: str, out: Path, progress: Progress | None = None
) -> Dataset:
    """Write a dataset into `out` with the HR frames of another and new LR frames; resumes.

    `degradation` is bi, bd15 or bd16. HR frames are hard-linked. Returns the new dataset, or the
    one that is already there. Raises UsageError when `out` is the dataset itself or another one,
    DataError when it was begun from another dataset or with another degradation.
    """
    if degradation not in DEGRADATIONS:
        raise unknown("degradation", degradation, DEGRADATIONS)
    if out.resolve() == dataset.root.resolve():
        raise UsageError(f"{out} is the dataset itself; choose another folder with --out")
    meta = _meta(dataset, degradation)
    if (out / "dataset.json").exists():
        there = _same_or_error(out, meta)
        _share_faces(dataset, out)
        return there
    state = claim(out, "redegrade", {"source": dataset.id, "degradation": degradation})
    writer = DatasetWriter(out, meta)
    clips = dataset.clip_ids()
    for done, clip_id in enumerate(clips):
        if progress:
            progress(clip_id, done, len(clips))
        if not writer.has(clip_id):
            folder = dataset.root / "hr" / clip_id
            writer.add(ClipInfo.of_row(dataset.row(clip_id)), dataset.load(clip_id).hr, linked=folder)
    if progress:
        progress("done", len(clips), len(clips))
    made = writer.finish(skipped=_skipped(dataset))
    shutil.rmtree(state, ignore_errors=True)
    _share_faces(dataset, out)
    return made


def _meta(dataset: Dataset, degradation: str) -> DatasetMeta:
    base = dataset.name.removesuffix(f"-{dataset.degradation.name}")
    return dataclasses.replace(
        dataset.meta,
        name=f"{base}-{degradation}",
        degradation=DEGRADATIONS[degradation],
        settings={**dataset.meta.settings, "degradation": degradation, "redegraded": dataset.id},
    )


def _same_or_error(out: Path, meta: DatasetMeta) -> Dataset:
    there = open_dataset(out)
    old, new = there.meta.settings.get("redegraded"), meta.settings["redegraded"]
    if old != new or there.degradation != meta.degradation:
        raise UsageError(
            f"{out} already holds dataset '{there.name}' ({there.degradation.name}); choose "
            "another --out or delete it"
        )
    return there


def _share_faces(dataset: Dataset, out: Path) -> None:
    """Hand on what is cached about the ground truth's faces: named by content, minutes to make."""
    target = out / ".cache" / "faces"
    for path in (dataset.root / ".cache" / "faces").glob("*.npz"):
        if not (target / path.name).exists():
            write_atomic(target / path.name, path.read_bytes())


def _skipped(dataset: Dataset) -> list[dict[str, Any]]:
    try:
        table = pd.read_csv(dataset.root / "skipped.csv", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {dataset.root / 'skipped.csv'} ({error})") from error
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
