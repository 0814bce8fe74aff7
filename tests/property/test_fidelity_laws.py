"""Laws of PSNR and SSIM: identity, noise, symmetry, conventions, and refusals."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.metrics.fidelity import fidelity_grid, psnr, ssim
from fvsr_bench.protocols import PRESETS, grid, mse_of_psnr, protocol
from fvsr_bench.spec import FAPN_PROTOCOL

PRESET_NAMES = sorted(PRESETS)


def _frame(seed: int, size: int = 48) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, size // 8, size // 8, generator=g)
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
    return (smooth * 255).round() / 255


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_identical_frames_score_the_cap_and_one(name: str) -> None:
    x = _frame(0, 64)
    assert psnr(x, x, protocol(name)).item() == protocol(name).psnr_cap
    assert ssim(x, x, protocol(name)).item() == 1.0


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**16), sigma=st.floats(0.01, 0.1))
def test_more_noise_never_helps(seed: int, sigma: float) -> None:
    x = _frame(seed)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 1))
    a, b = fidelity_grid(x + sigma * noise, x), fidelity_grid(x + 3 * sigma * noise, x)
    assert all(a[key].item() > b[key].item() for key in a if "8bit" not in key[1])


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_symmetric_in_sr_and_hr_unless_the_range_is_the_predictions(seed: int) -> None:
    x, y = _frame(seed), _frame(seed + 1)
    there, back = fidelity_grid(x, y), fidelity_grid(y, x)
    for key, value in there.items():
        if not key[1].endswith("-range"):
            assert value.item() == pytest.approx(back[key].item(), abs=1e-6)


def test_full_range_is_20_log10_of_255_over_219_below_studio() -> None:
    found = fidelity_grid(_frame(1), _frame(2))
    gap = found["psnr", "y-studio-c0"] - found["psnr", "y-full-c0"]
    assert gap.item() == pytest.approx(20 * np.log10(255 / 219), abs=1e-9)


@pytest.mark.parametrize("cell", grid(), ids=lambda cell: cell.ssim_key())
def test_the_grid_equals_the_single_measures(cell) -> None:
    x, y = _frame(3, 64), _frame(4, 64)
    found = fidelity_grid(torch.cat([x, y, x]), torch.cat([y, x, x]))
    single = torch.cat([x, y, x]), torch.cat([y, x, x]), cell
    torch.testing.assert_close(found["psnr", cell.measure_key()], psnr(*single), rtol=0, atol=1e-6)
    torch.testing.assert_close(found["ssim", cell.ssim_key()], ssim(*single), rtol=0, atol=1e-6)


def test_uint8_and_float_frames_are_the_same() -> None:
    x, y = _frame(5), _frame(6)
    as_bytes = [(v * 255).round().to(torch.uint8) for v in (x, y)]
    assert torch.equal(psnr(x, y, FAPN_PROTOCOL), psnr(*as_bytes, FAPN_PROTOCOL))


def test_pooled_mse_comes_back_from_psnr() -> None:
    x, y = _frame(7), _frame(8)
    mse = ((x - y).double() * 255).square().mean().item()
    assert mse_of_psnr(psnr(x, y, FAPN_PROTOCOL).numpy(), 100.0) == pytest.approx(mse)
    assert mse_of_psnr(100.0, 100.0) == 0
    one_off = torch.zeros(1, 3, 160, 160, dtype=torch.uint8)
    one_off[0, 0, 0, 0] = 1
    assert psnr(one_off, torch.zeros_like(one_off), FAPN_PROTOCOL).item() < 100


def test_refusals_say_what_and_where() -> None:
    x = _frame(9)
    with pytest.raises(DataError, match=r"\[1, 3, 48, 48\].*\[1, 3, 48, 40\]"):
        psnr(x, x[..., :40], FAPN_PROTOCOL)
    with pytest.raises(DataError, match="sr holds NaN"):
        fidelity_grid(x * float("nan"), x)
    with pytest.raises(DataError, match="crop of 24 px leaves nothing of a 48x48"):
        psnr(x, x, dataclasses.replace(FAPN_PROTOCOL, crop=24))
    with pytest.raises(DataError, match="at least 11 px, but 8x8"):
        ssim(x, x, dataclasses.replace(FAPN_PROTOCOL, crop=20))
    with pytest.raises(UsageError, match=r"unknown protocol 'sofsvr'. Did you mean 'sofvsr'"):
        protocol("sofsvr")


def test_a_preset_is_found_under_its_own_name() -> None:
    assert all(protocol(name).name == name for name in PRESET_NAMES)
