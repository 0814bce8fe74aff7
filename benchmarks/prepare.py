"""How much faster `data prepare` is than calling MTCNN on every full-size frame, on your videos.

    python benchmarks/prepare.py VIDEOS [--videos 8] [--frames 64] [--cores 1]

Both sides decode the same videos, in one process, with the same cores:
  loop      `facenet_pytorch.MTCNN.detect` on each full-size frame, nothing else (timed on the
            first frames of each video, and counted for all of them)
  prepare   everything `data prepare` does: find and follow the face, cut, degrade, write PNGs
Printed: their ratio, and how far the boxes of the two differ (median and 90th percentile, px).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from facenet_pytorch import MTCNN

from fvsr_bench.data.inputs import PrepareOptions
from fvsr_bench.data.prepare import prepare
from fvsr_bench.data.scan import FaceScanner, Sequence
from fvsr_bench.data.video import Frame, find_videos, read_video
from fvsr_bench.faces.detector import FaceDetector


def plain_loop(path: Path, frames: int) -> list[np.ndarray]:
    """Return MTCNN's boxes in each of the first frames of a video."""
    mtcnn = MTCNN(device="cpu")
    found = [mtcnn.detect(frame.rgb)[0] for frame in first(path, frames)]
    return [np.zeros((0, 4)) if boxes is None else boxes for boxes in found]


def first(path: Path, frames: int) -> list[Frame]:
    """Return the first frames of a video."""
    return [frame for frame, _ in zip(read_video(path), range(frames), strict=False)]


def differences(path: Path, frames: int, loop: list[np.ndarray]) -> list[float]:
    """Return |ours - the loop's nearest box| in px, for every coordinate of every frame we use."""
    options = PrepareOptions()
    detector = FaceDetector(0.6 * options.min_face)
    scanner = FaceScanner(detector, length=32, min_side=options.min_face, gap=0)
    values: list[float] = []
    for found in scanner.scan(first(path, frames)):
        if isinstance(found, Sequence):
            for frame, box in zip(found.frames, found.boxes, strict=True):
                others = np.abs(np.asarray(loop[frame.index], float) - box)
                if len(others):
                    values += others[others.mean(axis=1).argmin()].tolist()
    return values


def prepare_all(paths: list[Path], cores: int) -> tuple[float, dict[str, int]]:
    """Run `data prepare` on copies of the videos; returns its seconds and their frames."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "videos"
        source.mkdir()
        for path in paths:
            (source / path.name).symlink_to(path.resolve())
        start = time.perf_counter()
        prepare(source, Path(folder) / "out", PrepareOptions(), jobs=cores)
        seconds = time.perf_counter() - start
    return seconds, {path.name: sum(1 for _ in read_video(path)) for path in paths}


def main() -> None:
    """Time both sides and compare their boxes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of videos")
    parser.add_argument("--videos", type=int, default=8, help="evenly spread over the folder")
    parser.add_argument("--frames", type=int, default=64, help="that the loop sees of each video")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="that each side may use")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.cores)
    found = find_videos(arguments.source)
    chosen = [found[i] for i in np.linspace(0, len(found) - 1, arguments.videos).astype(int)]
    loops, per_frame = {}, {}
    for path in chosen:
        start = time.perf_counter()
        loops[path] = plain_loop(path, arguments.frames)
        per_frame[path.name] = (time.perf_counter() - start) / len(loops[path])
    seconds, counts = prepare_all(chosen, arguments.cores)
    loop_seconds = sum(per_frame[name] * count for name, count in counts.items())
    far = [v for path, boxes in loops.items() for v in differences(path, arguments.frames, boxes)]
    print(f"{len(chosen)} videos, {sum(counts.values())} frames, {arguments.cores} core(s) each")
    print(f"data prepare is {loop_seconds / seconds:.1f}x as fast as the plain loop")
    print(
        f"boxes differ by {np.median(far):.2f} px (median), {np.percentile(far, 90):.2f} px (90 %)"
    )


if __name__ == "__main__":
    main()
