"""Enlarges frames, and blends super-resolved faces into them under a mask with soft edges."""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fvsr_bench.enhance.follow import View

MARGIN = 4  # px of the input: the window's rim, where networks and bicubic see its border
BAND, REACH = 64, 4  # rows enlarged at once; rows beyond them that the kernel reads, and more
CORE = 0.7  # share of the mask's radius within which the enhanced face replaces the frame


def enlarge(rgb: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge a frame (uint8 RGB) bicubically (a = -0.5, half-pixel centres), rounded to 8 bit.

    In bands of rows, so that a large frame needs little memory; and in float32, because torch's
    8-bit kernel rounds twice and is off by several grey levels.
    """
    height, width = rgb.shape[:2]
    out = np.empty((height * scale, width * scale, 3), np.uint8)
    for top in range(0, height, BAND):
        bottom = min(top + BAND, height)
        low, high = max(0, top - REACH), min(height, bottom + REACH)
        x = torch.from_numpy(np.ascontiguousarray(rgb[low:high])).permute(2, 0, 1)[None].float()
        size = ((high - low) * scale, width * scale)
        up = F.interpolate(x, size=size, mode="bicubic", antialias=True)[0]
        rows = up[:, (top - low) * scale : (bottom - low) * scale]
        out[top * scale : bottom * scale] = rows.clamp(0, 255).round().byte().permute(1, 2, 0)
    return out


def to_size(sr: Tensor, side: int) -> Tensor:
    """Resize [1, 3, n, n] to [1, 3, side, side], antialiased bicubic; nothing if it fits."""
    if sr.shape[-1] == side:
        return sr
    return F.interpolate(sr, size=(side, side), mode="bicubic", antialias=True)


def blend(canvas: np.ndarray, view: View, scale: int) -> None:
    """Blend one super-resolved face into the enlarged frame, in place."""
    assert view.sr is not None  # the stream fills it in before the frame is composed
    x, y, side = (value * scale for value in view.window)
    face = to_size(view.sr, side)[0].clamp(0, 1).mul(255).permute(1, 2, 0).cpu().numpy()
    place = canvas[y : y + side, x : x + side]
    alpha = mask(view, scale)[..., None] * view.opacity
    np.copyto(place, np.rint(place + alpha * (face - place)).astype(np.uint8))


def mask(view: View, scale: int) -> np.ndarray:
    """Return the weights of the enhanced face over its window, float32 [n, n] in [0, 1].

    One around the face's centre, falling smoothly to zero `MARGIN` px before the window's edge. The
    shape is between a circle and a square, so that chin and forehead are inside. Where the window
    was moved to stay inside the frame the mask stays on the face.
    """
    x, y, side = view.window
    offset = (view.centre[0] - x - side / 2, view.centre[1] - y - side / 2)
    whole = tuple(round(2 * value) / 2 for value in offset)  # half px: few different masks
    return _mask(side, whole[0], whole[1], scale)


@functools.lru_cache(maxsize=64)
def _mask(side: int, dx: float, dy: float, scale: int) -> np.ndarray:
    radius = side / 2 - MARGIN
    at = (np.arange(side * scale) + 0.5) / scale - side / 2
    far = (np.abs(at - dx)[None, :] / radius) ** 4 + (np.abs(at - dy)[:, None] / radius) ** 4
    t = np.clip((1 - far**0.25) / (1 - CORE), 0, 1)
    soft = (t * t * (3 - 2 * t)).astype(np.float32)
    soft.setflags(write=False)
    return soft


def side_by_side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Put the plainly enlarged frame left of the enhanced one, with a thin line between."""
    line = np.full((before.shape[0], 4, 3), 255, np.uint8)
    return np.concatenate([before, line, after], axis=1)
