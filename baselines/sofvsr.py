"""SOF-VSR: HR optical flow inferred from LR frames, draft cube, dense reconstruction network.

Paper: Wang, Guo, Lin, Deng, An, "Learning for Video Super-Resolution through HR Optical Flow
Estimation", ACCV 2018. Authors' code: github.com/LongguangWang/SOF-VSR (layout of the ACCV
version; `version="tip"` is that of the journal, TIP 2020, also for x2 and x3). Licence of this
reimplementation: MIT.

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

from fvsr_bench.nn import (
    RDB,
    OFRnet,
    ShuffleOFRnet,
    ShuffleReconstruction,
    drafts,
    join_luma,
    neighbours,
    split_luma,
    upsample,
    zero_,
)
from fvsr_bench.nn.ofrnet import flow_loss
from fvsr_bench.spec import ModelSpec, Published, TrainRecipe

State = dict[str, Tensor]


class SOFVSR(nn.Module):
    """Y-only network on three frames; the draft cube has 3 + 2 * scale^2 channels."""

    def __init__(
        self,
        *,
        version: Literal["accv", "tip"] = "accv",
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
        self.version, self.scale, self.residual = version, scale, residual
        self.centre_input = centre_input
        zero_last = zero_init and residual != "none"
        self.ofr: OFRnet | ShuffleOFRnet | None = None
        if version == "tip":
            if flow:
                self.ofr = ShuffleOFRnet(
                    scale=scale,
                    width=width,
                    flow_unit=flow_unit,
                    centre_input=centre_input,
                    zero_init=zero_init,
                )
            self.sr = ShuffleReconstruction(scale=scale, width=width, units=blocks)
            if zero_last:
                zero_(self.sr.last)
            return
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
        if zero_last:
            zero_(self.conv_out)

    def _cube(self, sides: Tensor, centre: Tensor, cubes: Tensor) -> Tensor:
        """Stack frames and drafts in the authors' order; `sides`, `cubes`: t-1 above t+1."""
        before, after = cubes.to(centre.dtype).chunk(2)
        if self.version == "tip":  # the frame, all drafts of t-1, all drafts of t+1
            return torch.cat((centre, before, after), 1)
        # The three frames, then for each phase the draft of t-1 and that of t+1.
        previous, future = sides.chunk(2)
        both = torch.stack((before, after), 2).flatten(1, 2)
        return torch.cat((previous, centre, future, both), 1)

    def _reconstruct(self, cube: Tensor) -> Tensor:
        if self.centre_input:
            cube = cube - 0.5
        if self.version == "tip":
            return self.sr(cube)
        first = self.conv_in(cube)
        features = [first]
        for block in self.rdbs:
            features.append(block(features[-1]))
        x = self.bottleneck(torch.cat((*features[1:], first), 1))
        return F.pixel_shuffle(self.conv_out(x), self.scale)

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
        out = self._reconstruct(self._cube(sides, centre, cubes))
        if self.residual != "none":
            out = out + upsample(centre, self.scale, self.residual)
        return out, pyramid

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

    def hr_flows(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t-1 2 H W"] | None:
        """Return the flows that warp HR frame t-1 onto t, in HR px; None without a flow network."""
        if self.ofr is None:
            return None
        y = split_luma(lr)[0]
        flow = self.ofr.pyramid(y[:, :-1].flatten(0, 1), y[:, 1:].flatten(0, 1))[2]
        return flow.unflatten(0, (len(lr), -1))

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
    tags={"tip": {"version": "tip", "width": 320, "blocks": 8}},
    recipe=TrainRecipe(losses={"mse": 1.0, "flow": 0.01}),
    ablations={"flow": {"flow": False}},
    layouts=("sofvsr-accv", "sofvsr-tip"),
    published={
        "psnr": Published(value=30.75, where=_TABLE2),
        "ssim": Published(value=0.917, where=_TABLE2),
        "face": Published(value=0.201, where=_TABLE2),
    },
)
