"""Losses on pixels: MSE everywhere, and once more inside the facial organs (FAPN eqs. 9-10)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

# Which landmarks a region is centred on, and its width and height in px of a 160 px frame. The
# paper gives no sizes. Landmarks: left eye, right eye, nose, left and right mouth corner.
REGIONS: dict[str, tuple[tuple[int, ...], float, float]] = {
    "left eye": ((0,), 32.0, 20.0),
    "right eye": ((1,), 32.0, 20.0),
    "nose": ((2,), 28.0, 32.0),
    "mouth": ((3, 4), 44.0, 24.0),
}


def mse(sr: Float[Tensor, "b t 3 H W"], hr: Float[Tensor, "b t 3 H W"]) -> Float[Tensor, ""]:
    """Return the mean squared error over all values, in [0, 1]^2 (FAPN eq. 9, as a mean)."""
    return F.mse_loss(sr, hr)


def region_masks(
    landmarks: Float[Tensor, "b t 5 2"], height: int, width: int, face_size: float = 160.0
) -> Bool[Tensor, "b t 4 {height} {width}"]:
    """Return which pixels belong to left eye, right eye, nose and mouth.

    Boxes are centred on the landmarks (the mouth on the middle of its corners), in px of the
    frame; `face_size` is the side of the whole face frame that the sizes scale with. Regions may
    lie outside the frame, wholly or in part.
    """
    centres = torch.stack(
        [landmarks[..., list(points), :].mean(-2) for points, _, _ in REGIONS.values()], dim=-2
    )
    sizes = landmarks.new_tensor([[w, h] for _, w, h in REGIONS.values()]) * (face_size / 160)
    low, high = centres - sizes / 2, centres + sizes / 2
    x = torch.arange(width, device=landmarks.device, dtype=landmarks.dtype)
    y = torch.arange(height, device=landmarks.device, dtype=landmarks.dtype)
    inside_x = (x >= low[..., 0:1]) & (x < high[..., 0:1])
    inside_y = (y >= low[..., 1:2]) & (y < high[..., 1:2])
    return inside_y[..., :, None] & inside_x[..., None, :]


def organ(
    sr: Float[Tensor, "b t 3 H W"],
    hr: Float[Tensor, "b t 3 H W"],
    landmarks: Float[Tensor, "b t 5 2"],
    face_size: float = 160.0,
) -> Float[Tensor, ""]:
    """Return the sum over the four organs of the MSE inside each (FAPN eq. 10), in [0, 1]^2.

    Each organ's error is a mean over all its pixels in the batch, so that a region that a crop
    has cut away counts nothing. `landmarks` are the ground truth's, in px of `hr`.
    """
    height, width = hr.shape[-2:]
    masks = region_masks(landmarks, height, width, face_size).to(sr.dtype)
    error = (sr - hr).square().mean(2, keepdim=True)
    inside = (error * masks).sum((0, 1, 3, 4))
    return (inside / masks.sum((0, 1, 3, 4)).clamp(min=1)).sum()
