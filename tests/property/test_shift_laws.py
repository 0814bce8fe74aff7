"""The shift diagnostic finds planted displacements to 0.05 px and names the phase trap."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage import data

from fvsr_bench.degrade import degrade
from fvsr_bench.errors import DataError
from fvsr_bench.metrics.fidelity import psnr, ssim
from fvsr_bench.metrics.shift import Shift, compensate, compensated, explain, find_shift
from fvsr_bench.spec import DEGRADATIONS, FAPN_PROTOCOL

CROP8 = dataclasses.replace(FAPN_PROTOCOL, crop=8)
PLANTED = [(0, 0), (0.3, -0.7), (1.5, 1.5), (-1.5, -1.5), (-2.25, 3.1), (3.9, -3.9), (0.1, 0.05)]


def _clip(dx: float = 0, dy: float = 0, frames: int = 3) -> torch.Tensor:
    """Cut 128 px windows out of a photograph at sub-pixel places (Lanczos: not the code's own)."""
    image = data.astronaut()
    out = []
    for i in range(frames):
        matrix = np.array([[1.0, 0, 120 + 7 * i - dx], [0, 1.0, 30 + 5 * i - dy]])
        flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
        out.append(
            cv2.warpAffine(cv2.GaussianBlur(image, (0, 0), 1), matrix, (128, 128), flags=flags)
        )
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize(("dx", "dy"), PLANTED)
@pytest.mark.parametrize("damage", ["none", "noise", "blur", "contrast"])
def test_planted_shifts_are_found(dx: float, dy: float, damage: str) -> None:
    hr, sr = _clip(), _clip(dx, dy).float() / 255
    if damage == "noise":
        sr = sr + 0.05 * torch.randn(sr.shape, generator=torch.Generator().manual_seed(0))
    elif damage == "blur":
        sr = F.interpolate(F.avg_pool2d(sr, 4), scale_factor=4, mode="bicubic")
    elif damage == "contrast":
        sr = 0.8 * sr + 0.05
    found = find_shift(sr.clamp(0, 1), hr)
    assert found.dx == pytest.approx(dx, abs=0.05)
    assert found.dy == pytest.approx(dy, abs=0.05)


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_bicubic_in_both_phases(name: str) -> None:
    """A centre-phase enlargement of corner-phase frames lies (scale - 1) / 2 = 1.5 px off."""
    hr = _clip().float() / 255
    degradation = DEGRADATIONS[name]
    sr = F.interpolate(degrade(hr, degradation), scale_factor=4, mode="bicubic").clamp(0, 1)
    expected = 0.0 if degradation.phase == "centre" else 1.5
    found = find_shift(sr, hr)
    assert found.dx == pytest.approx(expected, abs=0.05)
    assert found.dy == pytest.approx(expected, abs=0.05)
    moved_psnr, moved_ssim = compensated(sr, hr, found, CROP8)
    plain_psnr, plain_ssim = psnr(sr, hr, CROP8), ssim(sr, hr, CROP8)
    if expected:
        assert (moved_psnr > plain_psnr + 2).all()
        assert (moved_ssim > plain_ssim + 0.02).all()
    else:
        torch.testing.assert_close(moved_psnr, plain_psnr, rtol=0, atol=0.05)


def test_shift_is_antisymmetric() -> None:
    there = find_shift(_clip(0.8, -1.2), _clip())
    back = find_shift(_clip(), _clip(0.8, -1.2))
    assert (back.dx, back.dy) == pytest.approx((-there.dx, -there.dy), abs=0.02)


def test_compensating_a_whole_shift_gives_the_frame_back() -> None:
    hr = _clip()
    sr = torch.roll(hr, shifts=(2, -3), dims=(-2, -1))
    moved = compensate(sr, Shift(dx=-3.0, dy=2.0))
    inside = (..., slice(8, -8), slice(8, -8))
    assert (moved[inside] * 255 - hr[inside]).abs().max() < 1.5


def test_the_warning_names_the_cause() -> None:
    assert explain(Shift(dx=0.2, dy=0.1)) is None
    assert explain(Shift(dx=math.nan, dy=math.nan)) is None
    corner = explain(Shift(dx=1.48, dy=1.52)) or ""
    assert "+1.48 px right" in corner
    assert "centre phase (bi) and were fed the corner phase (bd)" in corner
    centre = explain(Shift(dx=-1.5, dy=-1.5)) or ""
    assert "corner phase (bd) and were fed the centre phase (bi)" in centre
    assert "constant offset" in (explain(Shift(dx=0.5, dy=0.5)) or "")


def test_what_cannot_be_decided_is_nan_and_what_does_not_fit_is_refused() -> None:
    flat = torch.full((2, 3, 64, 64), 0.5)
    found = find_shift(flat, flat)
    assert math.isnan(found.dx)
    assert math.isnan(found.dy)
    values = compensated(flat, flat, found, CROP8)
    assert values[0].tolist() == [100.0, 100.0]
    with pytest.raises(DataError, match="at least 32 px"):
        find_shift(flat[..., :20, :20], flat[..., :20, :20])
    with pytest.raises(DataError, match="crop of at least 8 px, but protocol 'fapn' has 0 px"):
        compensated(flat, flat, Shift(dx=0.0, dy=0.0), FAPN_PROTOCOL)
