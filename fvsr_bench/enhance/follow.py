"""Follows every face through a video, frame by frame, and says which window of the frame it is in.

A full search (MTCNN) every few frames and after every cut finds faces; between, each known face is
searched for only near where it was. Windows lie on whole pixels and are never resized, so that a
super-resolved window is exactly `scale` times its place in the frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from torch import Tensor

from fvsr_bench.data.video import Frame
from fvsr_bench.faces.detector import FaceDetector

SEARCH = 8  # frames between two full searches
PATIENCE = 4  # frames that a face may be unseen before it is given up
FADE = 4  # frames in which a new face is blended in
SURE = 0.9  # least score of a new face
SAME = 0.3  # intersection over union from which two boxes are one face
LOOK = 96  # px: side of the picture in which a known face is searched; the face has half of it
ROOM = 1.5  # side of the window / longer side of the face box
KEEP = (1.25, 1.9)  # the window keeps its size while it is this many face sides large
GRID = 8  # px: the networks halve three times
LEAST = 40  # px: the smallest window, the size that methods are trained at
STEADY = 0.35  # share of a small movement that is followed at once: the rest is detector jitter


@dataclass(kw_only=True)
class View:
    """One face in one frame. `sr` is filled in when the network is done with it."""

    face: int  # number of the face, from 1
    window: tuple[int, int, int]  # x, y, side in px of the frame
    centre: tuple[float, float]  # of the face, px of the frame
    side: float  # longer side of the face box, px
    opacity: float  # of the enhanced face, in [0, 1]
    fresh: bool  # the network starts anew: first frame of the face, or another window size
    sr: Tensor | None = None


@dataclass(kw_only=True)
class _Face:
    number: int
    centre: np.ndarray  # smoothed, px
    side: float  # smoothed, px
    opacity: float
    window: int = 0  # px
    unseen: int = 0  # frames
    fresh: bool = True

    def box(self) -> np.ndarray:
        half = self.side / 2
        return np.concatenate([self.centre - half, self.centre + half])


@dataclass(kw_only=True)
class Seen:
    """Counts for the report to the user."""

    min_face: float  # px: the limits that were used
    max_face: float
    faces: int = 0
    tiny: set[int] = field(default_factory=set)  # numbers of faces that were ever too small
    large: set[int] = field(default_factory=set)


class Follower:
    """Faces of one video; call `update` with every frame in order."""

    def __init__(self, detector: FaceDetector, *, min_face: float, max_face: float) -> None:
        """`min_face`, `max_face`: sides in px between which faces are given windows."""
        self.detector, self.min_face, self.max_face = detector, min_face, max_face
        self.seen = Seen(min_face=min_face, max_face=max_face)
        self._faces: list[_Face] = []
        self._since = SEARCH  # frames since the last full search

    def update(self, frame: Frame) -> list[View]:
        """Return the faces of the next frame that are to be enhanced."""
        cut = frame.breaks is not None or frame.index == 0
        if cut:
            self._faces.clear()
        lost = self._refine(frame.rgb)
        self._since += 1
        if cut or lost or self._since >= SEARCH:
            self._search(frame.rgb, opaque=cut)
            self._since = 0
        self._merge()
        return [view for face in self._faces if (view := self._view(face, frame.rgb)) is not None]

    def _refine(self, rgb: np.ndarray) -> bool:
        """Find the known faces again; says whether one of them was not seen."""
        looks = [_look(rgb, face.centre, face.side) for face in self._faces]
        found = self.detector.detect([look.image for look in looks])
        for face, look, faces in zip(self._faces, looks, found, strict=True):
            box = _nearest(look.to_frame(faces.boxes), face.box())
            if box is None:
                face.unseen += 1
            else:
                _move(face, box)
                face.unseen = 0
        self._faces = [face for face in self._faces if face.unseen <= PATIENCE]
        return any(face.unseen for face in self._faces) or len(self._faces) < len(looks)

    def _search(self, rgb: np.ndarray, *, opaque: bool) -> None:
        """Look everywhere for faces that are not known yet, and for known ones not seen near by."""
        faces = self.detector.detect([rgb])[0]
        for box, score in zip(faces.boxes, faces.scores, strict=True):
            known = [face for face in self._faces if _iou(face.box(), _squared(box)) > SAME]
            for face in known:
                if face.unseen:
                    _move(face, box)
                    face.unseen = 0
            if not known and score >= SURE:
                self.seen.faces += 1
                self._faces.append(
                    _Face(
                        number=self.seen.faces,
                        centre=(box[:2] + box[2:]) / 2,
                        side=float((box[2:] - box[:2]).max()),
                        opacity=1.0 if opaque else 0.0,
                    )
                )

    def _merge(self) -> None:
        """Two faces that came to the same place are one: the older one stays."""
        kept: list[_Face] = []
        for face in self._faces:
            if all(_iou(face.box(), other.box()) < 0.6 for other in kept):
                kept.append(face)
        self._faces = kept

    def _view(self, face: _Face, rgb: np.ndarray) -> View | None:
        if face.side < self.min_face:
            self.seen.tiny.add(face.number)
        if face.side > self.max_face:
            self.seen.large.add(face.number)
        if not self.min_face <= face.side <= self.max_face:
            face.fresh = True
            return None
        wanted = 1.0 if face.unseen == 0 else 1 - face.unseen / (PATIENCE + 1)
        step = 1 / FADE
        face.opacity += float(np.clip(wanted - face.opacity, -step, step))
        side = _window_side(face, rgb.shape[:2])
        fresh = face.fresh or side != face.window
        face.window, face.fresh = side, False
        height, width = rgb.shape[:2]
        x = int(np.clip(round(face.centre[0] - side / 2), 0, width - side))
        y = int(np.clip(round(face.centre[1] - side / 2), 0, height - side))
        return View(
            face=face.number,
            window=(x, y, side),
            centre=(float(face.centre[0]), float(face.centre[1])),
            side=face.side,
            opacity=face.opacity,
            fresh=fresh,
        )


def _window_side(face: _Face, shape: Sequence[int]) -> int:
    """Return the side of a face's window: its old one while that fits, a multiple of 8 px."""
    largest = min(shape) // GRID * GRID
    if KEEP[0] * face.side <= face.window <= KEEP[1] * face.side and face.window <= largest:
        return face.window
    side = int(np.ceil(ROOM * face.side / GRID)) * GRID
    return min(max(side, LEAST), largest)


def _move(face: _Face, box: np.ndarray) -> None:
    """Follow a detection: large movements at once, small ones (detector jitter) in part."""
    centre, side = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
    distance = float(np.linalg.norm(centre - face.centre))
    share = float(np.clip(distance / (0.1 * face.side), STEADY, 1.0))
    face.centre = face.centre + share * (centre - face.centre)
    face.side += STEADY * (side - face.side)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """The surroundings of a face, resized so that the face has half of LOOK px."""

    image: np.ndarray
    corner: tuple[int, int]  # px of the frame
    factor: float  # px of the image per px of the frame

    def to_frame(self, boxes: np.ndarray) -> np.ndarray:
        """Move boxes [n, 4] from this picture to the frame."""
        return boxes / self.factor + np.tile(np.asarray(self.corner, np.float32), 2)


def _look(rgb: np.ndarray, centre: np.ndarray, side: float) -> _Look:
    height, width = rgb.shape[:2]
    x0, y0 = (
        int(np.clip(c - side, 0, s - 1)) for c, s in zip(centre, (width, height), strict=True)
    )
    x1, y1 = (
        int(np.clip(np.ceil(c + side), low + 1, s))
        for c, low, s in zip(centre, (x0, y0), (width, height), strict=True)
    )
    factor = LOOK / (2 * side + 2)
    size = (max(1, round((x1 - x0) * factor)), max(1, round((y1 - y0) * factor)))
    shrink = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    small = cv2.resize(rgb[y0:y1, x0:x1], size, interpolation=shrink)[:LOOK, :LOOK]
    image = np.full((LOOK, LOOK, 3), 127, np.uint8)
    image[: small.shape[0], : small.shape[1]] = small
    return _Look(image=image, corner=(x0, y0), factor=factor)


def _nearest(boxes: np.ndarray, box: np.ndarray) -> np.ndarray | None:
    """Return the detection that overlaps the (square) box of a face most, if any does enough."""
    overlap = [_iou(_squared(other), box) for other in boxes]
    best = int(np.argmax(overlap)) if overlap else -1
    return np.asarray(boxes[best]) if overlap and overlap[best] > SAME else None


def _squared(box: np.ndarray) -> np.ndarray:
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]).max() / 2
    return np.concatenate([centre - half, centre + half])


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    inside = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(inside / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inside + 1e-6))
