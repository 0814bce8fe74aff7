"""Law: a sequence shows one face throughout; what is between sequences is named, frame by frame."""

import numpy as np
import pytest

from fvsr_bench.data.scan import FaceScanner, Sequence, Skip
from fvsr_bench.data.video import Frame
from fvsr_bench.faces.detector import Faces

LENGTH = 8


class FakeDetector:
    """Finds the faces that a script names: frame number -> list of boxes."""

    def __init__(self, script):
        self.script = script

    def detect(self, images):
        return [self._faces(image) for image in images]

    def follow(self, images, near):
        return self.detect(images)

    def _faces(self, image):
        boxes = np.float32(self.script(int(image[0, 0, 0]))).reshape(-1, 4)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        boxes = boxes[np.argsort(-area, kind="stable")]
        scores = np.full(len(boxes), 0.99, np.float32)
        return Faces(boxes=boxes, scores=scores, landmarks=np.repeat(boxes[:, None, :2], 5, axis=1))


def frames(count, breaks=None):
    images = [np.full((200, 300, 3), t, np.uint8) for t in range(count)]
    return [
        Frame(index=t, time=t / 25, rgb=image, breaks=(breaks or {}).get(t))
        for t, image in enumerate(images)
    ]


def scan(script, count, breaks=None, gap=0):
    scanner = FaceScanner(FakeDetector(script), length=LENGTH, min_side=50, gap=gap)
    return list(scanner.scan(frames(count, breaks)))


def starts(found):
    return [item.frames[0].index for item in found if isinstance(item, Sequence)]


def box(x, y=50, side=80):
    return [x, y, x + side, y + side]


def test_a_steady_face_gives_every_sequence():
    found = scan(lambda t: [box(50 + t)], 20)
    assert starts(found) == [0, 8]
    assert found[-1] == Skip(
        first=16, last=19, reason="fewer than 8 frames before: the end of the video"
    )
    np.testing.assert_array_equal(found[0].boxes[:, 0], np.arange(50, 58))


def test_a_lost_face_cuts_the_sequence():
    found = scan(lambda t: [] if t == 5 else [box(50)], 30)
    assert starts(found) == [6, 14, 22]
    assert found[0] == Skip(first=0, last=5, reason="the face is lost after 5 frames")


def test_a_break_is_in_no_sequence():
    found = scan(lambda t: [box(50)], 24, {11: "scene cut"})
    assert starts(found) == [0, 11]
    assert Skip(first=8, last=10, reason="fewer than 8 frames before: scene cut") in found


def test_of_two_faces_the_larger_is_followed():
    found = scan(lambda t: [box(10, side=60), box(150, side=90)], 8)
    assert (found[0].boxes[:, 0] == 150).all()


def test_the_larger_must_be_there_throughout():
    found = scan(lambda t: [box(10, side=60), *([box(150, side=90)] if t < 4 else [])], 8)
    assert (found[0].boxes[:, 0] == 10).all()


def test_the_face_of_the_sequence_before_is_kept():
    def script(t):
        return [box(10, side=80), box(150, side=60 if t < 8 else 90)]

    found = scan(script, 16)
    assert [item.boxes[0, 0] for item in found] == [10, 10]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (lambda t: [], "no face of at least 50 px"),
        (lambda t: [box(50, side=40)], "no face of at least 50 px"),
        (lambda t: [box(-30)], "the face leaves the frame"),
        (lambda t: [box(50 if t < 3 else 110)], "the face jumps|the face is lost"),
        (lambda t: [box(50, side=60 if t < 3 else 100)], "the face jumps"),
        (lambda t: [box(10 if t < 4 else 200)], "the face is lost after 4 frames"),
    ],
)
def test_what_is_no_sequence_has_a_reason(script, reason):
    found = scan(script, LENGTH)
    assert starts(found) == []
    assert any(part in found[0].reason for part in reason.split("|"))


def test_a_cut_on_the_face_alone_is_a_jump():
    images = frames(LENGTH)
    for t, frame in enumerate(images):
        frame.rgb[60:120, 60:120] = 200 if t >= 5 else 90
    scanner = FaceScanner(FakeDetector(lambda t: [box(50)]), length=LENGTH, min_side=50, gap=0)
    found = list(scanner.scan(images))
    assert found[0] == Skip(first=0, last=4, reason="the face jumps (cut or switch)")


def test_a_gap_spreads_the_sequences():
    found = scan(lambda t: [box(50)], 30, gap=4)
    assert starts(found) == [0, 12]
    assert (
        sum(
            item.reason == "not needed (--max-per-subject)"
            for item in found[1:]
            if isinstance(item, Skip)
        )
        == 8
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_frame_is_in_one_place(seed):
    rng = np.random.default_rng(seed)
    there = rng.random(90) > 0.06
    breaks = {int(t): "scene cut" for t in rng.integers(1, 90, 3)}
    found = scan(lambda t: [box(50)] if there[t] else [], 90, breaks)
    spans = [
        (f.frames[0].index, f.frames[-1].index) if isinstance(f, Sequence) else (f.first, f.last)
        for f in found
    ]
    covered = [t for first, last in spans for t in range(first, last + 1)]
    assert covered == list(range(90))
    for item in found:
        if isinstance(item, Sequence):
            inside = [frame.index for frame in item.frames]
            assert all(there[inside])
            assert not set(inside[1:]) & set(breaks)
