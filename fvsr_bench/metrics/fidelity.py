"""PSNR and SSIM under an explicit protocol, and all conventions of the grid in one pass.

`psnr` and `ssim` compute in float64 what one `EvalProtocol` says; `fidelity_grid` computes every
stored convention together in float32 (each colour's window moments once; crops are slices of
the SSIM map, studio range is derived from full range). Both agree with scikit-image to 1e-6;
the grid's SSIM to 1e-5 where a frame is made of flat areas far apart (a thresholded image).

With d = sr - hr, moments are taken of sr, d, d^2 and sr^2 + hr^2 about each plane's mean. SSIM is
(1 - mean(d)^2 / (..)) * (1 - var(d) / (..)), so that no small difference of large numbers decides.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from fvsr_bench import color
from fvsr_bench.errors import DataError
from fvsr_bench.protocols import grid
from fvsr_bench.spec import Colour, EvalProtocol, SsimWindow

K1, K2 = 0.01, 0.03  # Wang et al. 2004
_MEASURED: tuple[Colour, ...] = ("rgb", "y-full", "y-studio-8bit")  # y-studio follows from y-full
_Planes = dict[Colour, tuple[Tensor, Tensor]]


def psnr(
    sr: Shaped[Tensor, "n 3 h w"], hr: Shaped[Tensor, "_ 3 _ _"], protocol: EvalProtocol
) -> Float[Tensor, " n"]:
    """Return each frame's peak signal-to-noise ratio in dB (higher is better), peak 255.

    Frames are uint8, or float in [0, 1]. 10 log10(255^2 / MSE) over the protocol's planes and
    crop, at most `protocol.psnr_cap`. Without `protocol.quantise` values are used as they are,
    not even clamped. Raises DataError for unequal shapes, NaN, or a crop that leaves nothing.
    """
    x, y = _planes(sr, hr, protocol)
    return _to_db((x - y).square().mean(dim=(1, 2, 3)), protocol.psnr_cap)


def ssim(
    sr: Shaped[Tensor, "n 3 h w"], hr: Shaped[Tensor, "_ 3 _ _"], protocol: EvalProtocol
) -> Float[Tensor, " n"]:
    """Return each frame's structural similarity (Wang et al. 2004; 1 is best).

    Mean over planes and over the positions where the whole window lies inside the cropped frame.
    The Gaussian window uses population covariance as Wang does; the uniform one uses sample
    covariance, as scikit-image does. Frames and errors as in `psnr`.
    """
    x, y = _planes(sr, hr, protocol)
    if min(x.shape[-2:]) < protocol.ssim_size:
        raise DataError(
            f"SSIM needs at least {protocol.ssim_size} px, but {x.shape[-1]}x{x.shape[-2]} px are "
            f"left after cropping {protocol.crop} px; use larger frames or a smaller crop"
        )
    moments = _moments(x, y, *_window_of(protocol))
    return _ssim_map(moments, _data_range(x, protocol), _bessel(protocol)).mean(dim=(1, 2, 3))


def fidelity_grid(
    sr: Shaped[Tensor, "n 3 h w"], hr: Shaped[Tensor, "_ 3 _ _"]
) -> dict[tuple[str, str], Float[Tensor, " n"]]:
    """Measure every stored convention: keys are (metric, protocol key), e.g. ("psnr", "rgb-c0").

    The conventions are those of `protocols.grid()`, all of 8-bit frames; float input in [0, 1] is
    rounded first. A convention that does not fit the frame size is left out of the result.
    Returns float64 tensors on the CPU. Errors as in `psnr`.
    """
    x, y = _as_255(sr, hr, quantise=True, dtype=torch.float32)
    step = 1 if x.device.type == "cpu" else len(x)  # one frame's maps stay in the cache
    parts = [_grid_of(*pair) for pair in zip(x.split(step), y.split(step), strict=True)]
    return {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}


class _Moments(NamedTuple):
    """Window means of sr, d = sr - hr, d^2 and sr^2 + hr^2, of planes centred on `cx` and `cy`."""

    x: Tensor
    d: Tensor
    dd: Tensor
    ss: Tensor
    cx: Tensor
    cy: Tensor

    def crop(self, px: int) -> "_Moments":
        x, d, dd, ss = (_crop(m, px) for m in (self.x, self.d, self.dd, self.ss))
        return _Moments(x, d, dd, ss, self.cx, self.cy)

    def planes(self, start: int, stop: int) -> "_Moments":
        x, d, dd, ss, cx, cy = (m[:, start:stop] for m in self)
        return _Moments(x, d, dd, ss, cx, cy)

    def studio(self) -> "_Moments":
        """Turn moments of full-range luminance into those of studio range (an affine map)."""
        gain, square, offset = color.STUDIO_GAIN, color.STUDIO_GAIN**2, color.STUDIO_OFFSET
        x, d, dd, ss = self.x * gain, self.d * gain, self.dd * square, self.ss * square
        return _Moments(x, d, dd, ss, self.cx * gain + offset, self.cy * gain + offset)


def _grid_of(x: Tensor, y: Tensor) -> dict[tuple[str, str], Tensor]:
    """Measure the grid on RGB in 0..255, float32."""
    out: dict[tuple[str, str], Tensor] = {}
    planes: _Planes = {c: (color.to_colour(x, c), color.to_colour(y, c)) for c in _MEASURED}
    squares = {c: (a - b).square() for c, (a, b) in planes.items()}
    maps: dict[tuple[str, ...], Tensor] = {}
    moments = _all_moments(planes)
    for cell in grid():
        if min(x.shape[-2:]) - 2 * cell.crop < cell.ssim_size:
            continue
        source: Colour = "y-full" if cell.colour == "y-studio" else cell.colour
        if ("psnr", cell.measure_key()) not in out:
            gain = color.STUDIO_GAIN**2 if cell.colour == "y-studio" else 1.0
            mse = _crop(squares[source], cell.crop).mean(dim=(1, 2, 3), dtype=torch.float64)
            out["psnr", cell.measure_key()] = _to_db(mse * gain, cell.psnr_cap)
        found = moments[source, cell.ssim_window]
        if cell.colour == "y-studio":
            found = found.studio()
        if cell.ssim_range == "prediction":  # depends on the crop, so there is no map to share
            a = _crop(color.to_colour(x, cell.colour), cell.crop)
            full = _ssim_map(found.crop(cell.crop), _data_range(a, cell), _bessel(cell))
        else:
            key = (cell.colour, cell.ssim_window)
            if key not in maps:
                maps[key] = _ssim_map(found, 255.0, _bessel(cell))
            full = _crop(maps[key], cell.crop)
        out["ssim", cell.ssim_key()] = full.mean(dim=(1, 2, 3)).double()
    return out


def _all_moments(planes: _Planes) -> dict[tuple[str, str], _Moments]:
    """Filter all planes of one window together: one tensor, few passes."""
    found: dict[tuple[str, str], _Moments] = {}
    for window in {cell.ssim_window: _window_of(cell) for cell in grid()}.values():
        used = [c for c in _MEASURED if window[0] == "gaussian" or c != "y-studio-8bit"]
        x = torch.cat([planes[c][0] for c in used], dim=1)
        y = torch.cat([planes[c][1] for c in used], dim=1)
        both = _moments(x, y, *window)
        at = 0
        for c in used:
            n = planes[c][0].shape[1]
            found[c, window[0]] = both.planes(at, at + n)
            at += n
    return found


def _moments(x: Tensor, y: Tensor, kind: SsimWindow, size: int, sigma: float) -> _Moments:
    # whole numbers as centres: 8-bit planes stay whole numbers, whose sums are exact in float32
    cx, cy = (p.mean(dim=(2, 3), keepdim=True).round() for p in (x, y))
    x, y = x - cx, y - cy
    d = x - y
    stack = torch.stack([x, d, d.square(), x.square() + y.square()])
    weights = [1.0] * size if kind == "uniform" else _gaussian(size, sigma)
    sums = _slide(_slide(stack, weights, -2), weights, -1)
    x_mean, d_mean, dd, ss = sums.div_(size**2 if kind == "uniform" else 1).unbind()
    return _Moments(x_mean, d_mean, dd, ss, cx, cy)


def _slide(x: Tensor, weights: list[float], dim: int) -> Tensor:
    """Correlate along one dimension, valid positions only (faster than conv2d on planes)."""
    n = x.shape[dim] - len(weights) + 1
    out = x.narrow(dim, 0, n) * weights[0]
    for k, weight in enumerate(weights[1:], start=1):
        out.add_(x.narrow(dim, k, n), alpha=weight)
    return out


def _gaussian(size: int, sigma: float) -> list[float]:
    """Return normalised weights that float32 holds exactly and whose sum is exactly 1."""
    raw = [math.exp(-0.5 * ((k - (size - 1) / 2) / sigma) ** 2) for k in range(size)]
    weights = [round(w / sum(raw) * 2**24) / 2**24 for w in raw]
    weights[size // 2] += 1 - sum(weights)
    return weights


def _ssim_map(m: _Moments, data_range: float | Tensor, bessel: float) -> Tensor:
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    var_d = (m.dd - m.d.square()).mul_(bessel)  # var x + var y - 2 cov
    y = m.x - m.d
    var_sum = (m.ss - m.x.square() - y.square()).mul_(bessel)
    mean_x, mean_y = m.x + m.cx, y + m.cy
    mean_squares = mean_x.square() + mean_y.square()
    luminance = 1 - (mean_x - mean_y).square() / (mean_squares + c1)
    return luminance * (1 - var_d / (var_sum + c2))


def _window_of(protocol: EvalProtocol) -> tuple[SsimWindow, int, float]:
    return protocol.ssim_window, protocol.ssim_size, protocol.ssim_sigma


def _bessel(protocol: EvalProtocol) -> float:
    """Return the factor from population to sample covariance, 1 for the Gaussian window."""
    area = protocol.ssim_size**2
    return area / (area - 1) if protocol.ssim_window == "uniform" else 1.0


def _data_range(x: Tensor, protocol: EvalProtocol) -> float | Tensor:
    """Return 255, or per frame max - min of the prediction's planes inside the crop."""
    if protocol.ssim_range == "255":
        return 255.0
    return x.amax(dim=(1, 2, 3), keepdim=True) - x.amin(dim=(1, 2, 3), keepdim=True)


def _to_db(mse: Tensor, cap: float) -> Tensor:
    return (10 * torch.log10(255.0**2 / mse)).clamp(max=cap)


def _crop(x: Tensor, px: int) -> Tensor:
    return x[..., px : x.shape[-2] - px, px : x.shape[-1] - px]


def _planes(sr: Tensor, hr: Tensor, protocol: EvalProtocol) -> tuple[Tensor, Tensor]:
    """Return both images in float64, 0..255, as the protocol's colour planes and crop."""
    x, y = _as_255(sr, hr, quantise=protocol.quantise, dtype=torch.float64)
    if protocol.crop < 0 or 2 * protocol.crop >= min(x.shape[-2:]):
        raise DataError(
            f"a crop of {protocol.crop} px leaves nothing of a {x.shape[-1]}x{x.shape[-2]} px frame"
        )
    x, y = color.to_colour(x, protocol.colour), color.to_colour(y, protocol.colour)
    return _crop(x, protocol.crop), _crop(y, protocol.crop)


def _as_255(sr: Tensor, hr: Tensor, *, quantise: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    if sr.shape != hr.shape or sr.ndim != 4 or sr.shape[1] != 3:
        raise DataError(
            f"sr is {list(sr.shape)} and hr is {list(hr.shape)}, expected the same [n, 3, h, w]"
        )
    out = []
    for name, x in (("sr", color.with_float64(sr)), ("hr", color.with_float64(hr))):
        if x.dtype == torch.uint8:
            out.append(x.to(dtype))
            continue
        if not torch.isfinite(x).all():
            raise DataError(f"{name} holds NaN or infinity; frames are float in [0, 1] or uint8")
        # rounded in its own type: the file on disk and the measured frame must be the same
        out.append(color.to_uint8(x).to(dtype) if quantise else x.to(dtype) * 255)
    return out[0], out[1]
