"""VESPCN as JuheonYi ported it: for its weights and for parity, not for the table (see `vespcn`).

Paper: Caballero et al., "Real-Time Video Super-Resolution with Spatio-Temporal Networks and Motion
Compensation", CVPR 2017. The port's code: github.com/JuheonYi/VESPCN-PyTorch (no licence stated).
Licence of this reimplementation: MIT.

Differs from the paper, because the port does:
- the flow is tanh divided by the frame's size, subtracted from normalised coordinates: motion
  compensation reaches half a px per stage, so that it can hardly compensate any motion;
- another reconstruction net, with a ReLU after its last wide layer, pixel shuffle, 1x1 convolution;
- Y - 109 (of 255) instead of Y.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import join_luma, neighbours, split_luma, warp
from fvsr_bench.spec import ModelSpec, TrainRecipe

State = dict[str, Tensor]
MEAN_Y = 109 / 255


def _flow_net(inputs: int, outputs: int, kernels: tuple[int, ...]) -> nn.Sequential:
    """Stack 24-channel convolutions with ReLU; those of 5x5 halve the size; the last is tanh."""
    layers: list[nn.Module] = []
    for kernel in kernels:
        layers.append(nn.Conv2d(inputs, 24, kernel, 1 + kernel // 5, kernel // 2))
        layers.append(nn.ReLU())
        inputs = 24
    return nn.Sequential(*layers, nn.Conv2d(24, outputs, 3, padding=1), nn.Tanh())


class MotionCompensation(nn.Module):
    """Coarse (x4) and fine (x2) flow, and the neighbour warped with their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse = _flow_net(2, 32, (5, 3, 5, 3))
        self.fine = _flow_net(5, 8, (5, 3, 3, 3))

    def forward(self, centre: Tensor, neighbour: Tensor) -> Tensor:
        """Return the warped neighbour. Sizes that 4 does not divide are replicated on the way."""
        h, w = centre.shape[-2:]
        pad = (0, -w % 4, 0, -h % 4)
        if any(pad):
            centre, neighbour = (F.pad(x, pad, mode="replicate") for x in (centre, neighbour))
        size = centre.new_tensor((centre.shape[-1], centre.shape[-2]))[:, None, None]
        coarse = F.pixel_shuffle(self.coarse(torch.cat((centre, neighbour), 1)), 4) / size
        warped = warp(neighbour, self._to_px(coarse, size)).to(centre.dtype)
        seen = torch.cat((centre, neighbour, warped, coarse.to(centre.dtype)), 1)
        flow = coarse + F.pixel_shuffle(self.fine(seen), 2) / size
        return warp(neighbour, self._to_px(flow, size))[..., :h, :w]

    @staticmethod
    def _to_px(flow: Tensor, size: Tensor) -> Tensor:
        """Turn a flow in coordinates from -1 to 1, to be subtracted, into px to be added."""
        return -flow.float() * (size - 1) / 2


class VESPCNJY(nn.Module):
    """Early fusion of the centre frame and its two compensated neighbours, on luma.

    `widths` are the features of the 3x3 layers before the one with scale^2 channels; the port's
    other net is (64, 48, 32, 24) with `first_kernel=5`.
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        widths: Sequence[int] = (64, 64, 64, 32, 32, 32, 20),
        first_kernel: int = 3,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.motion = MotionCompensation()
        body: list[nn.Module] = []
        inputs, kernel = 3, first_kernel
        for width in (*widths, scale**2):
            body += [nn.Conv2d(inputs, width, kernel, padding=kernel // 2), nn.ReLU()]
            inputs, kernel = width, 3
        self.body = nn.Sequential(*body)
        self.last = nn.Conv2d(1, 1, 1)

    def forward_y(self, y: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 H W"]:
        """Super-resolve the middle one of three luma frames (t-1, t, t+1), studio Y / 255."""
        previous, centre, future = (y - MEAN_Y).split(1, dim=1)
        sides = self.motion(torch.cat((centre, centre)), torch.cat((previous, future)))
        before, after = sides.to(centre.dtype).chunk(2)
        x = self.body(torch.cat((before, centre, after), 1))
        return self.last(F.pixel_shuffle(x, self.scale)) + MEAN_Y

    def step(
        self,
        frame: Float[Tensor, "b 3 h w"],
        state: State | None = None,
        future: Float[Tensor, "b 3 h w"] | None = None,
    ) -> tuple[Float[Tensor, "b 3 H W"], State]:
        """Super-resolve one frame from the one before (in `state`) and the one after."""
        y, cbcr = split_luma(frame)
        previous = y if state is None else state["y"]
        ahead = y if future is None else split_luma(future)[0]
        sr = self.forward_y(torch.cat((previous, y, ahead), 1))
        return join_luma(sr, cbcr, self.scale), {"y": y}

    def forward(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t 3 H W"]:
        """Super-resolve every frame of a clip in one batch; the ends are replicated."""
        y, cbcr = split_luma(lr)
        previous, future = neighbours(y)
        out = self.forward_y(torch.cat((previous, y, future), 2).flatten(0, 1))
        return join_luma(out.unflatten(0, lr.shape[:2]), cbcr, self.scale)


SPEC = ModelSpec(
    build=VESPCNJY,
    title="VESPCN (JuheonYi's port)",
    reference="Caballero et al., CVPR 2017, as ported in github.com/JuheonYi/VESPCN-PyTorch",
    licence="MIT (reimplementation; the port: no licence stated)",
    lookahead=1,
    recipe=TrainRecipe(losses={"mse": 1.0}),
    layouts=("vespcn-jy",),
    hidden=True,  # its row in the table is `vespcn`
)
