"""The judge of identity: dlib's alignment and encodings, as `FaceDistance` wants them."""

import numpy as np
import torch

from fvsr_bench.faces.align import FaceAligner, box_of_landmarks
from fvsr_bench.faces.embedder import load_face_net
from fvsr_bench.metrics.identity import BoxPolicy, FaceDistance

BATCH = 16  # chips at once: larger ones leave the cache of a CPU core


class DlibEncoder:
    """Encodes faces as the package `face_recognition` does (HOG, five points, no jitter)."""

    name = "dlib/hog1/5pt/pad0.25/v1"

    def __init__(self, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._aligner, self._net = FaceAligner(), load_face_net(device=device)

    def find(
        self, frames: np.ndarray, landmarks: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the largest face in uint8 RGB frames [T, H, W, 3]: boxes [T, 4], found [T].

        Where the detector finds none, the box comes from the landmarks [T, 5, 2]; without those
        from the nearest frame that has one; if no frame has one, it is NaN.
        """
        boxes = np.full((len(frames), 4), np.nan)
        for t, frame in enumerate(frames):
            if (box := self._aligner.find(frame)) is not None:
                boxes[t] = box
        found = ~np.isnan(boxes[:, 0])
        known = np.flatnonzero(found)
        for t in np.flatnonzero(~found).tolist():
            if landmarks is not None and np.isfinite(landmarks[t]).all():
                boxes[t] = box_of_landmarks(np.asarray(landmarks[t], dtype=np.float64))
            elif len(known):
                boxes[t] = boxes[known[np.abs(known - t).argmin()]]
        return boxes, found

    def chips(self, frames: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Cut the aligned face out of each frame: uint8 [T, 150, 150, 3]."""
        pairs = zip(frames, boxes, strict=True)
        return np.stack([self._aligner.chip(frame, box) for frame, box in pairs])

    @torch.inference_mode()
    def encode(self, frames: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Encode the face in each box: float32 [T, 128], NaN where the box is NaN."""
        out = np.full((len(frames), 128), np.nan, dtype=np.float32)
        seen = np.flatnonzero(~np.isnan(boxes[:, 0]))
        for at in range(0, len(seen), BATCH):
            part = seen[at : at + BATCH]
            chips = torch.from_numpy(self.chips(frames[part], boxes[part])).to(self._device)
            x = chips.permute(0, 3, 1, 2).float().div(255)  # channels last in memory, as it came
            out[part] = self._net(x).cpu().numpy()
        return out


def face_distance(device: str = "cpu", box: BoxPolicy = "gt") -> FaceDistance:
    """Build the judge that the paper's "Face distance" column means. Loads the network once."""
    return FaceDistance(DlibEncoder(device), box)
