"""How much faster the torch port encodes faces than dlib, and what alignment costs beside it.

    python benchmarks/embedder.py

Prints ratios of processor time within this run, one thread, and the largest difference.
"""

import time
from collections.abc import Callable

import dlib
import numpy as np
import torch
from skimage import data

from fvsr_bench.faces.align import FaceAligner
from fvsr_bench.faces.embedder import MODEL_FILE, load_face_net, model_path

FACES = 16
REPEATS = 3


def seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of several runs, after one that does not count."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def main() -> None:
    torch.set_num_threads(1)
    image = data.astronaut()
    frames = [np.ascontiguousarray(image[i : i + 160, 140:300]) for i in range(FACES)]
    aligner, net = FaceAligner(), load_face_net()
    box = aligner.find(frames[0])
    assert box is not None
    chips = [aligner.chip(frame, box) for frame in frames]
    x = torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float() / 255
    reference = dlib.face_recognition_model_v1(str(model_path(MODEL_FILE)))

    def theirs() -> list:
        return [reference.compute_face_descriptor(chip) for chip in chips]

    with torch.inference_mode():
        gap = np.abs(net(x).numpy() - np.array(theirs())).max()
        base = seconds(theirs)
        rows = {
            "dlib, one face after the other": base,
            f"torch, batch of {FACES}": seconds(lambda: net(x)),
            "torch, one after the other": seconds(lambda: [net(chip[None]) for chip in x]),
            "HOG detection of each frame": seconds(lambda: [aligner.find(f) for f in frames]),
            "landmarks and chip of each": seconds(lambda: [aligner.chip(f, box) for f in frames]),
        }
    for name, value in rows.items():
        print(f"{name:34s} {base / value:6.1f} x faster than dlib's network")
    print(f"largest difference of an encoding: {gap:.1e}")


if __name__ == "__main__":
    main()
