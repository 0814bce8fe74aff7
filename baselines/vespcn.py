"""VESPCN: spatial transformer motion compensation, early fusion of three frames, sub-pixel output.

Paper: Caballero et al., "Real-Time Video Super-Resolution with Spatio-Temporal Networks and Motion
Compensation", CVPR 2017 (network 9L-E3-MC). Authors' code: not published. Licence: MIT.

Differs from the paper:
- `residual="bicubic"` and a zero-initialised last layer (the paper adds the output to nothing);
- flow = tanh x 8 px (the paper states no range);
- trained on RGB of Y-SR with bicubic CbCr, so that its loss is that of the other methods.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import join_luma, neighbours, split_luma, upsample, warp, zero_
from fvsr_bench.spec import ModelSpec, Published, TrainRecipe

State = dict[str, Tensor]


def _flow_net(
    inputs: int, outputs: int, strides: tuple[int, ...], kernels: tuple[int, ...]
) -> nn.Sequential:
    """Stack 24-channel convolutions with ReLU; the last gives `outputs` channels, linear."""
    layers: list[nn.Module] = []
    for i, (stride, kernel) in enumerate(zip(strides, kernels, strict=True)):
        last = i == len(strides) - 1
        layers.append(nn.Conv2d(inputs, outputs if last else 24, kernel, stride, kernel // 2))
        if not last:
            layers.append(nn.ReLU())
        inputs = 24
    return nn.Sequential(*layers)


class MotionCompensation(nn.Module):
    """Coarse (x4) and fine (x2) flow from a neighbour to the centre frame, in LR px."""

    def __init__(self, *, max_flow: float, zero_init: bool) -> None:
        super().__init__()
        self.max_flow = max_flow
        self.coarse = _flow_net(2, 32, (2, 1, 2, 1, 1), (5, 3, 5, 3, 3))
        self.fine = _flow_net(5, 8, (2, 1, 1, 1, 1), (5, 3, 3, 3, 3))
        if zero_init:
            zero_(self.coarse[-1])
            zero_(self.fine[-1])

    def forward(self, neighbour: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Return the warped neighbour [N,1,h,w] and the flow [N,2,h,w]; 4 divides h and w."""
        pair = torch.cat((centre, neighbour), 1) - 0.5
        coarse = torch.tanh(self.coarse(pair).float())
        coarse = F.pixel_shuffle(coarse, 4) * self.max_flow
        warped = warp(neighbour, coarse)
        seen = torch.cat((pair, coarse / self.max_flow, warped - 0.5), 1)
        fine = torch.tanh(self.fine(seen).float())
        flow = coarse + F.pixel_shuffle(fine, 2) * self.max_flow
        return warp(neighbour, flow), flow


class VESPCN(nn.Module):
    """Nine 3x3 layers of 24 features on the centre frame and its two compensated neighbours."""

    def __init__(
        self,
        *,
        scale: int = 4,
        width: int = 24,
        layers: int = 9,
        max_flow: float = 8.0,
        residual: Literal["bicubic", "none"] = "bicubic",
        motion: bool = True,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.scale, self.residual = scale, residual
        self.motion = MotionCompensation(max_flow=max_flow, zero_init=zero_init) if motion else None
        body: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(layers - 2):
            body += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        last = nn.Conv2d(width, scale**2, 3, padding=1)
        if zero_init and residual != "none":
            zero_(last)
        self.body = nn.Sequential(*body, last)

    def _super_resolve(
        self, previous: Tensor, centre: Tensor, future: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return (SR luma, warped neighbours, their flows) for [N,1,h,w] luma frames."""
        sides, flow = torch.cat((previous, future)), None
        if self.motion is not None:
            sides, flow = self.motion(sides, torch.cat((centre, centre)))
        before, after = sides.chunk(2)
        out = F.pixel_shuffle(self.body(torch.cat((before, centre, after), 1) - 0.5), self.scale)
        if self.residual != "none":
            out = out + upsample(centre, self.scale, self.residual)
        return out, sides, flow

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
        return join_luma(self._super_resolve(previous, y, ahead)[0], cbcr, self.scale), {"y": y}

    def hr_flows(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t-1 2 H W"] | None:
        """Return the flows that warp HR frame t-1 onto t, in HR px; None without compensation."""
        if self.motion is None:
            return None
        y = split_luma(lr)[0]
        flow = self.motion(y[:, :-1].flatten(0, 1), y[:, 1:].flatten(0, 1))[1]
        return (upsample(flow, self.scale, "bilinear") * self.scale).unflatten(0, (len(lr), -1))

    def forward_train(
        self, lr: Float[Tensor, "b t 3 h w"], hr: Float[Tensor, "b t 3 H W"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the SR clip and the paper's motion terms (its eq. 9).

        "motion" is the MSE of the warped neighbours, "smooth" the Huber penalty of the flow's
        gradients, sqrt(0.01 + sum of squares), as a mean over pixels.
        """
        y, cbcr = split_luma(lr)
        previous, future = neighbours(y)
        centre = y.flatten(0, 1)
        out, sides, flow = self._super_resolve(previous.flatten(0, 1), centre, future.flatten(0, 1))
        sr = join_luma(out.unflatten(0, lr.shape[:2]), cbcr, self.scale)
        if flow is None:
            return sr, {}
        dx, dy = flow.diff(dim=-1)[..., :-1, :], flow.diff(dim=-2)[..., :-1]
        huber = torch.sqrt(0.01 + (dx**2 + dy**2).sum(1)).mean()
        motion = F.mse_loss(sides, torch.cat((centre, centre)))
        return sr, {"motion": motion, "smooth": huber}

    def forward(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t 3 H W"]:
        """Super-resolve every frame of a clip in one batch."""
        y, cbcr = split_luma(lr)
        previous, future = neighbours(y)
        out = self._super_resolve(previous.flatten(0, 1), y.flatten(0, 1), future.flatten(0, 1))[0]
        return join_luma(out.unflatten(0, lr.shape[:2]), cbcr, self.scale)


_TABLE2 = "Table 2, column 'VESPCN'"

SPEC = ModelSpec(
    build=VESPCN,
    title="VESPCN",
    reference="Caballero et al., Real-Time Video SR with Spatio-Temporal Networks, CVPR 2017",
    licence="MIT (reimplementation; authors' code is not published)",
    lookahead=1,
    recipe=TrainRecipe(losses={"mse": 1.0, "motion": 0.01, "smooth": 0.001}),
    ablations={"motion": {"motion": False}},
    published={
        "psnr": Published(value=30.00, where=_TABLE2),
        "ssim": Published(value=0.907, where=_TABLE2),
        "face": Published(value=0.228, where=_TABLE2),
    },
)
