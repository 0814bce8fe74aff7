"""The temporal judges against their definitions, written out anew, and against planted motion."""

import dataclasses

import cv2
import numpy as np
import pytest
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from fvsr_bench.errors import DataError
from fvsr_bench.metrics.temporal import (
    ground_truth_motion,
    temporal_grid,
    temporal_psnr,
    tof,
    warping_error,
)


def _pan(step: int, t: int = 5, size: int = 96) -> np.ndarray:
    """Return a window that moves `step` px to the right per frame: content moves to the left."""
    image = cv2.GaussianBlur(data.astronaut(), (0, 0), 1.2)
    return np.stack(
        [image[100 : 100 + size, 150 + step * i : 150 + step * i + size] for i in range(t)]
    )


def _flicker(frames: np.ndarray, amount: int) -> np.ndarray:
    sign = np.where(np.arange(len(frames)) % 2, amount, -amount)[:, None, None, None]
    return np.clip(frames.astype(int) + sign, 0, 255).astype(np.uint8)


def _tecogan_tof(sr: np.ndarray, hr: np.ndarray, crop: int) -> list[float]:
    """Compute tOF as the loop of TecoGAN's metrics.py does, one pair after the other."""
    values = []
    for t in range(1, len(sr)):
        flows = []
        for clip in (hr, sr):
            before, now = (cv2.cvtColor(clip[i], cv2.COLOR_RGB2GRAY) for i in (t - 1, t))
            flow = cv2.calcOpticalFlowFarneback(before, now, None, 0.5, 3, 15, 3, 5, 1.2, 0)
            height, width = flow.shape[:2]
            flows.append(flow[crop : height - crop, crop : width - crop])
        gap = np.absolute(flows[0] - flows[1])
        values.append(np.sqrt(np.sum(gap * gap, axis=-1)).mean())
    return values


@pytest.mark.parametrize("crop", [0, 16])
def test_tof_is_tecogans(crop: int) -> None:
    hr = _pan(2)
    sr = np.stack(
        [cv2.GaussianBlur(np.roll(f, i % 2, axis=1), (0, 0), 2) for i, f in enumerate(hr)]
    )
    found = tof(sr, ground_truth_motion(hr), crop)
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx(_tecogan_tof(sr, hr, crop), rel=1e-6)


def test_tof_of_a_frozen_clip_is_the_motion_that_it_misses() -> None:
    hr = _pan(3)
    frozen = np.stack([hr[0]] * len(hr))
    motion = ground_truth_motion(hr)
    assert tof(frozen, motion, crop=16)[1:] == pytest.approx(3, abs=0.3)
    assert tof(hr, motion)[1:].tolist() == [0] * 4


def test_flow_points_to_where_the_content_went() -> None:
    motion = ground_truth_motion(_pan(3))
    middle = np.s_[:, 20:-20, 20:-20]
    assert np.median(motion.forward[middle][..., 0]) == pytest.approx(-3, abs=0.1)
    assert np.median(motion.backward[middle][..., 0]) == pytest.approx(3, abs=0.1)
    assert np.median(np.abs(motion.forward[middle][..., 1])) < 0.1


def test_warping_error_sees_flicker_and_not_motion() -> None:
    hr = _pan(2)
    motion = ground_truth_motion(hr)
    own = warping_error(hr, motion)
    assert np.isnan(own[0])
    assert np.nanmax(own) < 0.6
    flickering = warping_error(_flicker(_pan(2) // 2 + 60, 10), ground_truth_motion(hr // 2 + 60))
    assert flickering[1:] == pytest.approx(1000 * (20 / 255) ** 2, rel=0.05)


def test_pixels_without_a_partner_do_not_count() -> None:
    hr = _pan(4)
    motion = ground_truth_motion(hr)
    assert not motion.visible[:, 10:-10, -3:].any()  # came in from the right
    assert motion.visible[:, 20:-20, 20:-20].mean() > 0.9
    sr = hr.copy()
    sr[1, 10:-10, -3:] = np.random.default_rng(0).integers(0, 256, sr[1, 10:-10, -3:].shape)
    spoiled, clean = warping_error(sr, motion), warping_error(hr, motion)
    assert spoiled[1] == pytest.approx(clean[1], rel=1e-9)  # frame 0 has nothing to compare them to
    assert spoiled[2] > clean[2] + 1  # frame 2 shows them 4 px further to the left
    everywhere = dataclasses.replace(motion, visible=np.ones_like(motion.visible))
    assert warping_error(sr, everywhere)[1] > clean[1] + 1


def test_temporal_psnr_is_the_psnr_of_differences() -> None:
    rng = np.random.default_rng(1)
    hr = _pan(1)
    sr = np.clip(hr + rng.normal(0, 6, hr.shape), 0, 255).round().astype(np.uint8)
    found = temporal_psnr(sr, hr)
    for t in range(1, len(hr)):
        a, b = (x[t].astype(float) - x[t - 1] for x in (sr, hr))
        assert found[t] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255), abs=1e-9)
    still = np.clip(hr.astype(int) // 2 + 40, 0, 255).astype(np.uint8)
    brighter = (still + 25).astype(np.uint8)  # a constant error: nothing flickers
    assert temporal_psnr(brighter, still)[1:].tolist() == [100.0] * 4


def test_the_grid_holds_the_single_measures() -> None:
    hr = _pan(2)
    sr = _flicker(hr, 5)
    motion = ground_truth_motion(hr)
    found = temporal_grid(sr, hr, motion)
    assert set(found) == {
        ("tof", "farneback-c0"),
        ("tof", "farneback-c16"),
        ("warping-error", "farneback-gt"),
        ("tpsnr", "rgb-c0"),
    }
    np.testing.assert_array_equal(found["tof", "farneback-c16"], tof(sr, motion, 16))
    np.testing.assert_array_equal(found["warping-error", "farneback-gt"], warping_error(sr, motion))
    np.testing.assert_array_equal(found["tpsnr", "rgb-c0"], temporal_psnr(sr, hr))


def test_one_frame_has_no_pairs_and_wrong_shapes_are_refused() -> None:
    hr = _pan(1, t=1)
    motion = ground_truth_motion(hr)
    for values in (tof(hr, motion), warping_error(hr, motion), temporal_psnr(hr, hr)):
        assert values.shape == (1,)
        assert np.isnan(values[0])
    with pytest.raises(DataError, match=r"sr is \[5, 96, 96, 3\], the ground truth was \[1, 96"):
        tof(_pan(1), motion)
    with pytest.raises(DataError, match="take uint8 RGB frames"):
        ground_truth_motion(hr / 255)
    with pytest.raises(DataError, match="expected the same"):
        temporal_psnr(hr, _pan(1))
