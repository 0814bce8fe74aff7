"""Law: a crop is the pixels of its box and nothing else, and points move with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fvsr_bench.data.crop import crop_boxes, cut, to_crop

MODES = ("per-frame", "steady")
faces = st.lists(
    st.tuples(st.floats(-20, 180), st.floats(-20, 100), st.floats(20, 140), st.floats(20, 140)),
    min_size=1,
    max_size=6,
)


def boxes(rows):
    values = np.array(rows, np.float32)
    return np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)


@given(faces, st.sampled_from(MODES), st.floats(0.5, 4), st.sampled_from([0.0, 2.5]))
def test_boxes_are_squares_inside_the_frame(rows, mode, margin, smooth):
    made = crop_boxes(boxes(rows), (120, 200), mode=mode, margin=margin, smooth=smooth)
    sides = made[:, 2:] - made[:, :2]
    assert np.allclose(sides[:, 0], sides[:, 1], atol=0.011)
    assert (made >= 0).all()
    assert (made[:, 2] <= 200.01).all()
    assert (made[:, 3] <= 120.01).all()
    if mode == "steady":
        assert (made == made[0]).all()


def test_per_frame_follows_the_face_and_steady_holds_them_all():
    rows = [(40 + 2 * t, 30, 40, 50) for t in range(8)]
    moving = crop_boxes(boxes(rows), (120, 200), mode="per-frame", margin=1.0, smooth=0)
    np.testing.assert_allclose(moving[:, 0], [35 + 2 * t for t in range(8)])
    np.testing.assert_allclose(moving[:, 3] - moving[:, 1], 50)
    steady = crop_boxes(boxes(rows), (120, 200), mode="steady", margin=1.2, smooth=0)[0]
    np.testing.assert_allclose(steady[2] - steady[0], 1.2 * 54, atol=0.02)


def test_smoothing_keeps_a_still_box_and_calms_a_trembling_one():
    still = np.tile(np.float32([50, 40, 90, 90]), (12, 1))
    options = {"mode": "per-frame", "margin": 1.0}
    raw = crop_boxes(still, (120, 200), smooth=0, **options)
    np.testing.assert_array_equal(raw, crop_boxes(still, (120, 200), smooth=3, **options))
    shaky = still + np.random.default_rng(0).normal(0, 2, still.shape).astype(np.float32)
    calm = crop_boxes(shaky, (120, 200), smooth=3, **options)
    rough = crop_boxes(shaky, (120, 200), smooth=0, **options)
    assert np.abs(np.diff(calm, axis=0)).mean() < 0.3 * np.abs(np.diff(rough, axis=0)).mean()


def test_a_cut_of_the_same_size_is_the_pixels_themselves():
    frame = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    made = cut([frame], np.array([[10.0, 20.0, 42.0, 52.0]]), 32)
    np.testing.assert_array_equal(made[0], frame[20:52, 10:42])


@pytest.mark.parametrize("shift", [0.25, 0.5])
def test_a_cut_is_sub_pixel_exact(shift):
    """On a horizontal ramp, moving the box by a part of a pixel moves the values by that part."""
    ramp = np.repeat(np.arange(0, 240, 5, dtype=np.uint8)[None, :, None], 48, axis=0)
    frame = np.repeat(ramp, 3, axis=2)
    places = np.array([[8, 8, 40, 40], [8 + shift, 8, 40 + shift, 40]])
    here, there = cut([frame] * 2, places, 32)
    moved = there[:, 4:-4].astype(float) - here[:, 4:-4]
    assert np.allclose(moved.mean(), 5 * shift, atol=0.55)  # half a grey level of rounding


def test_landmarks_mark_the_same_spot_in_the_crop():
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[40:44, 60:64] = 255
    box = np.array([[30.0, 20.0, 80.0, 70.0]])
    point = to_crop(np.array([[[62.0, 42.0]]]), box, 160)[0, 0]
    y, x = np.nonzero(cut([frame], box, 160)[0][..., 0] > 128)
    np.testing.assert_allclose(point, [x.mean() + 0.5, y.mean() + 0.5], atol=0.6)
