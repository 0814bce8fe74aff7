"""Clips from the index of another dataset: the same cuts of the same videos, on every machine.

Where a detector sees a face depends, in its last digits, on the processor, and a crop that moves by
a hundredth of a pixel has other pixels. `index.csv` of a dataset says where each frame was cut, so
that whoever has the videos, and the index but not the pixels, gets the very same dataset.
"""

import importlib.resources
import itertools
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fvsr_bench.data.crop import cut
from fvsr_bench.data.store import (
    SPLITS,
    ClipInfo,
    Dataset,
    DatasetMeta,
    DatasetWriter,
    claim,
    open_dataset,
)
from fvsr_bench.data.video import find_videos, read_video
from fvsr_bench.errors import DataError, unknown
from fvsr_bench.files import sha256
from fvsr_bench.spec import DEGRADATIONS

PINNED = {"faceclips": "be5ffe21f03c"}  # indices in the package: name -> id of the dataset with BI

Progress = Callable[[str, int, int], None]  # clip, clips done, clips in all


def recut(
    source: Path,
    index: str,
    out: Path,
    *,
    name: str = "",
    degradation: str = "bi",
    size: int = 160,
    progress: Progress = lambda clip, done, total: None,
) -> Dataset:
    """Cut the clips that an index names out of the videos in `source`; resumes.

    `index` is "faceclips" (comes with the package) or the path of an `index.csv`. No face is looked
    for. Raises DataError if a video or frames of it are missing, if the index is damaged, or if
    `out` was begun from something else; nothing is finished then.
    """
    if degradation not in DEGRADATIONS:
        raise unknown("degradation", degradation, DEGRADATIONS)
    infos, mark = read_index(index)
    settings = {"index": mark, "degradation": degradation, "size": size}
    meta = DatasetMeta(
        name=name or (index if index in PINNED else out.resolve().name),
        kind="faces",
        degradation=DEGRADATIONS[degradation],
        size=size,
        frames=infos[0].frames,
        settings={"recut": settings},
    )
    if (out / "dataset.json").exists():
        there = open_dataset(out)
        if there.meta.settings.get("recut") != settings:
            raise DataError(f"{out} holds another dataset. Choose another --out, or delete it.")
        return there
    videos = _videos(source, {info.source for info in infos})
    state = claim(out, "recut", settings)
    writer = DatasetWriter(out, meta)
    lacking = [info for info in infos if not writer.has(info.clip)]
    wanted: dict[str, list[ClipInfo]] = {}
    for info in lacking:
        wanted.setdefault(info.source, []).append(info)
    done = itertools.count(len(infos) - len(lacking) + 1)  # threads may share it

    def work(item: tuple[str, list[ClipInfo]]) -> None:
        for info in _cut_video(videos[item[0]], item[1], writer, size):
            progress(info.clip, next(done), len(infos))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for _ in pool.map(work, wanted.items()):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    made = writer.finish()
    shutil.rmtree(state, ignore_errors=True)
    return made


def read_index(index: str) -> tuple[list[ClipInfo], str]:
    """Return the clips of an index ("faceclips" or a path) and the SHA-256 of the file.

    Raises DataError if it cannot be read or lacks something.
    """
    held = importlib.resources.files(__package__).joinpath(f"{index}-index.csv.gz")
    with importlib.resources.as_file(held) as packaged:
        path = packaged if index in PINNED else Path(index)
        if not path.is_file():
            raise DataError(
                f"index '{index}' does not exist; expected {', '.join(PINNED)} or the path of an "
                "index.csv."
            )
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
            infos = [_info(row) for row in table.to_dict("records")]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{index} is not the index.csv of a dataset ({error!r}).") from error
        mark = sha256(path)
    if not infos:
        raise DataError(f"{index} names no clips.")
    return infos, mark


def _info(row: Mapping[Any, Any]) -> ClipInfo:
    info = ClipInfo.of_row(row)
    for what, found, shape in (
        ("boxes", info.boxes, (info.frames, 4)),
        ("landmarks", info.landmarks, (info.frames, 5, 2)),
    ):
        if np.shape(found) != shape:
            raise ValueError(f"{what} of clip {info.clip}: {np.shape(found)}, not {shape}")
    if info.split not in SPLITS or Path(info.clip).name != info.clip:
        raise ValueError(f"clip '{info.clip}' in split '{info.split}'")
    return info


def _videos(source: Path, wanted: set[str]) -> dict[str, Path]:
    """Find the videos by their path in the source folder, else by their name alone."""
    found: dict[str, Path] = {}
    for path in find_videos(source):
        name = path.name if source.is_file() else path.relative_to(source).as_posix()
        for key in (name, path.name):
            found.setdefault(unicodedata.normalize("NFC", key), path)
    keys = {name: unicodedata.normalize("NFC", name) for name in wanted}
    if missing := sorted(name for name, key in keys.items() if key not in found):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(
            f"{source} lacks {len(missing)} of the {len(wanted)} videos of the index: "
            f"{', '.join(missing[:3])}{more}."
        )
    return {name: found[key] for name, key in keys.items()}


def _cut_video(path: Path, infos: list[ClipInfo], writer: DatasetWriter, size: int) -> Iterator[ClipInfo]:
    """Decode a video once, up to the last frame wanted; yield each clip when it is written."""
    waiting = sorted(infos, key=lambda info: info.first_frame)
    images: dict[int, np.ndarray] = {}
    for frame in read_video(path):
        images[frame.index] = frame.rgb
        while waiting and frame.index + 1 == waiting[0].first_frame + waiting[0].frames:
            info = waiting.pop(0)
            clip = [images[info.first_frame + t] for t in range(info.frames)]
            writer.add(info, cut(clip, np.asarray(info.boxes), size))
            yield info
        if not waiting:
            return
        for index in [i for i in images if i < waiting[0].first_frame]:
            del images[index]
    info = waiting[0]
    raise DataError(
        f"{path} ends before frame {info.first_frame + info.frames - 1}, the last of clip "
        f"{info.clip}: is it the file that the index was made from?"
    )
