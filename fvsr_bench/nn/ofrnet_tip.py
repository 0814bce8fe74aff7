"""The networks of SOF-VSR's journal version (TIP 2020): shuffle units, one trunk for all levels."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn.blocks import zero_
from fvsr_bench.nn.ops import upsample, warp

_FACTORS = {2: (2,), 3: (3,), 4: (2, 2)}  # scale -> pixel shuffles
_FINE = 64  # channels after a pixel shuffle


class ShuffleUnit(nn.Module):
    """Half of the channels pass; 1x1, depthwise 3x3 and 1x1 the other half; shuffle both."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.point1 = nn.Conv2d(half, half, 1, bias=False)
        self.depth = nn.Conv2d(half, half, 3, padding=1, groups=half, bias=False)
        self.point2 = nn.Conv2d(half, half, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        passed, changed = x.chunk(2, 1)
        changed = F.leaky_relu(self.point1(changed), 0.1)
        changed = F.leaky_relu(self.point2(self.depth(changed)), 0.1)
        return torch.stack((passed, changed), 2).flatten(1, 2)


def _units(count: int, width: int) -> nn.Sequential:
    return nn.Sequential(*(ShuffleUnit(width) for _ in range(count)))


def _enlarge(width: int, scale: int) -> nn.ModuleList:
    """Return the 1x1 convolutions before each pixel shuffle."""
    layers = []
    for factor in _FACTORS[scale]:
        layers.append(nn.Conv2d(width, _FINE * factor**2, 1, bias=False))
        width = _FINE
    return nn.ModuleList(layers)


def _shuffle_up(x: Tensor, layers: nn.ModuleList, scale: int) -> Tensor:
    for layer, factor in zip(layers, _FACTORS[scale], strict=True):
        x = F.leaky_relu(F.pixel_shuffle(layer(x), factor), 0.1)
    return x


class ShuffleOFRnet(nn.Module):
    """Flow from a centre frame to its neighbour on the HR grid, in HR px (see `OFRnet`).

    The trunk and the flow head are shared by the levels; flows are rescaled when enlarged.
    `flow_unit` is the length of one output unit in px: 15.5 in the authors' weights.
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        width: int = 320,
        flow_unit: float = 1.0,
        centre_input: bool = True,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.scale, self.flow_unit, self.centre_input = scale, flow_unit, centre_input
        self.first = nn.Conv2d(4, width, 3, padding=1, bias=False)
        self.trunk = _units(3, width)
        self.head = nn.Conv2d(width, 2, 3, padding=1, bias=False)
        self.fine = _units(3, width)
        self.enlarge = _enlarge(width, scale)
        self.last = nn.Conv2d(_FINE, 2, 3, padding=1, bias=False)
        if zero_init:
            zero_(self.head)
            zero_(self.last)

    def _features(self, warped: Tensor, centre: Tensor, flow: Tensor) -> Tensor:
        x = torch.cat((warped, centre, flow.to(centre.dtype)), 1)
        return self.trunk(F.leaky_relu(self.first(x), 0.1))

    def pyramid(
        self, neighbour: Float[Tensor, "n 1 h w"], centre: Float[Tensor, "n 1 h w"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the flows of all levels in px of their own grids: h/2, h and scale*h.

        `warp(neighbour, flow) ≈ centre`. Height and width must be even.
        """
        if self.centre_input:
            neighbour, centre = neighbour - 0.5, centre - 0.5
        small, small_centre = F.avg_pool2d(neighbour, 2), F.avg_pool2d(centre, 2)
        still = small.new_zeros(small.shape[0], 2, *small.shape[2:])
        flow1 = self.head(self._features(small, small_centre, still)).float()
        up1 = upsample(flow1, 2, "bilinear") * 2
        x = self._features(warp(neighbour, up1 * self.flow_unit), centre, up1)
        flow2 = self.head(x).float() + up1
        x = self._features(warp(neighbour, flow2 * self.flow_unit), centre, flow2)
        fine = self.last(_shuffle_up(self.fine(x), self.enlarge, self.scale)).float()
        flow3 = fine + upsample(flow2, self.scale, "bilinear") * self.scale
        return flow1 * self.flow_unit, flow2 * self.flow_unit, flow3 * self.flow_unit


class ShuffleReconstruction(nn.Module):
    """Luma on the HR grid from the draft cube: the centre frame and 2 * scale^2 drafts."""

    def __init__(self, *, scale: int = 4, width: int = 320, units: int = 8) -> None:
        super().__init__()
        self.scale = scale
        self.first = nn.Conv2d(1 + 2 * scale**2, width, 3, padding=1, bias=False)
        self.trunk = _units(units, width)
        self.enlarge = _enlarge(width, scale)
        self.last = nn.Conv2d(_FINE, 1, 3, padding=1)

    def forward(self, cube: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 H W"]:
        """Return luma, or what is to be added to an enlarged frame."""
        x = self.trunk(F.leaky_relu(self.first(cube), 0.1))
        return self.last(_shuffle_up(x, self.enlarge, self.scale))
