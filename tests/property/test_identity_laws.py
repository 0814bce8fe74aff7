"""Laws of the face distance: one box for both, the same frames for all, nothing lost in silence."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from fvsr_bench.errors import DataError
from fvsr_bench.faces.align import FaceAligner, box_of_landmarks
from fvsr_bench.faces.judge import DlibEncoder, face_distance
from fvsr_bench.metrics.identity import (
    FaceDistance,
    cosines,
    distances,
    identity_jitter,
)


class _MeanColour:
    """An encoder to check by hand: the mean colour in the box; flat frames hold no face."""

    name = "colour/v1"
    calls = 0

    def find(self, frames, landmarks):
        self.calls += 1
        has = np.array([np.ptp(frame) > 0 for frame in frames])
        boxes = np.full((len(frames), 4), np.nan)
        boxes[has] = [1, 1, 4, 4]
        return boxes, has

    def encode(self, frames, boxes):
        out = np.full((len(frames), 3), np.nan, dtype=np.float32)
        for t in np.flatnonzero(~np.isnan(boxes[:, 0])):
            x0, y0, x1, y1 = boxes[t].astype(int)
            out[t] = frames[t, y0 : y1 + 1, x0 : x1 + 1].mean(axis=(0, 1))
        return out


def _clip(seed: int, t: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (t, 8, 8, 3), dtype=np.uint8)


def _face_clip(t: int = 4) -> np.ndarray:
    face = data.astronaut()
    return np.stack(
        [
            cv2.resize(face[i : 190 + i, 120:310], (160, 160), interpolation=cv2.INTER_AREA)
            for i in range(t)
        ]
    )


def test_the_distance_is_euclidean_in_the_box_found_on_gt() -> None:
    hr, sr = _clip(0), _clip(1)
    judge = FaceDistance(_MeanColour())
    a, b = (x[:, 1:5, 1:5].astype(float).mean(axis=(1, 2)) for x in (sr, hr))
    expected = np.sqrt(((a - b) ** 2).sum(axis=1))
    assert judge.distance(sr, judge.encode_gt(hr)) == pytest.approx(expected, rel=1e-6)
    assert judge.key == "colour-gt-box"


def test_the_frames_that_count_depend_on_gt_alone() -> None:
    hr, sr = _clip(0), _clip(1)
    hr[2] = 7  # no face in the ground truth
    sr[3] = 7  # nothing found in SR: still measured, in GT's box
    judge = FaceDistance(_MeanColour())
    gt = judge.encode_gt(hr)
    assert np.isnan(judge.distance(sr, gt)).tolist() == [False, False, True, False, False]
    assert gt.found.tolist() == [True, True, False, True, True]
    each = FaceDistance(_MeanColour(), "each")
    lost = np.isnan(each.distance(sr, each.encode_gt(hr)))
    assert lost.tolist() == [False, False, True, True, False]
    whole = FaceDistance(_MeanColour(), "whole")
    assert not np.isnan(whole.distance(sr, whole.encode_gt(hr))).any()


def test_the_cache_is_keyed_by_pixels_and_setting_and_survives_damage(tmp_path: Path) -> None:
    encoder = _MeanColour()
    judge = FaceDistance(encoder)
    first = judge.encode_gt(_clip(0), cache=tmp_path)
    again = judge.encode_gt(_clip(0), cache=tmp_path)
    assert encoder.calls == 1
    assert np.array_equal(first.encodings, again.encodings)
    judge.encode_gt(_clip(1), cache=tmp_path)
    judge.encode_gt(_clip(0), np.zeros((5, 5, 2)), cache=tmp_path)
    assert encoder.calls == 3
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3
    for damaged in (b"cut short", files[0].read_bytes()[:-30], b""):  # a copy that broke off, too
        for file in files:
            file.write_bytes(damaged)
        before = encoder.calls
        judge.encode_gt(_clip(0), cache=tmp_path)
        assert encoder.calls == before + 1


def test_an_unwritable_cache_is_no_reason_to_fail(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    gt = FaceDistance(_MeanColour()).encode_gt(_clip(0), cache=blocked / "faces")
    assert not np.isnan(gt.encodings).any()


def test_identical_frames_have_distance_zero_and_blur_moves_away() -> None:
    hr = _face_clip()
    judge = face_distance()
    gt = judge.encode_gt(hr)
    assert gt.found.all()
    assert judge.distance(hr, gt).tolist() == [0, 0, 0, 0]
    soft, softer = (
        np.stack([cv2.GaussianBlur(frame, (0, 0), s) for frame in hr]) for s in (1.5, 4)
    )
    a, b = judge.distance(soft, gt), judge.distance(softer, gt)
    assert (a > 0.05).all()
    assert (b > a).all()


def test_landmarks_stand_in_where_the_detector_fails() -> None:
    hr = _face_clip(3)
    box = np.array(FaceAligner().find(hr[0]), dtype=float)
    side = box[2] - box[0]
    face = np.array([[0.3, 0.35], [0.72, 0.35], [0.5, 0.6], [0.34, 0.8], [0.68, 0.8]])
    landmarks = np.stack([box[:2] + face * side] * 3)
    guess = box_of_landmarks(landmarks[0])
    inner = np.prod(np.minimum(guess[2:], box[2:]) - np.maximum(guess[:2], box[:2]))
    union = np.prod(guess[2:] - guess[:2]) + side**2 - inner
    assert inner / union > 0.6
    hidden = hr.copy()
    hidden[1] = hidden[1] // 16 + 100  # too little contrast for HOG
    encoder = DlibEncoder()
    boxes, found = encoder.find(hidden, landmarks)
    assert found.tolist() == [True, False, True]
    assert np.array_equal(boxes[1], guess)
    without, _ = encoder.find(hidden, None)
    assert np.array_equal(without[1], without[0])  # the nearest frame's box
    nothing, found = encoder.find(np.full((2, 160, 160, 3), 90, np.uint8), None)
    assert np.isnan(nothing).all()
    assert not found.any()
    assert np.isnan(encoder.encode(np.zeros((2, 160, 160, 3), np.uint8), nothing)).all()


def test_small_formulas() -> None:
    a, b = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [0.0, 2.0]])
    assert distances(a, b).tolist() == pytest.approx([5, np.sqrt(5)])
    assert cosines(a, np.array([[6.0, 8.0], [0.0, 1.0]])).tolist() == pytest.approx([1, 0])
    steps = identity_jitter(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]]))
    assert np.isnan(steps[0])
    assert steps[1:].tolist() == [5, 0]


def test_wrong_frames_are_refused() -> None:
    judge = FaceDistance(_MeanColour())
    with pytest.raises(DataError, match=r"float64 \[5, 8, 8, 3\]"):
        judge.encode_gt(_clip(0) / 255)
    with pytest.raises(DataError, match="sr has 4 frames and the ground truth has 5"):
        judge.distance(_clip(1, 4), judge.encode_gt(_clip(0)))
