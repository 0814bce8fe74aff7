"""The evaluation protocols that published VSR code uses, by name; and the grid that is stored.

Needs no torch: tables are re-rendered from records without one. Each preset's comment says whose
code it follows. `protocol("sofvsr")` returns one.
"""

import dataclasses
import itertools
from typing import Any

import numpy as np

from fvsr_bench.errors import unknown
from fvsr_bench.spec import FAPN_PROTOCOL, Colour, EvalProtocol

GRID_COLOURS: tuple[Colour, ...] = ("rgb", "y-studio", "y-full")
GRID_CROPS = (0, 4, 8)

_UNIFORM7: dict[str, Any] = {"ssim_window": "uniform", "ssim_size": 7, "ssim_sigma": 0.0}


def _preset(name: str, colour: Colour, **changes: Any) -> EvalProtocol:
    return dataclasses.replace(FAPN_PROTOCOL, name=name, colour=colour, **changes)


# FAPN (the paper under reproduction) states none of its choices: RGB, all frames, no crop is the
# default of docs/metrics.md, and the convention closest to the values it prints.
PRESETS: dict[str, EvalProtocol] = {
    "fapn": FAPN_PROTOCOL,
    # SOF-VSR, ACCV 2018, evaluation.m: MATLAB rgb2ycbcr on uint8, whole frame, frames 3..29 of 31
    # (the first and last two are left out), Wang's ssim_index.
    "sofvsr": _preset("sofvsr", "y-studio-8bit", frames="drop-2-2"),
    # SOF-VSR, TIP 2020, evaluation.m: as above, border of 6 + scale = 10 px at x4.
    "sofvsr-tip": _preset("sofvsr-tip", "y-studio-8bit", crop=10, frames="drop-2-2"),
    # TecoGAN metrics.py: Y not rounded, cut to a multiple of 32 px that leaves at least 16 px in
    # total: 160 -> the centre 128x128; frames 2..T-3; scikit-image's SSIM (in the versions of the
    # file that have one) with its 7x7 uniform window and the data range of the prediction.
    "tecogan": _preset(
        "tecogan", "y-studio", crop=16, frames="drop-2-2", ssim_range="prediction", **_UNIFORM7
    ),
    # VSR-DUF: Y not rounded, border 8 px, drops 2 + 2. Its code has PSNR only; SSIM here is Wang's.
    "duf": _preset("duf", "y-studio", crop=8, frames="drop-2-2"),
    # RSDN: as DUF with all frames; SSIM with OpenCV's Gaussian 11/1.5, valid.
    "rsdn": _preset("rsdn", "y-studio", crop=8),
    # BasicSR (and mmagic), video configurations: crop 0, all frames, RGB as mean over channels.
    "basicsr-rgb": _preset("basicsr-rgb", "rgb"),
    # BasicSR with test_y_channel: bgr2ycbcr of the 8-bit frame, not rounded again.
    "basicsr-y": _preset("basicsr-y", "y-studio"),
    # pyiqa with test_y_channel and its default colour space yiq: full-range luminance. Its SSIM
    # (not its PSNR) rounds that luminance to integers, which is not done here: about 1e-3.
    "pyiqa": _preset("pyiqa", "y-full"),
}


def protocol(name: str) -> EvalProtocol:
    """Return the preset of that name. Raises UsageError with the nearest known name."""
    if name not in PRESETS:
        raise unknown("protocol", name, PRESETS)
    return PRESETS[name]


def grid() -> tuple[EvalProtocol, ...]:
    """List the pixel conventions that every evaluation stores: the grid, then the presets' own.

    {rgb, y-studio, y-full} x crop {0, 4, 8} x SSIM {gaussian 11/1.5, uniform 7}, and whatever else
    a preset needs. `frames` and `average` are choices about stored rows and play no part here.
    """
    cells = [
        dataclasses.replace(FAPN_PROTOCOL, name="", colour=colour, crop=crop, **window)
        for colour, crop, window in itertools.product(GRID_COLOURS, GRID_CROPS, ({}, _UNIFORM7))
    ]
    known = {cell.ssim_key(): cell for cell in [*cells, *PRESETS.values()]}
    return tuple(known.values())


def mse_of_psnr(psnr: np.ndarray | float, cap: float) -> np.ndarray:
    """Invert per-frame PSNR in dB to MSE on the 0..255 scale, for pooled averages.

    A frame at the cap is taken as identical (MSE 0): one differing 8-bit sample in a 160x160 RGB
    frame already scores 97 dB, below the default cap of 100 dB.
    """
    psnr = np.asarray(psnr, dtype=np.float64)
    return np.where(psnr >= cap, 0.0, 255.0**2 * 10 ** (-psnr / 10))
