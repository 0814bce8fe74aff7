"""Law: the detector finds the faces, boxes and landmarks that facenet-pytorch's own loop finds."""

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from facenet_pytorch import MTCNN
from skimage import data

from fvsr_bench.faces.detector import FaceDetector


def photograph(name):
    if name == "astronaut":
        return data.astronaut()
    path = Path(find_spec("insightface").origin).parent / "data" / "images" / "t1.jpg"
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize(("name", "people"), [("astronaut", 1), ("t1", 6)])
def test_boxes_and_landmarks_are_those_of_mtcnn(name, people):
    image = photograph(name)
    expected, scores, points = MTCNN(device="cpu").detect(image, landmarks=True)
    found = FaceDetector(40.0).detect([image])[0]
    good = scores > 0.9
    assert good.sum() == people
    assert (found.scores > 0.9).sum() == people
    nearest = [np.abs(found.boxes - box).mean(axis=1).argmin() for box in expected[good]]
    assert len(set(nearest)) == people
    assert np.median(np.abs(found.boxes[nearest] - expected[good])) <= 2
    assert np.median(np.abs(found.landmarks[nearest] - points[good])) <= 2


def test_following_gives_the_box_of_searching_everywhere():
    image = photograph("astronaut")
    frames = [np.roll(image, (t, 2 * t), axis=(0, 1)) for t in range(4)]
    detector = FaceDetector(40.0)
    searched = np.stack([faces.boxes[0] for faces in detector.detect(frames)])
    vague = searched + np.float32([6, -5, 9, -4])  # about where the face is
    followed = np.stack([faces.boxes[0] for faces in detector.follow(frames, vague)])
    assert np.median(np.abs(followed - searched)) <= 1


def test_faces_below_the_least_size_are_left_alone():
    small = cv2.resize(photograph("astronaut"), (150, 150), interpolation=cv2.INTER_AREA)
    assert len(FaceDetector(20.0).detect([small])[0]) == 1
    assert len(FaceDetector(80.0).detect([small])[0]) == 0


def test_nothing_is_found_in_nothing():
    detector = FaceDetector(40.0)
    grey = np.full((90, 70, 3), 128, np.uint8)
    assert detector.detect([]) == []
    assert len(detector.detect([grey])[0]) == 0
    assert len(detector.follow([grey], np.float32([[10, 10, 60, 60]]))[0]) == 0
    tiny = np.full((8, 8, 3), 128, np.uint8)
    assert len(detector.detect([tiny])[0]) == 0
