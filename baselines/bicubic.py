"""Bicubic enlargement, frame by frame: the floor that every method must beat.

a = -0.5, half-pixel centres (MATLAB imresize, PIL): the right phase for "bi" LR frames. For frames
decimated by `[::4]` ("bd15", "bd16") use `phase="corner"`, whose kernel has a = -0.75.
"""

from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import upsample
from fvsr_bench.spec import ModelSpec, Phase


class Bicubic(nn.Module):
    """Interpolation without parameters."""

    def __init__(self, *, scale: int = 4, phase: Phase = "centre") -> None:
        super().__init__()
        self.scale = scale
        self.phase = phase

    def step(
        self,
        frame: Float[Tensor, "b 3 h w"],
        state: dict[str, Tensor] | None = None,
        future: Tensor | None = None,
    ) -> tuple[Float[Tensor, "b 3 H W"], dict[str, Tensor]]:
        """Enlarge one frame; there is nothing to remember."""
        mode = "bicubic" if self.phase == "centre" else "corner-bicubic"
        return upsample(frame, self.scale, mode), {}

    def forward(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t 3 H W"]:
        """Enlarge every frame of a clip."""
        return self.step(lr.flatten(0, 1))[0].unflatten(0, lr.shape[:2])


SPEC = ModelSpec(
    build=Bicubic,
    title="Bicubic",
    reference="Keys, Cubic convolution interpolation for digital image processing, 1981",
    licence="MIT (reimplementation)",
    lookahead=0,
    trainable=False,
)
