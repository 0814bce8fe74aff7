"""Laws of the operations without parameters, against loops and formulas written out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fvsr_bench.nn import drafts, space_to_depth, upsample, warp


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def bilinear(image: Tensor, x: float, y: float) -> Tensor:
    """Sample one position of [c,h,w]; outside, the nearest border pixel counts."""
    h, w = image.shape[-2:]
    x, y = min(max(x, 0.0), w - 1.0), min(max(y, 0.0), h - 1.0)
    x0, y0 = min(int(x), max(w - 2, 0)), min(int(y), max(h - 2, 0))
    x1, y1 = min(x0 + 1, w - 1), min(y0 + 1, h - 1)
    a, b = x - x0, y - y0
    top = image[:, y0, x0] * (1 - a) + image[:, y0, x1] * a
    return top * (1 - b) + (image[:, y1, x0] * (1 - a) + image[:, y1, x1] * a) * b


# --- warping ---


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 12), st.integers(0, 99))
def test_warp_is_a_bilinear_sample_per_pixel(h: int, w: int, reach: float, seed: int) -> None:
    image = noise(2, 3, h, w, seed=seed)
    flow = (noise(2, 2, h, w, seed=seed + 1) - 0.5) * 2 * reach
    warped = warp(image, flow)
    for n in range(2):
        for i in range(h):
            for j in range(w):
                dx, dy = flow[n, :, i, j].tolist()
                expected = bilinear(image[n], j + dx, i + dy)
                assert torch.allclose(warped[n, :, i, j], expected, atol=2e-5)


def test_a_still_flow_is_the_identity_and_a_whole_one_a_shift() -> None:
    image = noise(1, 2, 7, 9)
    assert torch.allclose(warp(image, torch.zeros(1, 2, 7, 9)), image, atol=1e-6)
    flow = torch.zeros(1, 2, 7, 9)
    flow[:, 0], flow[:, 1] = 2, -1  # x: two to the right; y: one up
    shifted = warp(image, flow)
    assert torch.allclose(shifted[..., 1:, :-2], image[..., :-1, 2:], atol=1e-5)
    assert torch.allclose(shifted[..., :, -1], shifted[..., :, -2], atol=1e-5)  # the border repeats


@pytest.mark.parametrize("scale", [2, 4])
def test_drafts_sample_each_phase_at_its_lr_pixel(scale: int) -> None:
    lr = noise(1, 2, 4, 5)
    flow = (noise(1, 2, 4 * scale, 5 * scale, seed=1) - 0.5) * 6 * scale
    cube = drafts(lr, flow, scale).view(2, scale, scale, 4, 5)  # colour, row and column of phase
    for i in range(scale):
        for j in range(scale):
            for y in range(4):
                for x in range(5):
                    dx, dy = (flow[0, :, scale * y + i, scale * x + j] / scale).tolist()
                    expected = bilinear(lr[0], x + dx, y + dy)
                    assert torch.allclose(cube[:, i, j, y, x], expected, atol=1e-5)


# --- space to depth: two orders ---


def test_space_to_depth_has_the_colour_slowest() -> None:
    x = noise(1, 3, 8, 8)
    deep = space_to_depth(x, 4)
    for colour in range(3):
        for i in range(4):
            for j in range(4):
                assert torch.equal(deep[:, 16 * colour + 4 * i + j], x[:, colour, i::4, j::4])


def test_the_converter_s_permutation_joins_the_two_orders() -> None:
    """A kernel for (row, column, colour), reordered, sees the same in (colour, row, column)."""
    from fvsr_bench.convert.layout import colour_slowest

    x, kernel = noise(1, 3, 12, 16), noise(5, 3 + 48, 1, 1, seed=2)
    frame = noise(1, 3, 3, 4, seed=3)
    tensorflow = torch.cat([x[:, :, i::4, j::4] for i in range(4) for j in range(4)], 1)
    theirs = torch.conv2d(torch.cat((frame, tensorflow), 1), kernel)
    reordered = colour_slowest(kernel, plain=3, colours=3)
    ours = torch.conv2d(torch.cat((frame, space_to_depth(x, 4)), 1), reordered)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(kernel, reordered)


# --- enlargements, on impulses ---


def keys(t: float, a: float) -> float:
    """Keys' cubic convolution kernel, eq. 15 of his paper with a free parameter."""
    t = abs(t)
    if t < 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


KERNELS = {
    # mode: (kernel, position of output i)
    "bilinear": (lambda t: max(0.0, 1 - abs(t)), lambda i, s: (i + 0.5) / s - 0.5),
    "bicubic": (lambda t: keys(t, -0.5), lambda i, s: (i + 0.5) / s - 0.5),
    "nearest": (lambda t: float(abs(t) < 0.5), lambda i, s: i // s),
    "corner-bilinear": (lambda t: max(0.0, 1 - abs(t)), lambda i, s: i / s),
    "corner-bicubic": (lambda t: keys(t, -0.75), lambda i, s: i / s),
}


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("mode", KERNELS)
def test_enlargement_of_an_impulse_is_its_kernel(mode: str, scale: int) -> None:
    """Far from the borders, output i is the kernel at its distance from the impulse."""
    kernel, position = KERNELS[mode]
    image = torch.zeros(1, 1, 1, 12)
    image[..., 5] = 1
    row = upsample(image.expand(1, 1, 12, 12), scale, mode)[0, 0, 6 * scale]
    expected = [kernel(position(i, scale) - 5) for i in range(12 * scale)]
    assert torch.allclose(row, torch.tensor(expected), atol=1e-6)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("mode", ["corner-bilinear", "corner-bicubic"])
def test_corner_enlargement_replicates_the_border(mode: str, scale: int) -> None:
    kernel, _ = KERNELS[mode]
    values = noise(6)
    row = upsample(values.expand(1, 1, 6, 6), scale, mode)[0, 0, 0]
    for i in range(6 * scale):
        base = math.floor(i / scale)
        taps = [
            (kernel(i / scale - t), values[min(max(t, 0), 5)]) for t in range(base - 1, base + 3)
        ]
        assert row[i] == pytest.approx(float(sum(w * v for w, v in taps)), abs=1e-5)


@pytest.mark.parametrize("mode", KERNELS)
def test_enlargements_keep_what_is_constant_and_treat_the_axes_alike(mode: str) -> None:
    assert torch.allclose(upsample(torch.full((1, 2, 5, 7), 0.3), 4, mode), torch.tensor(0.3))
    image = noise(1, 1, 5, 7)
    turned = upsample(image.mT, 4, mode).mT
    assert torch.allclose(upsample(image, 4, mode), turned, atol=1e-6)


def test_the_two_phases_are_one_and_a_half_pixels_apart() -> None:
    """What separates BI from BD: on a ramp, half-pixel values lag by 1.5 of 4 HR px."""
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)
    centre, corner = (
        upsample(ramp, 4, mode)[0, 0, 20, 12:36] for mode in ("bilinear", "corner-bilinear")
    )
    assert torch.allclose(corner - centre, torch.tensor(1.5 / 4), atol=1e-5)
