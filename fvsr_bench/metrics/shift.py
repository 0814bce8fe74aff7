"""The shift diagnostic: is SR displaced against the ground truth as a whole, and what does it cost?

Decimation that keeps pixel 0 of every 4x4 block and decimation that takes its centre differ by
1.5 px. A network trained for one and fed the other puts everything 1.5 px off and loses 5 to 10 dB
without looking wrong. This finds such a shift and says what the numbers would be without it.
"""

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from fvsr_bench import color
from fvsr_bench.displacement import WARN, Shift, explain
from fvsr_bench.errors import DataError
from fvsr_bench.metrics.fidelity import psnr, ssim
from fvsr_bench.spec import EvalProtocol

__all__ = ["REACH", "WARN", "Shift", "compensate", "compensated", "explain", "find_shift"]

REACH = 4  # px: larger displacements are not looked for
_MARGIN = 8  # px left out at every border, where the shifted frame has no content
_PAD = 16  # px of mirrored border around a frame before it is transformed
_FRAMES = 16  # frames of a clip that take part in the estimate, evenly spaced


def find_shift(sr: Shaped[Tensor, "n 3 h w"], hr: Shaped[Tensor, "_ 3 _ _"]) -> Shift:
    """Find the one displacement of a clip that brings SR closest to GT, within 4 px.

    Frames are uint8, or float in [0, 1]. Phase correlation, summed over frames, gives the whole
    pixels; Gauss-Newton on the squared luminance difference refines them (to about 0.01 px). NaN
    for clips without texture or with nothing in common.
    """
    if sr.shape != hr.shape or min(sr.shape[-2:]) < 4 * _MARGIN:
        raise DataError(
            f"sr is {list(sr.shape)} and hr is {list(hr.shape)}, expected the same [n, 3, h, w] "
            f"of at least {4 * _MARGIN} px"
        )
    step = max(1, -(-len(sr) // _FRAMES))
    x, y = _luma(sr[::step]), _luma(hr[::step])
    shift = _refine(x, y, _phase_correlation(x, y))
    return Shift(dx=float(shift[0]), dy=float(shift[1]))


def compensate(frames: Shaped[Tensor, "n c h w"], shift: Shift) -> Float[Tensor, "n c h w"]:
    """Move frames back by a shift: band-limited interpolation, mirrored at the border."""
    vector = torch.tensor([shift.dx, shift.dy], dtype=torch.float64)
    return _sample(_to_float(frames), vector).clamp(0, 1)


def compensated(
    sr: Shaped[Tensor, "n 3 h w"],
    hr: Shaped[Tensor, "_ 3 _ _"],
    shift: Shift,
    protocol: EvalProtocol,
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Return PSNR (dB) and SSIM per frame after the shift has been taken out of SR.

    `protocol.crop` must be at least 8 px, so that the border, for which the shifted frame has no
    content, is left out; compare with the plain measures of the same protocol.
    """
    if protocol.crop < _MARGIN:
        raise DataError(
            f"shift-compensated measures need a crop of at least {_MARGIN} px, but protocol "
            f"'{protocol.name}' has {protocol.crop} px"
        )
    if math.isnan(shift.size):
        shift = Shift(dx=0.0, dy=0.0)
    moved = compensate(sr, shift)
    return psnr(moved, _to_float(hr), protocol), ssim(moved, _to_float(hr), protocol)


def _to_float(frames: Tensor) -> Tensor:
    frames = color.with_float64(frames)
    return frames.float() / 255 if frames.dtype == torch.uint8 else frames.float()


def _luma(frames: Tensor) -> Tensor:
    return color.luma_full(_to_float(frames).double())[:, 0]


def _frequencies(h: int, w: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return angular frequencies (x, y) in radians per px for rfft2 of [h, w]."""
    wy = 2 * math.pi * torch.fft.fftfreq(h, device=device, dtype=torch.float64)
    wx = 2 * math.pi * torch.fft.rfftfreq(w, device=device, dtype=torch.float64)
    return wx[None, :], wy[:, None]


def _phase_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Return the whole-pixel displacement (dx, dy) of x against y."""
    h, w = x.shape[-2:]
    window = torch.outer(
        torch.hann_window(h, dtype=x.dtype), torch.hann_window(w, dtype=x.dtype)
    ).to(x.device)
    a, b = (torch.fft.rfft2((v - v.mean(dim=(-2, -1), keepdim=True)) * window) for v in (x, y))
    cross = (a * b.conj()).sum(dim=0)
    wx, wy = _frequencies(h, w, x.device)
    # high frequencies of SR say little about where it is: blur removed them, or a network made them
    weight = torch.exp(-(wx.square() + wy.square()) / (2 * (0.25 * math.pi) ** 2))
    surface = torch.fft.irfft2(weight * cross / cross.abs().clamp_min(1e-12), s=(h, w))
    reach = torch.arange(-REACH, REACH + 1, device=x.device)
    near = surface[reach[:, None] % h, reach[None, :] % w]
    best = int(near.argmax())
    side = 2 * REACH + 1
    return torch.tensor([best % side - REACH, best // side - REACH], dtype=torch.float64)


def _refine(x: Tensor, y: Tensor, start: Tensor) -> Tensor:
    """Fit y = gain * x(. + shift) + offset by Gauss-Newton on the shift, from `start`.

    Gain and offset are fitted along: a clip that came out paler must not look displaced.
    """
    shift, inner = start, (slice(None), slice(_MARGIN, -_MARGIN), slice(_MARGIN, -_MARGIN))
    target = y[inner].flatten()
    for _ in range(20):
        moved = _sample(x[:, None], shift)[:, 0]
        gy, gx = torch.gradient(moved, dim=(-2, -1))
        terms = [gx[inner], gy[inner], moved[inner], torch.ones_like(moved[inner])]
        a = torch.stack([term.flatten() for term in terms], dim=1)
        normal = a.T @ a
        texture = torch.linalg.eigvalsh(normal[:2, :2])[0]
        if texture < 1e-9 * len(target):
            return torch.full((2,), math.nan)
        fit = torch.linalg.lstsq(normal, a.T @ target).solution.cpu()
        if not fit[2] > 0.05:  # the two have nothing in common
            return torch.full((2,), math.nan)
        update = (fit[:2] / fit[2]).clamp(-1, 1)
        shift = (shift + update).clamp(-REACH - 0.5, REACH + 0.5)
        if update.abs().max() < 1e-3:
            break
    return shift


def _sample(frames: Tensor, shift: Tensor) -> Tensor:
    """Return frames(x + dx, y + dy) [n, c, h, w] by a phase ramp on the mirrored frame."""
    h, w = frames.shape[-2:]
    padded = torch.nn.functional.pad(frames, (_PAD,) * 4, mode="reflect")
    size = (h + 2 * _PAD, w + 2 * _PAD)
    wx, wy = _frequencies(*size, frames.device)
    spectrum = torch.fft.rfft2(padded)
    ramp = torch.exp(1j * (wx * float(shift[0]) + wy * float(shift[1]))).to(spectrum.dtype)
    moved = torch.fft.irfft2(spectrum * ramp, s=size)
    return moved[..., _PAD : _PAD + h, _PAD : _PAD + w]
