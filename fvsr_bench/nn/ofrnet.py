"""OFRnet, the coarse-to-fine network of SOF-VSR (ACCV 2018): HR flow from two LR frames."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn.blocks import RDB, zero_
from fvsr_bench.nn.ops import upsample, warp

PIXELS_AT_ONCE = 32_000  # of LR frames; the dense blocks' features of more do not fit into a cache


class FlowLevel(nn.Module):
    """One level: conv, two dense blocks, both outputs fused into a flow of `out` channels."""

    def __init__(self, inputs: int, out: int, *, zero_init: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, 32, 3, padding=1, bias=False)
        self.rdb1 = RDB(4, 32)
        self.rdb2 = RDB(4, 32)
        self.bottleneck = nn.Conv2d(64, out, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        if zero_init:
            zero_(self.conv2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.rdb1(self.conv1(x))
        return self.conv2(self.bottleneck(torch.cat((first, self.rdb2(first)), 1)))


class OFRnet(nn.Module):
    """Flow from a centre frame to its neighbour on the HR grid, in HR px.

    `rescale_flow=True` multiplies a flow by 2 (and by `scale` at the end) when it is upsampled, as
    the TIP version does, so that every level speaks pixels. False is the ACCV code, whose levels
    learn around the missing factors. `flow_unit` is the length of one output unit in px: 1 here,
    15.5 in the authors' weights (their training patch has 32 px: 31 / 2).
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        rescale_flow: bool = True,
        flow_unit: float = 1.0,
        centre_input: bool = True,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.scale, self.flow_unit, self.centre_input = scale, flow_unit, centre_input
        self.factor, self.last_factor = (2.0, float(scale)) if rescale_flow else (1.0, 1.0)
        self.level1 = FlowLevel(2, 2, zero_init=zero_init)
        self.level2 = FlowLevel(6, 2, zero_init=zero_init)
        self.level3 = FlowLevel(6, 2 * scale**2, zero_init=zero_init)

    def _refine_input(self, pair: Tensor, flow: Tensor) -> Tensor:
        """Stack both frames, the warped neighbour, what it misses, and the flow that warped it."""
        warped = warp(pair[:, :1], flow * self.flow_unit)
        return torch.cat((pair, warped, pair[:, 1:] - warped, flow), 1)

    def pyramid(
        self, neighbour: Float[Tensor, "n 1 h w"], centre: Float[Tensor, "n 1 h w"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the flows of all levels in px of their own grids: h/2, h and scale*h.

        `warp(neighbour, flow) ≈ centre`. Height and width must be even. On a processor many pairs
        go in portions that its cache holds.
        """
        at_once = len(centre)
        if centre.device.type == "cpu":
            at_once = max(1, PIXELS_AT_ONCE // (centre.shape[-2] * centre.shape[-1]))
        parts = zip(neighbour.split(at_once), centre.split(at_once), strict=True)
        coarse, middle, fine = zip(*(self._levels(*part) for part in parts), strict=True)
        if len(fine) == 1:
            return coarse[0], middle[0], fine[0]
        return torch.cat(coarse), torch.cat(middle), torch.cat(fine)

    def _levels(self, neighbour: Tensor, centre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pair = torch.cat((neighbour, centre), 1)
        if self.centre_input:
            pair = pair - 0.5
        flow1 = self.level1(F.avg_pool2d(pair, 2)).float()
        up1 = upsample(flow1, 2, "bilinear") * self.factor
        flow2 = self.level2(self._refine_input(pair, up1)).float() + up1
        fine = F.pixel_shuffle(self.level3(self._refine_input(pair, flow2)), self.scale).float()
        flow3 = fine + upsample(flow2, self.scale, "bilinear") * self.last_factor
        if self.flow_unit == 1:
            return flow1, flow2, flow3
        return flow1 * self.flow_unit, flow2 * self.flow_unit, flow3 * self.flow_unit

    def forward(
        self, neighbour: Float[Tensor, "n 1 h w"], centre: Float[Tensor, "n 1 h w"]
    ) -> Float[Tensor, "n 2 sh sw"]:
        """Return the HR flow that warps `neighbour` onto `centre`, in HR px."""
        return self.pyramid(neighbour, centre)[2]


def flow_loss(
    pyramid: tuple[Tensor, Tensor, Tensor],
    lr: tuple[Tensor, Tensor],
    hr: tuple[Tensor, Tensor],
) -> Tensor:
    """Return SOF-VSR's auxiliary flow loss (its section 3.3): how well each level warps.

    `lr` and `hr` are (neighbour, centre) luma pairs. MSE of the warped neighbour plus 0.01 x total
    variation of the flow, weighted 1, 0.25, 0.125 from the HR level down; a mean over pixels.
    """
    flow1, flow2, flow3 = pyramid
    total = lr[0].new_zeros(())
    small = (F.avg_pool2d(lr[0], 2), F.avg_pool2d(lr[1], 2))
    for weight, flow, (neighbour, centre) in (
        (1.0, flow3, hr),
        (0.25, flow2, lr),
        (0.125, flow1, small),
    ):
        tv = F.l1_loss(flow[..., 1:], flow[..., :-1]) + F.l1_loss(
            flow[..., 1:, :], flow[..., :-1, :]
        )
        # The flow's unit in the authors' code is 15.5 px, so theirs is 0.01 / 15.5 per px.
        total = total + weight * (F.mse_loss(warp(neighbour, flow), centre) + 0.01 / 15.5 * tv)
    return total
