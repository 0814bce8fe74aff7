"""SOF-VSR: HR optical flow inferred from LR frames, draft cube, dense reconstruction network.

Paper: Wang, Guo, Lin, Deng, An, "Learning for Video Super-Resolution through HR Optical Flow
Estimation", ACCV 2018. Authors' code: github.com/LongguangWang/SOF-VSR (layout of the ACCV
version). Licence of this reimplementation: MIT.

Differs from the paper by default (authors' weights switch each back through their card):
- `rescale_flow=True`, `flow_unit=1`: flows are in px at every level;
- `residual="bicubic"`, zero-initialised heads, inputs centred: the start all methods share here;
- trained on RGB of Y-SR with bicubic CbCr, so that its loss is that of the other methods.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import RDB, OFRnet, drafts, join_luma, neighbours, split_luma, upsample, zero_
from fvsr_bench.nn.ofrnet import flow_loss
from fvsr_bench.spec import ModelSpec, Published, TrainRecipe

State = dict[str, Tensor]


class SOFVSR(nn.Module):
    """Y-only network on three frames; the draft cube has 3 + 2 * scale^2 channels."""

    def __init__(
        self,
        *,
        scale: int = 4,
        width: int = 64,
        blocks: int = 5,
        rescale_flow: bool = True,
        flow_unit: float = 1.0,
        residual: Literal["bicubic", "none"] = "bicubic",
        centre_input: bool = True,
        zero_init: bool = True,
        flow: bool = True,
    ) -> None:
        super().__init__()
        self.scale, self.residual, self.centre_input = scale, residual, centre_input
        self.ofr: OFRnet | None = None
        if flow:
            self.ofr = OFRnet(
                scale=scale,
                rescale_flow=rescale_flow,
                flow_unit=flow_unit,
                centre_input=centre_input,
                zero_init=zero_init,
            )
        self.conv_in = nn.Conv2d(3 + 2 * scale**2, width, 3, padding=1, bias=False)
        self.rdbs = nn.ModuleList(RDB(5, width) for _ in range(blocks))
        self.bottleneck = nn.Conv2d((blocks + 1) * width, scale**2, 1, bias=False)
        self.conv_out = nn.Conv2d(scale**2, scale**2, 3, padding=1)
        if zero_init and residual != "none":
            zero_(self.conv_out)

    def _reconstruct(self, cube: Tensor, centre: Tensor) -> Tensor:
        first = self.conv_in(cube - 0.5 if self.centre_input else cube)
        features = [first]
        for block in self.rdbs:
            features.append(block(features[-1]))
        x = self.bottleneck(torch.cat((*features[1:], first), 1))
        out = F.pixel_shuffle(self.conv_out(x), self.scale)
        return out if self.residual == "none" else out + upsample(centre, self.scale, self.residual)

    def _super_resolve(
        self, previous: Tensor, centre: Tensor, future: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        """Return SR luma of [N,1,h,w] frames and the flow pyramid (both directions stacked)."""
        sides, pyramid = torch.cat((previous, future)), None
        if self.ofr is not None:
            pyramid = self.ofr.pyramid(sides, torch.cat((centre, centre)))
            cubes = drafts(sides, pyramid[2], self.scale)
        else:
            cubes = sides.expand(-1, self.scale**2, -1, -1)
        # Authors' order: three raw frames, then for each phase the draft of t-1 and of t+1.
        both = torch.stack(cubes.chunk(2), 2).flatten(1, 2)
        cube = torch.cat((previous, centre, future, both.to(centre.dtype)), 1)
        return self._reconstruct(cube, centre), pyramid

    def forward_y(self, y: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 1 H W"]:
        """Super-resolve the middle one of three luma frames (t-1, t, t+1), studio Y / 255."""
        return self._super_resolve(*y.split(1, dim=1))[0]

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
        sr = self._super_resolve(previous, y, ahead)[0]
        return join_luma(sr, cbcr, self.scale), {"y": y}

    def _clip(self, lr: Tensor) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        y, cbcr = split_luma(lr)
        previous, future = neighbours(y)
        out, pyramid = self._super_resolve(
            previous.flatten(0, 1), y.flatten(0, 1), future.flatten(0, 1)
        )
        return join_luma(out.unflatten(0, lr.shape[:2]), cbcr, self.scale), pyramid

    def forward(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t 3 H W"]:
        """Super-resolve every frame of a clip in one batch; the ends are replicated."""
        return self._clip(lr)[0]

    def forward_train(
        self, lr: Float[Tensor, "b t 3 h w"], hr: Float[Tensor, "b t 3 H W"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the SR clip and the auxiliary flow loss."""
        sr, pyramid = self._clip(lr)
        if pyramid is None:
            return sr, {}
        pairs = []
        for clip in (lr, hr):
            y = split_luma(clip)[0]
            sides = [side.flatten(0, 1) for side in neighbours(y)]
            centre = y.flatten(0, 1)
            pairs.append((torch.cat(sides), torch.cat((centre, centre))))
        return sr, {"flow": flow_loss(pyramid, pairs[0], pairs[1])}


_TABLE2 = "Table 2, column 'SOF-VSR'"

SPEC = ModelSpec(
    build=SOFVSR,
    title="SOF-VSR",
    reference="Wang et al., Learning for Video SR through HR Optical Flow Estimation, ACCV 2018",
    licence="MIT (reimplementation; authors' code: no licence stated)",
    lookahead=1,
    recipe=TrainRecipe(losses={"mse": 1.0, "flow": 0.01}),
    ablations={"flow": {"flow": False}},
    published={
        "psnr": Published(value=30.75, where=_TABLE2),
        "ssim": Published(value=0.917, where=_TABLE2),
        "face": Published(value=0.201, where=_TABLE2),
    },
)
