"""Finds faces with MTCNN (facenet-pytorch's networks), batched and fast enough for whole videos.

Two ways in: `detect` looks everywhere in each frame; `follow` is told about where the face is, in
many frames at once. Both are `facenet_pytorch.MTCNN.detect` without the work that cannot change the
answer: the pyramid has the same levels, but only those are computed on which a face of the wanted
size shows (the large levels, where small faces would be found, are what that loop spends its time
on), from a reduced frame. R- and O-Net read the full-size frame, so the boxes are as exact.

K. Zhang et al., Joint face detection and alignment using multitask cascaded convolutional
networks, 2016. The three weight files travel in facenet-pytorch's wheel (MIT).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from fvsr_bench.errors import DataError

_THRESHOLDS = (0.6, 0.7, 0.7)  # of P-, R- and O-Net: facenet-pytorch's defaults
_PYRAMID = 0.709  # ratio between two sizes of the P-Net's pyramid: idem
_MIN_SIZE = 20.0  # px: the smallest face of the pyramid: idem
_CELL, _STRIDE = 12, 2  # px: receptive field and stride of the P-Net
_COARSE = (
    48.0  # px: the P-Net sees frames shrunk until the smallest face wanted has about this size
)
_NEAR = (0.6, 1.2)  # cells of the pyramid searched by `follow`, in sides of the box given
_NEAR_OVERLAP = 0.2  # least intersection over union of its candidates with that box


@dataclass(frozen=True, kw_only=True)
class Faces:
    """The faces of one frame, largest first, in px of that frame."""

    boxes: np.ndarray  # float32 [n, 4]: x0, y0, x1, y1
    scores: np.ndarray  # float32 [n] in [0, 1]
    landmarks: np.ndarray  # float32 [n, 5, 2]: left eye, right eye, nose, mouth left, mouth right

    def __len__(self) -> int:
        return len(self.boxes)


class FaceDetector:
    """MTCNN on the CPU; faces narrower than about `min_size` px are not looked for."""

    def __init__(self, min_size: float = _MIN_SIZE) -> None:
        self.min_size = max(_MIN_SIZE, float(min_size))
        self._pnet, self._rnet, self._onet = (_load_net(name) for name in ("P", "R", "O"))

    @torch.inference_mode()
    def detect(self, frames: Sequence[np.ndarray]) -> list[Faces]:
        """Find all faces in frames (uint8 RGB [H, W, 3], all of one size)."""
        return self._find(frames, (self.min_size, np.inf), None)

    @torch.inference_mode()
    def follow(self, frames: Sequence[np.ndarray], near: np.ndarray) -> list[Faces]:
        """Find in each frame the faces near a box: `near` [n, 4] has one box per frame.

        The same computation as `detect`, restricted to the pyramid levels of about that size and
        to candidates that overlap the box: many times cheaper, and the same box in the end.
        """
        side = (near[:, 2:] - near[:, :2]).max(axis=1)
        sizes = (float(_NEAR[0] * side.min()), float(_NEAR[1] * side.max()))
        return self._find(frames, sizes, near)

    def _find(
        self, frames: Sequence[np.ndarray], sizes: tuple[float, float], near: np.ndarray | None
    ) -> list[Faces]:
        if not len(frames):
            return []
        factor = max(1, int(sizes[0] / _COARSE))
        coarse = [_shrink(frame, factor) for frame in frames]
        boxes, owner = self._propose(coarse, frames[0].shape[:2], sizes)
        if near is not None:
            close = _overlap(boxes, near[owner]) > _NEAR_OVERLAP
            boxes, owner = boxes[close], owner[close]
        boxes, owner = self._second(frames, boxes, owner)
        boxes, scores, owner, points = self._third(frames, boxes, owner)
        faces = []
        for i in range(len(frames)):
            mine = np.flatnonzero(owner == i)
            mine = mine[_suppress_min(boxes[mine], scores[mine], 0.7)]
            area = (boxes[mine, 2] - boxes[mine, 0]) * (boxes[mine, 3] - boxes[mine, 1])
            mine = mine[np.argsort(-area, kind="stable")]
            faces.append(Faces(boxes=boxes[mine], scores=scores[mine], landmarks=points[mine]))
        return faces

    def _propose(
        self,
        coarse: Sequence[np.ndarray],
        shape: tuple[int, ...],
        sizes: tuple[float, float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """P-Net over the pyramid: square candidate boxes [n, 4] and the frame each belongs to.

        The levels are facenet-pytorch's (minsize 20), of which those are run whose cell covers
        between `sizes[0]` and `sizes[1]` px of the frame.
        """
        height, width = shape
        scale = _CELL / _MIN_SIZE
        found: list[Tensor] = []
        while min(height, width) * scale >= _CELL:
            if sizes[0] * _PYRAMID < _CELL / scale < sizes[1]:
                size = (int(width * scale + 1), int(height * scale + 1))
                small = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in coarse]
                offsets, probability = self._pnet(_to_input(small))
                found.append(_candidates(offsets, probability[:, 1], scale))
            scale *= _PYRAMID
        rows = torch.cat(found) if found else torch.zeros(0, 10)
        keep = batched_nms(rows[:, 1:5], rows[:, 5], rows[:, 0].long(), 0.7)
        rows = rows[keep]
        side = torch.stack([rows[:, 3] - rows[:, 1], rows[:, 4] - rows[:, 2]] * 2, dim=1)
        boxes = rows[:, 1:5] + rows[:, 6:10] * side
        return _square(boxes.numpy()), rows[:, 0].long().numpy()

    def _second(
        self, frames: Sequence[np.ndarray], boxes: np.ndarray, owner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """R-Net: drop the poor candidates, move the others; returns squares and their frames."""
        offsets, probability = _run(self._rnet, _crops(frames, boxes, owner, 24), (4, 2))
        scores = probability[:, 1]
        good = np.flatnonzero(scores > _THRESHOLDS[1])
        good = good[_suppress(boxes[good], scores[good], owner[good])]
        return _square(_move(boxes[good], offsets[good])), owner[good]

    def _third(
        self, frames: Sequence[np.ndarray], boxes: np.ndarray, owner: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """O-Net: final boxes, scores, owners and landmarks."""
        crops = _crops(frames, boxes, owner, 48)
        offsets, points, probability = _run(self._onet, crops, (4, 10, 2))
        good = probability[:, 1] > _THRESHOLDS[2]
        boxes, owner, offsets, points = boxes[good], owner[good], offsets[good], points[good]
        side = boxes[:, 2:] - boxes[:, :2] + 1
        x = points[:, :5] * side[:, :1] + boxes[:, :1] - 1
        y = points[:, 5:] * side[:, 1:] + boxes[:, 1:2] - 1
        landmarks = np.stack([x, y], axis=2)
        return _move(boxes, offsets), probability[good, 1], owner, landmarks


def _load_net(letter: str) -> nn.Module:
    """Build one of MTCNN's networks from the weights in facenet-pytorch's wheel."""
    from facenet_pytorch.models import mtcnn

    spec = find_spec("facenet_pytorch")
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    path = package / "data" / f"{letter.lower()}net.pt"
    if not path.exists():
        raise DataError(f"MTCNN's weights are missing: {path}. Reinstall facenet-pytorch.")
    net: nn.Module = getattr(mtcnn, f"{letter}Net")(pretrained=False)
    try:
        net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # by torch version: UnpicklingError, RuntimeError, EOFError, …
        raise DataError(
            f"{path} does not hold MTCNN's weights ({type(error).__name__}); reinstall "
            "facenet-pytorch."
        ) from error
    return net.eval().requires_grad_(False)


def _shrink(frame: np.ndarray, factor: int) -> np.ndarray:
    """Shrink by an integer factor by averaging (cheap, and no resampling error to speak of)."""
    if factor == 1:
        return frame
    height, width = frame.shape[:2]
    size = (width // factor, height // factor)
    even = frame[: size[1] * factor, : size[0] * factor]
    return cv2.resize(even, size, interpolation=cv2.INTER_AREA)


def _to_input(images: Sequence[np.ndarray]) -> Tensor:
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
    return (batch - 127.5) * 0.0078125


def _candidates(offsets: Tensor, probability: Tensor, scale: float) -> Tensor:
    """Turn one P-Net map into rows (frame, x0, y0, x1, y1, score, 4 offsets), thinned per frame."""
    frame, y, x = torch.nonzero(probability >= _THRESHOLDS[0], as_tuple=True)
    corner = torch.stack([x, y, x, y], dim=1).float() * _STRIDE + 1
    corner[:, 2:] += _CELL - 1
    boxes = (corner / scale).floor()
    score = probability[frame, y, x]
    keep = batched_nms(boxes, score, frame, 0.5)
    parts = [frame[:, None].float(), boxes, score[:, None], offsets[frame, :, y, x]]
    return torch.cat(parts, dim=1)[keep]


def _crops(
    frames: Sequence[np.ndarray], boxes: np.ndarray, owner: np.ndarray, size: int
) -> list[np.ndarray]:
    """Cut each box out of its full-size frame (what lies outside is left away) and resize it."""
    height, width = frames[0].shape[:2]
    x0, y0 = (np.trunc(boxes[:, i]).clip(1, limit) - 1 for i, limit in ((0, width), (1, height)))
    x1, y1 = (np.trunc(boxes[:, i]).clip(1, limit) for i, limit in ((2, width), (3, height)))
    x1, y1 = np.maximum(x1, x0 + 1), np.maximum(y1, y0 + 1)
    edges = np.stack([x0, y0, x1, y1], axis=1).astype(int)
    return [
        cv2.resize(frames[i][b:d, a:c], (size, size), interpolation=cv2.INTER_AREA)
        for i, (a, b, c, d) in zip(owner, edges, strict=True)
    ]


def _run(
    net: nn.Module, crops: list[np.ndarray], widths: tuple[int, ...], batch: int = 256
) -> tuple[np.ndarray, ...]:
    """Apply a network to crops in batches; `widths` are its outputs' for when there are none."""
    if not crops:
        return tuple(np.zeros((0, width), np.float32) for width in widths)
    parts = [net(_to_input(crops[i : i + batch])) for i in range(0, len(crops), batch)]
    return tuple(torch.cat(column).numpy() for column in zip(*parts, strict=True))


def _move(boxes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    side = boxes[:, 2:] - boxes[:, :2] + 1
    return (boxes + offsets * np.concatenate([side, side], axis=1)).astype(np.float32)


def _square(boxes: np.ndarray) -> np.ndarray:
    """Return squares with the same centres and the longer sides of `boxes` [n, 4]."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return intersection over union of the boxes a[i] and b[i], [n, 4] each."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    inside = np.prod(np.maximum(high - low, 0), axis=1)
    area = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1)
    return inside / np.maximum(area - inside, 1e-6)


def _suppress(boxes: np.ndarray, scores: np.ndarray, owner: np.ndarray) -> np.ndarray:
    arrays = (torch.from_numpy(np.ascontiguousarray(a)) for a in (boxes, scores, owner))
    return batched_nms(*arrays, 0.7).numpy()


def _suppress_min(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Non-maximum suppression by intersection / smaller area, as MTCNN does at its end."""
    order, keep = list(np.argsort(-scores, kind="stable")), []
    area = np.prod(boxes[:, 2:] - boxes[:, :2] + 1, axis=1)
    while order:
        best = order.pop(0)
        keep.append(best)
        low = np.maximum(boxes[order, :2], boxes[best, :2])
        high = np.minimum(boxes[order, 2:], boxes[best, 2:])
        inside = np.prod(np.maximum(high - low + 1, 0), axis=1)
        overlap = inside / np.minimum(area[order], area[best])
        order = [other for other, value in zip(order, overlap, strict=True) if value <= threshold]
    return np.asarray(keep, dtype=int)
