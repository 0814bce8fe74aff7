"""PSNR and SSIM agree with scikit-image to 1e-6 under every pixel convention."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from fvsr_bench.metrics.fidelity import fidelity_grid, psnr, ssim
from fvsr_bench.protocols import PRESETS, grid
from fvsr_bench.spec import FAPN_PROTOCOL, EvalProtocol

TOLERANCE = 1e-6


def _frames() -> tuple[np.ndarray, np.ndarray]:
    """Return five damaged and five clean face crops, uint8 [n, h, w, 3]: odd sizes, textures."""
    rng = np.random.default_rng(7)
    clean = data.astronaut()[5:172, 140:301]
    noise = rng.normal(size=clean.shape)
    shifted = np.roll(clean, 1, axis=1)
    damaged = [
        clean + 2.0 * noise,
        clean * 0.7 + 10,
        (clean.astype(float) + shifted) / 2,
        np.where(clean > 128, 255.0, 0.0),
        np.full_like(clean, 255.0, dtype=float),
    ]
    return np.stack([np.clip(d, 0, 255).round() for d in damaged]).astype(np.uint8), np.stack(
        [clean] * len(damaged)
    )


SR, HR = _frames()


def _torch(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def _oracle_planes(rgb: np.ndarray, colour: str, crop: int) -> np.ndarray:
    """Return [h, w, c] in 0..255 by the published matrices, independently of `color`."""
    x = rgb.astype(np.float64)
    if colour == "y-full":
        x = (x @ np.array([0.299, 0.587, 0.114]))[..., None]
    elif colour.startswith("y-studio"):
        x = (16 + x @ np.array([0.256788235294118, 0.504129411764706, 0.097905882352941]))[
            ..., None
        ]
        x = np.floor(x + 0.5) if colour.endswith("8bit") else x
    return x[crop : x.shape[0] - crop, crop : x.shape[1] - crop]


def _oracle_ssim(a: np.ndarray, b: np.ndarray, protocol: EvalProtocol) -> float:
    window: dict[str, Any] = (
        {"gaussian_weights": True, "sigma": protocol.ssim_sigma, "use_sample_covariance": False}
        if protocol.ssim_window == "gaussian"
        else {"win_size": protocol.ssim_size}
    )
    data_range = 255 if protocol.ssim_range == "255" else a.max() - a.min()
    return structural_similarity(a, b, channel_axis=-1, data_range=data_range, **window)


OPTIONS = [
    dataclasses.replace(
        FAPN_PROTOCOL, colour=colour, crop=crop, ssim_window=window, ssim_size=size, ssim_range=span
    )
    for colour, crop, (window, size), span in itertools.product(
        ("rgb", "y-studio", "y-full", "y-studio-8bit"),
        (0, 5),
        (("gaussian", 11), ("uniform", 7)),
        ("255", "prediction"),
    )
]


@pytest.mark.parametrize("protocol", OPTIONS, ids=EvalProtocol.ssim_key)
def test_equals_scikit_image(protocol: EvalProtocol) -> None:
    n = 4 if protocol.ssim_range == "prediction" else 5  # a constant prediction has no range
    ours_psnr = psnr(_torch(SR[:n]), _torch(HR[:n]), protocol)
    ours_ssim = ssim(_torch(SR[:n]), _torch(HR[:n]), protocol)
    for i in range(n):
        a, b = (_oracle_planes(x[i], protocol.colour, protocol.crop) for x in (SR, HR))
        assert ours_psnr[i].item() == pytest.approx(
            peak_signal_noise_ratio(b, a, data_range=255), abs=TOLERANCE, rel=0
        )
        assert ours_ssim[i].item() == pytest.approx(
            _oracle_ssim(a, b, protocol), abs=TOLERANCE, rel=0
        )


def test_the_one_pass_grid_equals_scikit_image() -> None:
    found = fidelity_grid(_torch(SR), _torch(HR))
    for cell in grid():
        for i in range(len(SR)):
            if cell.ssim_range == "prediction" and np.ptp(SR[i]) == 0:
                continue
            a, b = (_oracle_planes(x[i], cell.colour, cell.crop) for x in (SR, HR))
            expected = peak_signal_noise_ratio(b, a, data_range=255)
            assert found["psnr", cell.measure_key()][i].item() == pytest.approx(
                expected, abs=TOLERANCE, rel=0
            ), cell
            tolerance = 1e-5 if i == 3 else TOLERANCE  # frame 3 is black and white: float32's worst
            assert found["ssim", cell.ssim_key()][i].item() == pytest.approx(
                _oracle_ssim(a, b, cell), abs=tolerance, rel=0
            ), cell


def test_the_grid_holds_what_every_preset_asks_for() -> None:
    found = fidelity_grid(_torch(SR), _torch(HR))
    for preset in PRESETS.values():
        assert ("psnr", preset.measure_key()) in found
        assert ("ssim", preset.ssim_key()) in found


def test_float_frames_are_rounded_only_when_the_protocol_says_so() -> None:
    sr = _torch(SR[:1]).double() / 255 + 0.3 / 255
    hr = _torch(HR[:1]).double() / 255
    rounded, exact = FAPN_PROTOCOL, dataclasses.replace(FAPN_PROTOCOL, quantise=False)
    a, b = SR[0].astype(np.float64), HR[0].astype(np.float64)
    assert psnr(sr, hr, rounded).item() == pytest.approx(
        peak_signal_noise_ratio(b, a, data_range=255), abs=TOLERANCE
    )
    assert psnr(sr, hr, exact).item() == pytest.approx(
        peak_signal_noise_ratio(b, a + 0.3, data_range=255), abs=TOLERANCE
    )
