"""Laws of the colour conversions and of 8-bit rounding."""

import itertools

import numpy as np
import pytest
import torch

from fvsr_bench import color


def _pixels(*rgb: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.float64).T[None, :, None]  # [1, 3, 1, n]


def test_matlab_luma_of_known_colours() -> None:
    # rgb2ycbcr(uint8(...)) in MATLAB: black, white, red, green, blue, mid grey
    x = _pixels((0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128))
    assert color.luma_matlab(x).flatten().tolist() == [16, 235, 81, 145, 41, 126]


def test_studio_is_an_affine_map_of_full_range() -> None:
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64) * 255
    matrix = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64)
    expected = torch.einsum("c,nchw->nhw", matrix, x / 255)[:, None] + 16
    torch.testing.assert_close(color.luma_studio(x), expected, rtol=0, atol=1e-10)


def test_matlab_luma_is_the_rounded_studio_luma_in_any_precision() -> None:
    levels = torch.arange(0, 256, 15, dtype=torch.float64)
    x = torch.tensor(list(itertools.product(levels.tolist(), repeat=3))).T[None, :, None]
    exact = color.luma_studio(x.double())
    rounded = color.luma_matlab(x.double())
    no_tie = (exact.frac() - 0.5).abs() > 1e-6
    assert torch.equal(rounded[no_tie], exact.round()[no_tie])
    torch.testing.assert_close(rounded[~no_tie], exact[~no_tie] + 0.5)  # half goes up
    assert torch.equal(color.luma_matlab(x.float()).double(), rounded)


def test_ycbcr_there_and_back() -> None:
    x = torch.rand(2, 3, 9, 4, dtype=torch.float64)
    torch.testing.assert_close(color.ycbcr_to_rgb(color.rgb_to_ycbcr(x)), x)
    grey = torch.full((1, 3, 1, 1), 0.5, dtype=torch.float64)
    y, cb, cr = (color.rgb_to_ycbcr(grey) * 255).flatten().tolist()
    assert (y, cb, cr) == pytest.approx((16 + 109.5, 128, 128))


def test_eight_bit_values_are_numpys() -> None:
    x = torch.rand(3, 3, 16, 16) * 1.4 - 0.2
    expected = np.rint(x.clamp(0, 1).numpy() * np.float32(255)).astype(np.uint8)
    assert np.array_equal(color.to_uint8(x).numpy(), expected)
