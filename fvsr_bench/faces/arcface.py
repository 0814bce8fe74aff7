"""ArcFace-family recognisers from an ONNX file, as differentiable torch modules.

A second opinion on identity (cosine similarity), and the encoder of the face-vector loss. No
recogniser is shipped: the user names a file, and its SHA-256 stands beside every number, because
papers that report "CSIM" rarely say whose. A network must not be judged by the recogniser that it
was trained with; the default judge is therefore dlib's (`judge.py`).

Alignment: similarity transform of five landmarks to the template of Deng et al., ArcFace, 2019
(InsightFace's `norm_crop`), bilinear, black outside.
"""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.errors import DataError, WeightsError
from fvsr_bench.metrics.identity import cosines

# Where left eye, right eye, nose, left and right mouth corner go, px of a 112x112 crop (x, y).
_TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
BATCH = 32


class ArcFace(nn.Module):
    """Map frames and their landmarks to identity vectors of unit length."""

    def __init__(self, network: nn.Module, size: tuple[int, int], sha256: str) -> None:
        super().__init__()
        self.network, self.size, self.sha256 = network, size, sha256  # size: height, width in px

    def forward(
        self, frames: Float[Tensor, "n 3 h w"], landmarks: Float[Tensor, "n 5 2"]
    ) -> Float[Tensor, "n d"]:
        """Encode RGB frames in [0, 1]; gradients flow into `frames`. Landmarks are in px (x, y).

        In float32 under autocast, too: the distance of two similar faces drowns in bfloat16.
        """
        with torch.autocast(frames.device.type, enabled=False):
            faces = align(frames.float(), landmarks, self.size) * 2 - 1
            faces = faces.contiguous(memory_format=torch.channels_last)
            return F.normalize(self.network(faces), dim=1)

    @torch.inference_mode()
    def encode(self, frames: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Encode uint8 RGB frames [T, H, W, 3]: float32 [T, D], NaN where landmarks are NaN."""
        if frames.dtype != np.uint8 or landmarks.shape != (len(frames), 5, 2):
            raise DataError(
                f"expected uint8 frames [T, H, W, 3] and landmarks [T, 5, 2], found {frames.dtype} "
                f"{list(frames.shape)} and {list(landmarks.shape)}"
            )
        known = np.isfinite(landmarks).all(axis=(1, 2))
        device = next(self.parameters()).device
        parts = []
        for at in range(0, len(frames), BATCH):
            x = torch.from_numpy(frames[at : at + BATCH]).to(device).permute(0, 3, 1, 2) / 255
            points = np.nan_to_num(landmarks[at : at + BATCH].astype(np.float32))
            safe = np.where(known[at : at + BATCH, None, None], points, np.array(_TEMPLATE))
            parts.append(self(x, torch.from_numpy(safe).float().to(device)).cpu().numpy())
        out = np.concatenate(parts)
        out[~known] = np.nan
        return out

    def similarity(self, sr: np.ndarray, hr: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """Return the cosine of SR's and GT's identity per frame, [T], 1 is best.

        GT's landmarks align both, so that every method has the same frames.
        """
        return cosines(self.encode(sr, landmarks), self.encode(hr, landmarks))


class FrozenPReLU(nn.Module):
    """PReLU whose slopes need no gradient; torch's own works that gradient out all the same."""

    def forward(self, x: Float[Tensor, "n c *hw"], slope: Tensor) -> Float[Tensor, "n c *hw"]:
        """Return x where it is positive, else `slope` x; one slope, or one a channel."""
        return torch.lerp(F.relu(x), x, slope.reshape(-1, *[1] * (x.dim() - 2)))


def load_arcface(path: Path, *, device: str | torch.device = "cpu") -> ArcFace:
    """Load a recogniser (input [n, 3, 112, 112] or [n, 3, 112, 96], RGB in -1..1), frozen.

    Raises WeightsError if the file is missing, is no ONNX, takes another input, cannot be
    converted, or does not turn several faces into one vector each.
    """
    import onnx
    import onnx2torch

    if not path.is_file():
        raise WeightsError(
            f"{path} was not found: name the ONNX file of an ArcFace recogniser, for example "
            "w600k_r50.onnx of InsightFace's buffalo_l"
        )
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
        shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    except Exception as error:  # protobuf's errors have no common ancestor
        raise WeightsError(f"{path} is no ONNX file: {error}") from error
    if len(shape) != 4 or tuple(shape[1:]) not in ((3, 112, 112), (3, 112, 96)):
        raise WeightsError(
            f"{path} takes an input of {shape}, expected [n, 3, 112, 112] or [n, 3, 112, 96]"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx2torch meets torch's deprecations; nothing to act on
        try:
            network = onnx2torch.convert(model)
        except (NotImplementedError, RuntimeError, ValueError) as error:
            raise WeightsError(f"{path} cannot be turned into a torch network: {error}") from error
    for name, layer in list(network.named_modules()):
        if type(layer).__name__ == "OnnxPReLU":
            parent, _, own = name.rpartition(".")
            setattr(network.get_submodule(parent), own, FrozenPReLU())
    _check_vectors(network, (2, *shape[1:]), path)
    network = network.to(memory_format=torch.channels_last)
    sha256 = hashlib.sha256(data).hexdigest()
    arcface = ArcFace(network, (shape[2], shape[3]), sha256)
    return arcface.requires_grad_(False).eval().to(device)


@torch.no_grad()
def _check_vectors(network: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Raise WeightsError unless two faces give two vectors (some files take one face only)."""
    try:
        vectors = network.eval()(torch.zeros(shape))
    except Exception as error:  # the converted graph can raise anything
        text = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} does not take two faces at once: {text}") from error
    found = list(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
    if not isinstance(vectors, Tensor) or vectors.dim() != 2 or len(vectors) != 2:
        raise WeightsError(f"{path} turns two faces into {found}, expected two vectors [2, d]")


def align(
    frames: Float[Tensor, "n 3 h w"], landmarks: Float[Tensor, "n 5 2"], size: tuple[int, int]
) -> Float[Tensor, "n 3 a b"]:
    """Cut faces out, upright and centred, `size` = (height, width) px; differentiable in frames."""
    height, width = frames.shape[-2:]
    where = torch.device("cpu") if frames.device.type == "mps" else frames.device  # has no float64
    points = landmarks.to(where).double()
    to_template = similarity_transform(points, template(size, where))
    square = torch.cat([to_template, torch.zeros_like(to_template[:, :1])], dim=1)
    square[:, 2, 2] = 1
    back = torch.linalg.inv(square)[:, :2]  # from a pixel of the crop to a pixel of the frame
    y, x = torch.meshgrid(
        torch.arange(size[0], dtype=torch.float64, device=where),
        torch.arange(size[1], dtype=torch.float64, device=where),
        indexing="ij",
    )
    target = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    source = (back @ target).view(-1, 2, *size)
    grid = torch.stack(
        [(2 * source[:, 0] + 1) / width - 1, (2 * source[:, 1] + 1) / height - 1], dim=-1
    )
    return F.grid_sample(frames, grid.to(frames), mode="bilinear", align_corners=False)


def template(size: tuple[int, int], device: torch.device) -> Float[Tensor, "5 2"]:
    """Return the landmark template of a crop that is 112 px high, centred in its width."""
    points = torch.tensor(_TEMPLATE, dtype=torch.float64, device=device)
    points[:, 0] -= (112 - size[1]) / 2
    return points


def similarity_transform(
    source: Float[Tensor, "n 5 2"], target: Float[Tensor, "5 2"]
) -> Float[Tensor, "n 2 3"]:
    """Return the least-squares rotation, uniform scale and translation of source onto target."""
    a, b = source - source.mean(dim=1, keepdim=True), target - target.mean(dim=0)
    norm = a.square().sum(dim=(1, 2))
    cosine = (a * b).sum(dim=(1, 2)) / norm
    sine = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(dim=1) / norm
    rows = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
    move = target.mean(dim=0) - (rows @ source.mean(dim=1)[..., None])[..., 0]
    return torch.cat([rows, move[..., None]], dim=2)
