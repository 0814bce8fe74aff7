"""dlib's way to a face chip: HOG detector, five-point landmarks, 150 px crop.

The same steps, with the same defaults, as the package `face_recognition`: its encodings are made
from exactly these chips.
"""

import dlib
import numpy as np

from fvsr_bench.errors import DataError
from fvsr_bench.faces.embedder import CHIP, model_path

PADDING = 0.25  # of the chip, around the face
UPSAMPLE = 1  # doublings of the frame before the HOG detector looks at it
LANDMARKS_FILE = "shape_predictor_5_face_landmarks.dat"

# Where dlib's HOG box lies relative to MTCNN's five landmarks: side and downward shift of the
# centre in units of their RMS distance from their mean. Medians over 44 faces in public videos;
# the box made so overlaps dlib's own by 0.83 (median intersection over union).
_SIDE, _SHIFT = 3.58, -0.08


class FaceAligner:
    """Finds one face per frame and cuts it out as the recognition network wants it."""

    def __init__(self) -> None:
        self._detector = dlib.get_frontal_face_detector()
        self._landmarks = dlib.shape_predictor(str(model_path(LANDMARKS_FILE)))

    def find(self, frame: np.ndarray) -> tuple[int, int, int, int] | None:
        """Return the box x0, y0, x1, y1 (px, inclusive) of the largest face of an RGB frame."""
        found = self._detector(np.ascontiguousarray(frame), UPSAMPLE)
        if not found:
            return None
        best = max(found, key=lambda box: box.area())
        return best.left(), best.top(), best.right(), best.bottom()

    def chip(self, frame: np.ndarray, box: np.ndarray | tuple[int, int, int, int]) -> np.ndarray:
        """Return the aligned face in a box of an RGB frame, uint8 [150, 150, 3]."""
        frame = np.ascontiguousarray(frame)
        left, top, right, bottom = (round(float(v)) for v in box)
        if right <= left or bottom <= top:
            raise DataError(f"the face box {left}, {top}, {right}, {bottom} is empty")
        shape = self._landmarks(frame, dlib.rectangle(left, top, right, bottom))
        return dlib.get_face_chip(frame, shape, size=CHIP, padding=PADDING)


def box_of_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """Return about the box that the HOG detector would find around five landmarks [5, 2], px."""
    centre = landmarks.mean(axis=0)
    spread = np.sqrt(((landmarks - centre) ** 2).sum(axis=1).mean())
    centre[1] += _SHIFT * spread
    half = _SIDE / 2 * spread
    return np.round(np.concatenate([centre - half, centre + half])).astype(np.float64)
