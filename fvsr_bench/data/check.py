"""Verifies a dataset against its own tables: pixels, LR frames, counts, ranges, splits."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from fvsr_bench.data.files import pixel_hash
from fvsr_bench.data.store import SPLITS, Dataset, dataset_id
from fvsr_bench.degrade import degrade_uint8
from fvsr_bench.errors import DataError

Report = Callable[[str, int, int], None]  # clip, clips done, clips in all


def check_dataset(dataset: Dataset, report: Report = lambda clip, done, total: None) -> list[str]:
    """Return everything that is wrong, one sentence each; an empty list is a sound dataset."""
    problems = _check_tables(dataset) + _check_splits(dataset) + _check_folders(dataset)
    sums = dataset.checksums()
    named = Counter(dataset.clip_ids())
    ids = [clip for clip, times in named.items() if times == 1]
    for done, clip in enumerate(ids):
        report(clip, done, len(ids))
        problems += _check_clip(dataset, clip, sums.get(clip, ("", "")))
    return problems


def _check_tables(dataset: Dataset) -> list[str]:
    index = dataset.index
    double = index["clip"][index["clip"].duplicated()]
    problems = [f"index.csv names clip '{clip}' twice." for clip in double]
    for clip, split in zip(index["clip"], index["split"], strict=True):
        if split not in SPLITS:
            problems.append(f"clip '{clip}' has split '{split}'; expected {', '.join(SPLITS)}.")
    sums = dataset.checksums()
    if set(sums) != set(index["clip"]):
        problems.append("checksums.csv and index.csv do not name the same clips.")
    elif dataset_id(index, sums, dataset.degradation) != dataset.id:
        problems.append("the id in dataset.json is not that of the tables: one of them was edited.")
    return problems


def _check_splits(dataset: Dataset) -> list[str]:
    index = dataset.index
    problems: list[str] = []
    if dataset.meta.split_by == "subject":
        spread = index.groupby("subject")["split"].nunique()
        both = spread.index[spread > 1]
        problems += [f"subject '{subject}' is in more than one split." for subject in both]
    for source, rows in index.groupby("source"):
        ordered = rows.sort_values("first_frame")
        first, last = ordered["first_frame"].to_numpy()[1:], ordered["last_frame"].to_numpy()[:-1]
        if dataset.meta.kind == "faces" and (first <= last).any():
            problems.append(f"clips of '{source}' share frames.")
    return problems


def _check_folders(dataset: Dataset) -> list[str]:
    problems, expected = [], set(dataset.clip_ids())
    for kind in ("hr", "lr"):
        folder = dataset.root / kind
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        problems += [f"{kind}/{name} is in no table." for name in sorted(there - expected)]
    return problems


def _check_clip(dataset: Dataset, clip_id: str, sums: tuple[str, str]) -> list[str]:
    problems = _check_row(dataset, clip_id)
    try:
        clip = dataset.load(clip_id)
    except (DataError, ValueError) as error:
        return [*problems, str(error)]
    for kind, frames, stored in (("hr", clip.hr, sums[0]), ("lr", clip.lr, sums[1])):
        extra = len(list((dataset.root / kind / clip_id).iterdir())) - len(frames)
        if extra:
            problems.append(f"{kind}/{clip_id} has {extra} file(s) that belong to no frame.")
        if pixel_hash(frames) != stored:
            problems.append(f"the pixels of {kind}/{clip_id} are not those of checksums.csv.")
    if np.abs(degrade_uint8(clip.hr, dataset.degradation).astype(int) - clip.lr).max() > 1:
        name = dataset.degradation.name
        problems.append(f"lr/{clip_id} is not hr/{clip_id} degraded by '{name}'.")
    return problems


def _check_row(dataset: Dataset, clip_id: str) -> list[str]:
    row: dict[str, Any] = dict(dataset.row(clip_id))
    size, count, problems = dataset.meta.size, int(row["frames"]), []
    if count != dataset.meta.frames:
        problems.append(f"clip '{clip_id}' has {count} frames; expected {dataset.meta.frames}.")
    if row["last_frame"] - row["first_frame"] + 1 != count or row["first_frame"] < 0:
        problems.append(f"clip '{clip_id}' has a frame range that is not {count} frames long.")
    if not 0 < row["fps"] <= 1000:
        problems.append(f"clip '{clip_id}' has {row['fps']} fps.")
    try:
        boxes = np.asarray(json.loads(row["boxes"]), float).reshape(count, 4)
        points = np.asarray(json.loads(row["landmarks"]), float).reshape(count, 5, 2)
    except ValueError:
        return [*problems, f"clip '{clip_id}' lacks boxes or landmarks for its {count} frames."]
    if (boxes[:, :2] < 0).any() or (boxes[:, 2:] <= boxes[:, :2]).any():
        problems.append(f"clip '{clip_id}' has a box that is empty or outside of its frame.")
    if not np.isfinite(points).all() or (np.abs(points / size - 0.5) > 1).any():
        problems.append(f"clip '{clip_id}' has landmarks far outside of the {size} px crop.")
    return problems
