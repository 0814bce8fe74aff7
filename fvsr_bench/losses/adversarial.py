"""Adversarial losses: a plain discriminator of frames, and TecoGAN's of warped frame triplets.

TecoGAN: Chu et al., Learning Temporal Coherence via Self-Supervision, ACM ToG 2020, section 3.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import warp


class _Critic(nn.Module):
    """conv 64, four strided convolutions with BatchNorm (64, 64, 128, 256), a dense score."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, 64, 3, padding=1)
        widths = (64, 64, 64, 128, 256)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(b),
                nn.LeakyReLU(0.2),
            )
            for a, b in itertools.pairwise(widths)
        )
        self.score = nn.Linear(256, 1)

    def forward(self, x: Tensor) -> tuple[Float[Tensor, "n 1 h w"], list[Tensor]]:
        """Return logits per position (positive = real) and the features of the four blocks."""
        x = x.contiguous(memory_format=torch.channels_last)
        x, features = F.leaky_relu(self.first(x), 0.2), []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return self.score(x.movedim(1, -1)).movedim(-1, 1), features


class FrameDiscriminator(_Critic):
    """Judges single frames: the plain GAN of FAPN's Table 4 (its architecture is not given)."""

    def __init__(self) -> None:
        super().__init__(3)

    def judge(
        self, frames: Float[Tensor, "b t 3 H W"], lr_up: Tensor, flows: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Score every frame by itself; the other arguments are not used."""
        return self(frames.flatten(0, 1))


class TemporalDiscriminator(_Critic):
    """TecoGAN's D_s,t: three frames, the same three warped to the middle, and the LR upsampled.

    27 channels; of the warped frames only the central 75 % of height and width count, so that
    what a warp drags in from beyond the border decides nothing.
    """

    def __init__(self) -> None:
        super().__init__(27)

    def judge(
        self,
        frames: Float[Tensor, "b t 3 H W"],
        lr_up: Float[Tensor, "b t 3 H W"],
        flows: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Score non-overlapping triplets of a clip.

        `flows` maps (t-1, t+1) onto t for every frame, in HR px, each [b, t, 2, H, W]; without
        gradients: the discriminator teaches the generator, not the flow.
        """
        middle = torch.arange(1, frames.shape[1] - 1, 3, device=frames.device)
        before, centre, after = (frames[:, middle + k].flatten(0, 1) for k in (-1, 0, 1))
        warped = [before, centre, after]
        if flows is not None:
            warped[0] = warp(before, flows[0][:, middle].detach().flatten(0, 1))
            warped[2] = warp(after, flows[1][:, middle].detach().flatten(0, 1))
        inner = _inner(frames.shape[-2], frames.shape[-1], frames)
        given = [lr_up[:, middle + k].flatten(0, 1) for k in (-1, 0, 1)]
        parts = [before, centre, after, *(part * inner for part in warped), *given]
        return self(torch.cat(parts, 1))


def _inner(height: int, width: int, like: Tensor) -> Tensor:
    """Return 1 inside the central 75 % of a frame and 0 outside."""
    mask = like.new_zeros(1, 1, height, width)
    top, left = height // 8, width // 8
    mask[..., top : height - top, left : width - left] = 1
    return mask


def discriminator_loss(real: Tensor, fake: Tensor) -> Float[Tensor, ""]:
    """Return binary cross-entropy of logits: real is 1, fake is 0; a mean over positions."""
    return (
        F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
        + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    ) / 2


def generator_loss(fake: Tensor) -> Float[Tensor, ""]:
    """Return the non-saturating loss -log D(SR) of logits, a mean over positions."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


# What TecoGAN's code divides the feature distance of each block by, to bring it to about 1.
LAYER_NORMS = (12.0, 14.0, 24.0, 100.0)


def feature_distance(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Return the L1 distance of the discriminator's features: a mean per channel map, normalised.

    Per block: mean over positions of the sum over channels, divided by `LAYER_NORMS`.
    """
    exact = torch.promote_types(fake[0].dtype, torch.float32)  # a sum over channels needs it
    terms = [
        (a.detach().to(exact) - b.to(exact)).abs().sum(1).mean() / norm
        for a, b, norm in zip(real, fake, LAYER_NORMS, strict=True)
    ]
    return torch.stack(terms).sum()


def ping_pong(sr: Float[Tensor, "b t 3 H W"]) -> Float[Tensor, ""]:
    """Return the mean distance of a palindrome clip's two halves (TecoGAN's L_PP).

    `sr` was made from frames 1..n, then n-1..1 (2n - 1 of them); each pair of the same instant
    should look the same, or the recurrence drifts. L1, a mean over values.
    """
    half = sr.shape[1] // 2
    return F.l1_loss(sr[:, :half], sr[:, half + 1 :].flip(1))
