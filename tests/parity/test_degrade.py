"""Law: the degradations equal their formulas, computed here pixel by pixel in plain numpy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from fvsr_bench.degrade import degrade, degrade_uint8, gaussian_kernel
from fvsr_bench.errors import DataError
from fvsr_bench.spec import DEGRADATIONS


def imresize_weights(size, scale):
    """MATLAB imresize's row of weights per output pixel: cubic a = -0.5 stretched by `scale`."""

    def cubic(x):
        x = abs(x)
        if x <= 1:
            return 1.5 * x**3 - 2.5 * x**2 + 1
        return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    weights = np.zeros((size // scale, size))
    for i in range(size // scale):
        centre = (i + 0.5) * scale - 0.5
        for j in range(size):
            weights[i, j] = cubic((j - centre) / scale) / scale
        weights[i] /= weights[i].sum()  # matters at the border only
    return weights


@pytest.fixture
def image():
    return np.random.default_rng(3).uniform(0, 1, (24, 32))


def test_bi_is_matlab_imresize(image):
    expected = imresize_weights(24, 4) @ image @ imresize_weights(32, 4).T
    got = degrade(torch.tensor(image)[None, None], DEGRADATIONS["bi"])[0, 0].numpy()
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(("name", "radius"), [("bd15", 4), ("bd16", 6)])
def test_bd_is_blur_then_every_fourth_pixel(image, name, radius):
    sigma = DEGRADATIONS[name].sigma
    blurred = gaussian_filter(image, sigma, mode="mirror", radius=radius)
    got = degrade(torch.tensor(image).float()[None, None], DEGRADATIONS[name])[0, 0].numpy()
    np.testing.assert_allclose(got, blurred[::4, ::4], atol=1e-6)
    assert len(gaussian_kernel(sigma)) == 2 * radius + 1


@pytest.mark.parametrize(("name", "offset"), [("bi", 1.5), ("bd15", 0.0), ("bd16", 0.0)])
def test_the_phase_is_the_recorded_one(name, offset):
    """A horizontal ramp keeps its value at the place where the LR pixel sits."""
    ramp = torch.arange(48.0).expand(1, 3, 48, 48) / 48
    lr = degrade(ramp, DEGRADATIONS[name])[0, 0, 6]
    inner = torch.arange(3, 9)
    torch.testing.assert_close(lr[inner] * 48, inner * 4 + offset, atol=1e-4, rtol=0)


def test_uint8_rounds_and_clips():
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    frames[:, :, 8:] = 255  # the cubic over- and undershoots beside an edge
    for degradation in DEGRADATIONS.values():
        tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
        exact = degrade(tensor, degradation).permute(0, 2, 3, 1).numpy() * 255
        got = degrade_uint8(frames, degradation)
        assert got.shape == (2, 4, 4, 3)
        assert got.dtype == np.uint8
        assert np.abs(got - exact.clip(0, 255)).max() <= 0.5 + 1e-3


def test_sides_must_fit():
    with pytest.raises(DataError, match="multiples of 4"):
        degrade(torch.zeros(1, 3, 18, 16), DEGRADATIONS["bi"])
