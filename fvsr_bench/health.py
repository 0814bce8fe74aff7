"""Signs that a network has died while its loss looks healthy: dead channels, no residual."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fvsr_bench.nn import upsample

_RELUS = (F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class DeadChannels(TorchFunctionMode):
    """Counts, while it is active, the channels that a ReLU leaves at zero all over a batch.

    A channel is one of one call: a recurrent network's counts once per frame.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dead = self.channels = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run `func`; look at what it returns if it is a ReLU of feature maps."""
        out = func(*args, **(kwargs or {}))
        if func in _RELUS and out.dim() == 4:
            self.dead += int((out.detach().amax((0, 2, 3)) <= 0).sum())
            self.channels += out.shape[1]
        return out

    @property
    def share(self) -> float:
        """Return the dead share of all channels, 0 to 1; 0 without any."""
        return self.dead / self.channels if self.channels else 0.0


def residual_size(sr: Float[Tensor, "t 3 H W"], lr: Float[Tensor, "t 3 h w"]) -> Float[Tensor, ""]:
    """Return the RMS of what SR adds to bicubic interpolation, in 8-bit levels."""
    bicubic = upsample(lr, sr.shape[-1] // lr.shape[-1], "bicubic")
    return (sr - bicubic).square().mean().sqrt() * 255


def describe(health: Mapping[str, float]) -> str:
    """Say it in half a line: `dead 3 %, residual 4.1`."""
    return f"dead {100 * health['dead']:.0f} %, residual {health['residual']:.1f}"
