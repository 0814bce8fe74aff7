"""Losses on features of frozen networks: identity vectors (FAPN eq. 11), VGG (Table 4)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Encoder = Callable[[Tensor, Tensor], Tensor]  # frames [n,3,h,w], landmarks [n,5,2] -> [n,d], unit
Features = Callable[[Tensor], Sequence[Tensor]]  # frames [n,3,h,w] -> feature maps, one a layer


def face_vector(
    sr: Float[Tensor, "b t 3 H W"],
    hr: Float[Tensor, "b t 3 H W"],
    landmarks: Float[Tensor, "b t 5 2"],
    encoder: Encoder,
) -> Float[Tensor, ""]:
    """Return ||e(SR) - e(HR)||^2 of unit-norm identity vectors (0 to 4), a mean over frames.

    The ground truth's landmarks align both faces; no gradient flows into `hr`.
    """
    points = landmarks.flatten(0, 1)
    with torch.no_grad():
        target = encoder(hr.flatten(0, 1), points)
    return (encoder(sr.flatten(0, 1), points) - target).square().sum(-1).mean()


def vgg(
    sr: Float[Tensor, "b t 3 H W"], hr: Float[Tensor, "b t 3 H W"], features: Features
) -> Float[Tensor, ""]:
    """Return the sum over layers of the mean squared difference of feature maps (section 4.4)."""
    with torch.no_grad():
        target = features(hr.flatten(0, 1))
    found = features(sr.flatten(0, 1))
    return torch.stack([F.mse_loss(a, b) for a, b in zip(found, target, strict=True)]).sum()
