"""Finds sequences of consecutive frames that show one face throughout, in a stream of frames."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from fvsr_bench.data.video import Frame
from fvsr_bench.faces.detector import FaceDetector, Faces

_KEYS = 3  # frames of a sequence that are searched as a whole; the others are searched near by
_SCORE = 0.9  # least score of a face in those frames
_SAME = 0.15  # least intersection over union of a face in two of those frames
_NEAR = 0.3  # least intersection over union with the place where the face should be
_JUMP = 0.3  # most that a face's centre moves from frame to frame, in face sizes
_GROW = 1.35  # most that a face's size changes from frame to frame, as a ratio
_OUTSIDE = 0.12  # most of a face box that may lie outside of the frame
_FACE_CUT = (35.0, 4.0)  # a cut on the face itself: grey levels, and times the usual difference


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Consecutive frames with the box and landmarks of one face in each, in px of the frames."""

    frames: list[Frame]
    boxes: np.ndarray  # float32 [T, 4], as MTCNN found them
    landmarks: np.ndarray  # float32 [T, 5, 2]


@dataclass(frozen=True, kw_only=True)
class Skip:
    """Frames first..last (inclusive) that are in no sequence."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Lost:
    """Why a window is no sequence: frames before `restart` (an offset) cannot be used."""

    restart: int
    reason: str


class FaceScanner:
    """Cuts one video into sequences of `length` frames; make a new one for every video."""

    def __init__(self, detector: FaceDetector, *, length: int, min_side: float, gap: int) -> None:
        """`min_side`: least longer side of a face box in px; `gap`: frames between sequences."""
        self.detector, self.length, self.min_side, self.gap = detector, length, min_side, gap
        self._last_box: np.ndarray | None = None

    def scan(self, frames: Iterable[Frame]) -> Iterator[Sequence | Skip]:
        """Yield sequences, and what lies between them with the reason."""
        window: list[Frame] = []
        to_drop = 0
        for frame in frames:
            if frame.breaks:
                self._last_box = None
                if window:
                    yield _skip(window, f"fewer than {self.length} frames before: {frame.breaks}")
                window, to_drop = [], 0
            if to_drop:
                to_drop -= 1
                yield _skip([frame], "not needed (--max-per-subject)")
                continue
            window.append(frame)
            if len(window) < self.length:
                continue
            found = self._track(window)
            if isinstance(found, _Lost):
                yield _skip(window[: found.restart], found.reason)
                window = window[found.restart :]
            else:
                yield found
                self._last_box = found.boxes[-1]
                window, to_drop = [], self.gap
        if window:
            yield _skip(window, f"fewer than {self.length} frames before: the end of the video")

    def _track(self, window: list[Frame]) -> Sequence | _Lost:
        images = [frame.rgb for frame in window]
        keys = np.linspace(0, self.length - 1, _KEYS).round().astype(int)
        seen = [_confident(faces) for faces in self.detector.detect([images[k] for k in keys])]
        if not len(seen[0]):
            return _Lost(restart=min(8, self.length), reason=self._no_face())
        path = self._choose(seen)
        if path is None:
            return self._walk(images, seen[0])
        near = np.stack([np.interp(np.arange(len(images)), keys, path[:, i]) for i in range(4)], 1)
        found = [
            _nearest(f, b) for f, b in zip(self.detector.follow(images, near), near, strict=True)
        ]
        missing = [t for t, face in enumerate(found) if face is None]
        again = self.detector.detect([images[t] for t in missing])
        for t, faces in zip(missing, again, strict=True):
            found[t] = _nearest(faces, near[t])
        return self._judge(window, found)

    def _no_face(self) -> str:
        return f"no face of at least {self.min_side:.0f} px"

    def _choose(self, seen: list[Faces]) -> np.ndarray | None:
        """Return the boxes of the largest face that is in all key frames; None if there is none.

        The face of the sequence before is kept if it is not much smaller than the largest.
        """
        paths: list[np.ndarray] = []
        for start in seen[0].boxes:
            steps = [start]
            for faces in seen[1:]:
                near = _nearest(faces, steps[-1], _SAME)
                if near is None:
                    break
                steps.append(near[0])
            else:
                paths.append(np.stack(steps))
        if not paths:
            return None
        sizes = [_sides(path).min() for path in paths]
        for path, size in zip(paths, sizes, strict=True):
            kept = self._last_box is not None and _iou(path[:1], self._last_box)[0] > _NEAR
            if kept and size > 0.6 * max(sizes):
                return path
        return paths[int(np.argmax(sizes))]

    def _walk(self, images: list[np.ndarray], first: Faces) -> _Lost:
        """Follow the largest face frame by frame to where it is lost: the sequence is cut there."""
        box = first.boxes[0]
        for t in range(1, len(images)):
            face = _nearest(self.detector.follow([images[t]], box[None])[0], box)
            if face is None:
                return _Lost(restart=t, reason=f"the face is lost after {t} frames")
            box = face[0]
        return _Lost(restart=len(images) // 2, reason="the face moves too fast to be followed")

    def _judge(
        self, window: list[Frame], found: list[tuple[np.ndarray, np.ndarray] | None]
    ) -> Sequence | _Lost:
        for t, face in enumerate(found):
            if face is None:
                return _Lost(restart=t + 1, reason=f"the face is lost after {t} frames")
        faces = [face for face in found if face is not None]
        boxes = np.stack([box for box, _ in faces])
        sides = _sides(boxes)
        small = np.flatnonzero(sides < self.min_side)
        if small.size:
            return _Lost(restart=int(small[0]) + 1, reason=self._no_face())
        height, width = window[0].rgb.shape[:2]
        outside = np.flatnonzero(_outside(boxes, height, width) > _OUTSIDE)
        if outside.size:
            return _Lost(restart=int(outside[0]) + 1, reason="the face leaves the frame")
        jump = _jumps(boxes, sides) | _face_cuts([frame.rgb for frame in window], boxes)
        if jump.any():
            return _Lost(restart=int(np.argmax(jump)) + 1, reason="the face jumps (cut or switch)")
        return Sequence(frames=window, boxes=boxes, landmarks=np.stack([p for _, p in faces]))


def _skip(frames: list[Frame], reason: str) -> Skip:
    return Skip(first=frames[0].index, last=frames[-1].index, reason=reason)


def _confident(faces: Faces) -> Faces:
    good = faces.scores >= _SCORE
    return Faces(
        boxes=faces.boxes[good], scores=faces.scores[good], landmarks=faces.landmarks[good]
    )


def _nearest(
    faces: Faces, box: np.ndarray, least: float = _NEAR
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return box and landmarks of the face that overlaps `box` most; None if none does enough."""
    if not len(faces):
        return None
    overlap = _iou(faces.boxes, box)
    best = int(np.argmax(overlap))
    return (faces.boxes[best], faces.landmarks[best]) if overlap[best] >= least else None


def _iou(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    inside = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return inside / np.maximum(area - inside, 1e-6)


def _sides(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1)


def _outside(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the share of each box that lies outside of the frame."""
    low = np.maximum(boxes[:, :2], 0)
    high = np.minimum(boxes[:, 2:], [width, height])
    inside = np.prod(np.maximum(high - low, 0), axis=1)
    return 1 - inside / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-6)


def _jumps(boxes: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Say between which neighbours (t, t + 1) the box moves or grows more than a face does."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    moved = np.linalg.norm(np.diff(centre, axis=0), axis=1) / sides[:-1]
    grown = np.exp(np.abs(np.diff(np.log(sides))))
    return (moved > _JUMP) | (grown > _GROW)


def _face_cuts(images: list[np.ndarray], boxes: np.ndarray) -> np.ndarray:
    """Say between which neighbours the face itself is exchanged, the rest of the picture or not."""
    thumbs = []
    for image, box in zip(images, boxes, strict=True):
        x0, y0, x1, y1 = np.maximum(box, 0).astype(int)
        face = cv2.resize(image[y0:y1, x0:x1], (24, 24), interpolation=cv2.INTER_AREA)
        thumbs.append(face.astype(np.float32))
    difference = np.abs(np.diff(np.stack(thumbs), axis=0)).mean(axis=(1, 2, 3))
    sure, times = _FACE_CUT
    return (difference > sure) & (difference > times * max(float(np.median(difference)), 1.0))
