"""Turns face boxes into crops: where to cut in each frame, and the cut frames at 160x160."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image


def crop_boxes(
    faces: Float[np.ndarray, "t 4"],
    shape: tuple[int, int],
    *,
    mode: str,
    margin: float,
    smooth: float,
) -> Float[np.ndarray, "t 4"]:
    """Return the square to cut out of each frame, in px of frames of `shape` (height, width).

    "per-frame": centred on the face of each frame, side = `margin` x the longer side of its box;
    centre and side may be smoothed over time by a Gaussian of `smooth` frames (0 = not).
    "steady": one square for all frames, `margin` x the longer side of the boxes' union.
    Squares are moved, and if need be shrunk, to lie inside the frame: no pixel is invented.
    """
    if mode == "steady":
        low, high = faces[:, :2].min(axis=0), faces[:, 2:].max(axis=0)
        faces = np.tile(np.concatenate([low, high]), (len(faces), 1))
    centre = (faces[:, :2] + faces[:, 2:]) / 2
    side = (faces[:, 2:] - faces[:, :2]).max(axis=1, keepdims=True) * margin
    values = np.concatenate([centre, side], axis=1).astype(np.float64)
    if mode == "per-frame" and smooth > 0:
        values = _smooth(values, smooth)
    side = np.minimum(values[:, 2:], min(shape))
    limit = np.array([shape[1], shape[0]]) - side
    corner = np.clip(values[:, :2] - side / 2, 0, limit)
    return np.round(np.concatenate([corner, corner + side], axis=1), 2)


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Average each column over time with Gaussian weights, renormalised at both ends."""
    t = np.arange(len(values))
    weights = np.exp(-((t[:, None] - t) ** 2) / (2 * sigma**2))
    return weights @ values / weights.sum(axis=1, keepdims=True)


def cut(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]], boxes: Float[np.ndarray, "t 4"], size: int
) -> UInt8[np.ndarray, "t s s 3"]:
    """Cut box t out of frame t and resize it to `size` px, antialiased bicubic, sub-pixel exact."""
    resample = Image.Resampling.BICUBIC
    crops = [
        np.asarray(Image.fromarray(frame).resize((size, size), resample, box=_inside(box, frame)))
        for frame, box in zip(frames, boxes, strict=True)
    ]
    return np.stack(crops)


def _inside(box: np.ndarray, frame: np.ndarray) -> tuple[float, float, float, float]:
    height, width = frame.shape[:2]
    x0, y0, x1, y1 = (float(value) for value in box)
    return max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))


def to_crop(
    points: Float[np.ndarray, "t n 2"], boxes: Float[np.ndarray, "t 4"], size: int
) -> Float[np.ndarray, "t n 2"]:
    """Move points from px of the frames to px of the crops."""
    side = boxes[:, 2:] - boxes[:, :2]
    return (points - boxes[:, None, :2]) / side[:, None] * size
