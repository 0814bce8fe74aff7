"""A tiny trainable method for tests: bicubic plus one convolution. Not in `--models all`."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import upsample, zero_
from fvsr_bench.spec import ModelSpec


class Dummy(nn.Module):
    """One 3x3 convolution that corrects bicubic interpolation."""

    def __init__(self, *, scale: int = 4, correct: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.conv = zero_(nn.Conv2d(3, 3 * scale**2, 3, padding=1)) if correct else None

    def step(
        self,
        frame: Float[Tensor, "b 3 h w"],
        state: dict[str, Tensor] | None = None,
        future: Tensor | None = None,
    ) -> tuple[Float[Tensor, "b 3 H W"], dict[str, Tensor]]:
        """Super-resolve one frame; there is nothing to remember."""
        sr = upsample(frame, self.scale, "bicubic")
        if self.conv is not None:
            sr = sr + F.pixel_shuffle(self.conv(frame - 0.5), self.scale)
        return sr, {}

    def forward(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t 3 H W"]:
        """Super-resolve every frame of a clip."""
        return self.step(lr.flatten(0, 1))[0].unflatten(0, lr.shape[:2])


SPEC = ModelSpec(
    build=Dummy,
    title="Dummy",
    reference="this repository",
    licence="MIT",
    lookahead=0,
    ablations={"correct": {"correct": False}},
    hidden=True,
)
