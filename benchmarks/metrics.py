"""What one pass over the protocol grid costs beside computing its cells one by one.

    python benchmarks/metrics.py

Prints ratios of processor time within this run, one thread: times of a machine say nothing about
another one, ratios do.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from skimage import data
from skimage.metrics import structural_similarity

from fvsr_bench.metrics.fidelity import fidelity_grid, psnr, ssim
from fvsr_bench.protocols import grid
from fvsr_bench.spec import FAPN_PROTOCOL

FRAMES = 8
REPEATS = 5


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
    hr = np.stack([data.astronaut()[i : 160 + i, 140:300] for i in range(FRAMES)])
    noise = np.random.default_rng(0).normal(0, 5, hr.shape)
    sr = np.clip(hr + noise, 0, 255).astype(np.uint8)
    x, y = (torch.from_numpy(v).permute(0, 3, 1, 2).contiguous() for v in (sr, hr))

    def one_by_one() -> None:
        for cell in grid():
            psnr(x, y, cell)
            ssim(x, y, cell)

    def scikit_image() -> None:
        for a, b in zip(sr, hr, strict=True):
            structural_similarity(
                a.astype(float),
                b.astype(float),
                channel_axis=-1,
                data_range=255,
                gaussian_weights=True,
                use_sample_covariance=False,
            )

    whole = seconds(lambda: fidelity_grid(x, y))
    cells = len(grid())
    rows = {
        f"the grid ({cells} conventions) in one pass": whole,
        "the same conventions one by one, float64": seconds(one_by_one),
        "one convention, float64": seconds(
            lambda: (psnr(x, y, FAPN_PROTOCOL), ssim(x, y, FAPN_PROTOCOL))
        ),
        "scikit-image, SSIM of one convention": seconds(scikit_image),
    }
    for name, value in rows.items():
        print(f"{name:48s} {value / whole:6.2f} x")


if __name__ == "__main__":
    main()
