"""Identity: how far a super-resolved face moved away from the person in the ground truth.

The measures work on encodings; where faces are and how they are encoded is the encoder's matter
(`fvsr_bench.faces.judge` builds dlib's).
"""

import contextlib
import hashlib
import io
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from fvsr_bench.errors import DataError

BoxPolicy = Literal["gt", "each", "whole"]


@runtime_checkable
class FaceEncoder(Protocol):
    """Finds one face per frame and turns it into a vector. `name` identifies every setting."""

    name: str

    def find(
        self, frames: np.ndarray, landmarks: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes (float64 [T, 4] x0 y0 x1 y1 px, NaN = no face) and whether each was found
        by the detector itself, bool [T]; `landmarks` [T, 5, 2] may stand in where it failed."""

    def encode(self, frames: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Encode the face in each box: float32 [T, D], NaN rows where the box is NaN."""


@dataclass(frozen=True, kw_only=True)
class GtFaces:
    """The faces of a clip's ground truth: made once, used for every method."""

    encodings: np.ndarray  # float32 [T, D]; NaN rows where there is no face
    boxes: np.ndarray  # float64 [T, 4]: x0, y0, x1, y1 in px; NaN where there is no face
    found: np.ndarray  # bool [T]: the detector itself found the face


class FaceDistance:
    """Euclidean distance between the encodings of SR and GT faces (lower is better).

    `box` says where the face is looked for: "gt" finds it on GT and uses that box for both (every
    method then has the same frames), "each" finds it anew on SR, "whole" takes the whole frame.
    """

    def __init__(self, encoder: FaceEncoder, box: BoxPolicy = "gt") -> None:
        self.encoder, self.box = encoder, box

    @property
    def key(self) -> str:
        """Name the convention in the records' protocol column, e.g. `dlib-gt-box`."""
        return f"{self.encoder.name.split('/')[0]}-{self.box}-box"

    def encode_gt(
        self, hr: np.ndarray, landmarks: np.ndarray | None = None, *, cache: Path | None = None
    ) -> GtFaces:
        """Find and encode the faces of a clip, uint8 RGB [T, H, W, 3].

        `landmarks` [T, 5, 2] px place the box where the detector finds none. With `cache`, a
        folder, the result is kept there under a hash of the pixels and of every setting.
        """
        _check(hr)
        path = cache / f"{self._digest(hr, landmarks)}.npz" if cache else None
        if path and (stored := _read(path)):
            return stored
        if self.box == "whole":
            boxes, found = _whole(hr), np.ones(len(hr), dtype=bool)
        else:
            boxes, found = self.encoder.find(hr, landmarks)
        faces = GtFaces(encodings=self.encoder.encode(hr, boxes), boxes=boxes, found=found)
        if path:
            _write(path, faces)
        return faces

    def encode(self, sr: np.ndarray, gt: GtFaces) -> np.ndarray:
        """Encode SR frames, uint8 RGB [T, H, W, 3], under the box policy: float32 [T, D]."""
        _check(sr)
        if len(sr) != len(gt.boxes):
            raise DataError(f"sr has {len(sr)} frames and the ground truth has {len(gt.boxes)}")
        boxes = self.encoder.find(sr, None)[0] if self.box == "each" else gt.boxes
        return self.encoder.encode(sr, boxes)

    def distance(self, sr: np.ndarray, gt: GtFaces) -> np.ndarray:
        """Return the distance per frame, float64 [T]; NaN where GT (or, "each", SR) has no face."""
        return distances(self.encode(sr, gt), gt.encodings)

    def _digest(self, hr: np.ndarray, landmarks: np.ndarray | None) -> str:
        digest = hashlib.sha256(f"{self.encoder.name}|{self.box}|{hr.shape}|".encode())
        digest.update(hr.tobytes())
        if landmarks is not None:
            digest.update(landmarks.astype(np.float64).tobytes())
        return digest.hexdigest()[:24]


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of paired encodings [T, D]; NaN rows give NaN."""
    return np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=-1)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of paired encodings [T, D] (1 is best); NaN rows give NaN."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))


def identity_jitter(encodings: np.ndarray) -> np.ndarray:
    """Return how far the encoding moves from the frame before, float64 [T] with NaN at frame 0.

    The ground truth's own jitter is the reference: a method that flickers lies above it, one that
    freezes the face lies below it.
    """
    return np.concatenate([[np.nan], distances(encodings[1:], encodings[:-1])])


def _whole(frames: np.ndarray) -> np.ndarray:
    height, width = frames.shape[1:3]
    return np.tile(np.array([0.0, 0.0, width - 1.0, height - 1.0]), (len(frames), 1))


def _check(frames: np.ndarray) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise DataError(
            f"faces are looked for in uint8 RGB frames [T, H, W, 3], not in {frames.dtype} "
            f"{list(frames.shape)}"
        )


def _read(path: Path) -> GtFaces | None:
    """Return a cached result; a damaged file counts as none and is written anew."""
    try:
        content = io.BytesIO(path.read_bytes())  # np.load leaves a damaged file open
        with np.load(content, allow_pickle=False) as file:
            return GtFaces(encodings=file["encodings"], boxes=file["boxes"], found=file["found"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _write(path: Path, faces: GtFaces) -> None:
    """Write the cache entry whole; a cache that cannot be written is no reason to fail."""
    buffer = io.BytesIO()
    np.savez(buffer, encodings=faces.encodings, boxes=faces.boxes, found=faces.found)
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(buffer.getvalue())
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
