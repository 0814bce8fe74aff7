"""Raw videos -> a dataset of 32-frame face clips (the paper's section 4.1), resumable at any point.

Each video is scanned on its own and its result kept under `.cache/prepare/`, so an interrupted run
continues with the next video; splits are assigned when all videos are done.
"""

import dataclasses
import json
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from fvsr_bench.data.crop import crop_boxes, cut, to_crop
from fvsr_bench.data.inputs import PrepareOptions, Source, check_options, list_sources
from fvsr_bench.data.scan import FaceScanner, Sequence, Skip
from fvsr_bench.data.splits import assign
from fvsr_bench.data.store import (
    ClipInfo,
    Dataset,
    DatasetMeta,
    DatasetWriter,
    claim,
    open_dataset,
)
from fvsr_bench.data.video import (
    Frame,
    VideoError,
    count_frames,
    nominal_rate,
    read_video,
)
from fvsr_bench.errors import DataError
from fvsr_bench.faces.detector import FaceDetector
from fvsr_bench.files import write_atomic
from fvsr_bench.manifest import package_version
from fvsr_bench.spec import DEGRADATIONS, digest

_TOOLS = ("fvsr-bench", "facenet-pytorch", "torch", "av", "opencv-python", "pillow")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a run of `prepare` did."""

    dataset: Dataset
    skipped: Counter[str]  # reason -> frames
    notes: list[str]
    unchanged: bool = False


Progress = Callable[[int], None]  # called with the number of frames just read


def prepare(
    source: Path,
    out: Path,
    options: PrepareOptions,
    *,
    subjects: Path | None = None,
    only_listed: bool = False,
    jobs: int = 0,
    progress: Progress = lambda frames: None,
) -> Prepared:
    """Make the dataset `out` from the videos in `source`, or continue or confirm it.

    `subjects` is a CSV with the columns `file` (or `source`) and `subject`; with `only_listed`,
    videos that it does not name are left alone. `jobs` videos are worked on at once (0 = one per
    core); their number does not change the result. Raises DataError if there is no usable video, if
    no clip could be made, or if `out` holds a dataset made from other videos or options.
    """
    check_options(options)
    sources = list_sources(source, subjects, only_listed=only_listed)
    inputs = [[s.name, s.subject, s.path.stat().st_size] for s in sources]
    settings = {**dataclasses.asdict(options), "inputs": digest(inputs), "videos": len(sources)}
    if (out / "dataset.json").exists():
        return _confirm(out, settings)
    state = claim(out, "prepare", settings)
    meta = DatasetMeta(
        name=options.name,
        kind="faces",
        degradation=DEGRADATIONS[options.degradation],
        size=options.size,
        frames=options.frames,
        crop=options.crop,
        margin=options.margin,
        seed=options.seed,
        split_by=options.split,
        tools={tool: package_version(tool) for tool in _TOOLS},
        settings=json.loads(json.dumps(settings)),
    )
    writer = DatasetWriter(out, meta)
    _scan_all(sources, state, writer, options, progress, jobs)
    found = [(state / f"{s.slug}.json").read_text(encoding="utf-8") for s in sources]
    skipped = [row for text in found for row in json.loads(text)]
    rows = writer.rows()
    if not rows:
        raise DataError(_nothing(sources, skipped, out))
    splits, surplus = _divide(rows, options)
    dataset = writer.finish(splits, [*skipped, *surplus])
    shutil.rmtree(state, ignore_errors=True)
    return _report(dataset, _notes(dataset, options))


def _confirm(out: Path, settings: Mapping[str, Any]) -> Prepared:
    """Accept a finished dataset if it was made from the same videos and options."""
    dataset = open_dataset(out)
    made = dict(dataset.meta.settings)
    wanted = json.loads(json.dumps(settings))
    changed = [key for key in wanted if made.get(key) != wanted[key]]
    if changed:
        what = ", ".join("the videos" if key in ("inputs", "videos") else key for key in changed)
        raise DataError(
            f"{out} holds a dataset that differs in: {what}. Choose another --out, or delete it."
        )
    return dataclasses.replace(_report(dataset, []), unchanged=True)


def _scan_all(
    sources: list[Source],
    state: Path,
    writer: DatasetWriter,
    options: PrepareOptions,
    progress: Progress,
    jobs: int,
) -> None:
    """Scan the videos that have no result in `state` yet: one thread and one core for each.

    Decoding, resizing and the networks all release Python's lock; with a single thread inside
    torch the result does not depend on the machine's number of cores.
    """
    detector = FaceDetector(0.6 * options.min_face)
    stop = threading.Event()

    def count(frames: int) -> None:
        if stop.is_set():
            raise _Stopped
        progress(frames)

    def work(item: Source) -> None:
        done = state / f"{item.slug}.json"
        if done.exists():
            count(count_frames(item.path))
            return
        torch.set_num_threads(1)
        write_atomic(done, json.dumps(_scan(item, writer, detector, options, count)))

    before = torch.get_num_threads()
    with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
        try:
            for future in as_completed([pool.submit(work, item) for item in sources]):
                future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            torch.set_num_threads(before)


class _Stopped(Exception):
    """Another video failed for good, or the user stopped the run."""


def _scan(
    item: Source,
    writer: DatasetWriter,
    detector: FaceDetector,
    options: PrepareOptions,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Write the clips of one video; returns what was left out of it."""
    limit, expected = options.max_per_subject, count_frames(item.path)
    gap = max(0, expected // limit - options.frames) if limit else 0
    scanner = FaceScanner(detector, length=options.frames, min_side=options.min_face, gap=gap)
    left_out: list[Skip] = []
    made, last = 0, -1

    def counted() -> Any:
        nonlocal last
        for frame in read_video(item.path):
            last = frame.index
            progress(1)
            yield frame

    try:
        rate = nominal_rate(item.path)
        for found in scanner.scan(counted()):
            if isinstance(found, Skip):
                left_out.append(found)
                continue
            _write(found, item, writer, options, rate)
            made += 1
            if limit and made == limit:
                if last + 1 < expected:
                    progress(expected - last - 1)
                break
    except VideoError as error:
        left_out.append(Skip(first=last + 1, last=last, reason=str(error)))
    if last < 0 and not left_out:
        left_out.append(Skip(first=0, last=-1, reason="no frame could be decoded"))
    return [
        {"source": item.name, "first_frame": s.first, "last_frame": s.last, "reason": s.reason}
        for s in _merge(left_out)
    ]


def _merge(skips: list[Skip]) -> list[Skip]:
    """Join neighbouring rows that have the same reason."""
    merged: list[Skip] = []
    for skip in skips:
        before = merged[-1] if merged else None
        if before and before.reason == skip.reason and before.last + 1 == skip.first:
            merged[-1] = dataclasses.replace(before, last=skip.last)
        else:
            merged.append(skip)
    return merged


def _write(
    found: Sequence, item: Source, writer: DatasetWriter, options: PrepareOptions, rate: float
) -> None:
    images = [frame.rgb for frame in found.frames]
    height, width = images[0].shape[:2]
    boxes = crop_boxes(
        found.boxes,
        (height, width),
        mode=options.crop,
        margin=options.margin,
        smooth=options.smooth,
    )
    first = found.frames[0].index
    info = ClipInfo(
        clip=f"{item.slug}_{first:06d}",
        source=item.name,
        subject=item.subject,
        split="",
        fps=_measured_rate(found.frames, rate),
        first_frame=first,
        frames=len(images),
        boxes=boxes.tolist(),
        landmarks=to_crop(found.landmarks, boxes, options.size).tolist(),
    )
    writer.add(info, cut(images, boxes, options.size))


def _measured_rate(frames: list[Frame], nominal: float) -> float:
    """Return frames per second of these frames by their times; `nominal` if they have none."""
    first, last = frames[0].time, frames[-1].time
    if first is None or last is None or last <= first:
        return round(nominal, 3)
    return round((len(frames) - 1) / (last - first), 3)


def _divide(
    rows: list[dict[str, Any]], options: PrepareOptions
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return clip -> split, and rows for skipped.csv of the clips that no split needs."""
    clips: dict[str, list[tuple[int, str]]] = {}
    nth: Counter[str] = Counter()
    for row in rows:  # ordered by video: take turns among the videos of one subject
        clips.setdefault(row["subject"], []).append((nth[row["source"]], row["clip"]))
        nth[row["source"]] += 1
    most = options.max_per_subject or None
    chosen = {subject: [c for _, c in sorted(own)][:most] for subject, own in clips.items()}
    splits = assign(chosen, options.counts, options.seed, options.split)
    surplus = [
        {
            "source": row["source"],
            "first_frame": row["first_frame"],
            "last_frame": row["first_frame"] + row["frames"] - 1,
            "reason": "not needed (--counts, --max-per-subject)",
        }
        for row in rows
        if row["clip"] not in splits
    ]
    return splits, surplus


def _report(dataset: Dataset, notes: list[str]) -> Prepared:
    table = pd.read_csv(dataset.root / "skipped.csv", keep_default_na=False)
    frames = np.maximum(table["last_frame"] - table["first_frame"] + 1, 0)
    reasons: Counter[str] = Counter()
    for reason, count in zip(table["reason"], frames, strict=True):
        reasons[re.sub(r" after \d+ frames", "", str(reason))] += int(count)
    return Prepared(dataset=dataset, skipped=reasons, notes=notes)


def _notes(dataset: Dataset, options: PrepareOptions) -> list[str]:
    """Say in words what a user should know about these splits."""
    notes = []
    made = tuple(len(dataset.clip_ids(split)) for split in ("train", "val", "test"))
    if made != options.counts:
        text = "/".join(map(str, options.counts))
        notes.append(
            f"less material than asked for ({text}): the proportions are kept as far as possible, "
            f"{'/'.join(map(str, made))} for train/val/test."
        )
    if options.split == "sequence":
        notes.append(
            "leakage warning: --split sequence may put one person into train and test; "
            "test figures will be too good for unknown faces."
        )
    return notes


def _nothing(sources: list[Source], skipped: list[dict[str, Any]], out: Path) -> str:
    reasons = Counter(row["reason"] for row in skipped).most_common(2)
    text = "; ".join(f"{reason} ({count}x)" for reason, count in reasons) or "no frames"
    return f"no clip could be made from {len(sources)} video(s): {text}. Nothing is in {out}."
