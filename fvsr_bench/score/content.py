"""Notices frames that have the right form and the wrong content: shifted, swapped, another clip."""

import cv2
import numpy as np
from jaxtyping import UInt8

from fvsr_bench.spec import Clip

SIDE = 40  # px: what the comparison is made on
SHIFTS = (-2, -1, 1, 2)  # frames
CLEARLY = 0.6  # an error so much smaller is no accident
OFTEN = 0.8  # share of frames that must agree
UNLIKE = 0.25  # least correlation with the clip's own frames


def check_content(frames: UInt8[np.ndarray, "t h w 3"], clip: Clip) -> str:
    """Say what is wrong with super-resolved frames of a clip; "" if they look like its own.

    Compared at 40 px, where methods hardly differ, with the ground truth of the same frame, of its
    neighbours in time, and with the colours in another order.
    """
    mine, truth = _small(frames), _small(clip.hr)
    own = _error(mine, truth)
    if mine.max() <= 8 and truth.max() > 64:
        return "the frames are black; were values in [0, 1] saved as 8 bit?"
    if (shift := _shift(mine, truth, own)) is not None:
        return (
            f"frame t shows the ground truth's frame t{shift:+d}: the frames are shifted in time "
            f"by {abs(shift)}"
        )
    swapped = _error(mine[..., ::-1], truth)
    if np.mean(swapped < CLEARLY * own) >= OFTEN and own.mean() > 4:
        return "red and blue are swapped (BGR saved as RGB)"
    if _correlation(mine, truth) < UNLIKE:
        return "the frames do not look like this clip; are the folders of clips mixed up?"
    return ""


def _small(frames: np.ndarray) -> np.ndarray:
    resized = [cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames]
    return np.stack(resized).astype(np.float32)


def _error(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean squared difference per frame, in grey levels squared."""
    return ((a - b) ** 2).mean(axis=(1, 2, 3))


def _shift(mine: np.ndarray, truth: np.ndarray, own: np.ndarray) -> int | None:
    """Return k if frame t clearly shows frame t + k of the ground truth, in most frames."""
    best, smallest = None, np.inf
    for k in SHIFTS:
        if len(mine) <= 2 * abs(k):
            continue
        inside = slice(max(0, -k), len(mine) - max(0, k))
        moved = _error(mine[inside], truth[max(0, k) :][: len(mine) - abs(k)])
        clear = moved < CLEARLY * own[inside]
        if clear.mean() >= OFTEN and moved.mean() < smallest:
            best, smallest = k, float(moved.mean())
    return best


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a.reshape(len(a), -1), b.reshape(len(b), -1)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    scale = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    return float(np.mean((x * y).sum(axis=1) / np.maximum(scale, 1e-6)))
