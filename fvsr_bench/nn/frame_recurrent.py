"""The frame-recurrent generator of FRVSR, which TecoGAN deepens: FNet, warp, SRNet."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn.blocks import ResidualBlock, zero_
from fvsr_bench.nn.ops import Upsampling, space_to_depth, upsample, warp

State = dict[str, Tensor]
Padding = Literal["reflect", "symmetric"]


def _pair(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(0.2),
    )


def complete(flow: Tensor, h: int, w: int, padding: Padding) -> Tensor:
    """Add the rows and columns that are missing at the bottom and right, mirrored.

    "reflect" mirrors at the last pixel, "symmetric" at its edge: that pixel comes twice.
    """
    bottom, right = h - flow.shape[-2], w - flow.shape[-1]
    if padding == "reflect":
        return F.pad(flow, (0, right, 0, bottom), mode="reflect")
    flow = torch.cat((flow, flow.flip(-1)[..., :right]), -1)
    return torch.cat((flow, flow.flip(-2)[..., :bottom, :]), -2)


class FNet(nn.Module):
    """LR flow that warps `previous` onto `current`, in LR px: tanh x `max_flow`."""

    def __init__(
        self,
        *,
        max_flow: float = 24.0,
        upsampling: Upsampling = "bilinear",
        padding: Padding = "reflect",
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.max_flow, self.upsampling, self.padding = max_flow, upsampling, padding
        self.encoder = nn.ModuleList(_pair(i, o) for i, o in ((6, 32), (32, 64), (64, 128)))
        self.decoder = nn.ModuleList(_pair(i, o) for i, o in ((128, 256), (256, 128), (128, 64)))
        self.flow1 = nn.Conv2d(64, 32, 3, padding=1)
        self.flow2 = nn.Conv2d(32, 2, 3, padding=1)
        if zero_init:
            zero_(self.flow2)

    def forward(
        self, current: Float[Tensor, "n 3 h w"], previous: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, "n 2 h w"]:
        """Sizes that are no multiple of 8 lose the rest and get it back by reflection."""
        h, w = current.shape[-2:]
        x = torch.cat((current, previous), 1)
        for block in self.encoder:
            x = F.max_pool2d(block(x), 2)
        for block in self.decoder:
            x = upsample(block(x), 2, self.upsampling)
        x = self.flow2(F.leaky_relu(self.flow1(x), 0.2))
        flow = torch.tanh(x.float()) * self.max_flow
        return complete(flow, h, w, self.padding)


class FrameRecurrent(nn.Module):
    """FRVSR: the previous SR frame, warped onto the current one, is the memory.

    `skip` is what the network's output is added to ("none" = FRVSR's figure). `upsampling` enlarges
    the flow. `transposed` says which side of a stride-2 transposed convolution is cut: "centre" is
    torch's usual (padding 1, output padding 1), "tf-same" is TensorFlow's SAME, one px further on.
    `flow_padding` completes the flow of sizes that 8 does not divide.
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        width: int = 64,
        blocks: int = 10,
        skip: Literal["none"] | Upsampling = "bicubic",
        upsampling: Upsampling = "bilinear",
        fnet_upsampling: Upsampling = "bilinear",
        transposed: Literal["centre", "tf-same"] = "centre",
        max_flow: float = 24.0,
        flow_padding: Padding = "reflect",
        centre_input: bool = True,
        zero_init: bool = True,
        feedback: bool = True,
    ) -> None:
        super().__init__()
        if scale != 4:
            raise ValueError(f"scale is {scale}; expected 4: the generator enlarges twice by 2")
        self.scale, self.skip, self.upsampling = scale, skip, upsampling
        self.centre_input, self.transposed, self.feedback = centre_input, transposed, feedback
        self.fnet = FNet(
            max_flow=max_flow,
            upsampling=fnet_upsampling,
            padding=flow_padding,
            zero_init=zero_init,
        )
        self.conv_in = nn.Conv2d(3 + 3 * scale**2, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.up1 = nn.ConvTranspose2d(width, width, 3, stride=2)
        self.up2 = nn.ConvTranspose2d(width, width, 3, stride=2)
        self.conv_out = nn.Conv2d(width, 3, 3, padding=1)
        if zero_init and skip != "none":
            zero_(self.conv_out)

    def _enlarge(self, layer: nn.ConvTranspose2d, x: Tensor) -> Tensor:
        h, w = 2 * x.shape[-2], 2 * x.shape[-1]
        if self.transposed == "tf-same":
            return F.relu(layer(x)[..., :h, :w])
        return F.relu(
            F.conv_transpose2d(x, layer.weight, layer.bias, stride=2, padding=1, output_padding=1)
        )

    def _generate(self, frame: Tensor, flow: Tensor | None, previous_sr: Tensor) -> Tensor:
        """Make an SR frame from an LR frame, the LR flow to the frame before, and its SR frame."""
        if flow is not None:
            previous_sr = warp(
                previous_sr, upsample(flow, self.scale, self.upsampling) * self.scale
            )
        x = torch.cat((frame, space_to_depth(previous_sr, self.scale)), 1)
        x = self.blocks(F.relu(self.conv_in(x - 0.5 if self.centre_input else x)))
        out = self.conv_out(self._enlarge(self.up2, self._enlarge(self.up1, x)))
        return out if self.skip == "none" else out + upsample(frame, self.scale, self.skip)

    def _zeros(self, frame: Tensor) -> Tensor:
        n, c, h, w = frame.shape
        return frame.new_zeros(n, c, self.scale * h, self.scale * w)

    def step(
        self,
        frame: Float[Tensor, "b 3 h w"],
        state: State | None = None,
        future: Tensor | None = None,
    ) -> tuple[Float[Tensor, "b 3 H W"], State]:
        """Super-resolve one frame; `state` holds the LR and SR frame before; no `future` needed."""
        if state is None or not self.feedback:
            sr = self._generate(frame, None, self._zeros(frame))
        else:
            sr = self._generate(frame, self.fnet(frame, state["lr"]), state["sr"])
        return sr, {"lr": frame, "sr": sr}

    def flows(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t-1 2 h w"]:
        """Return all LR flows (frame t-1 onto t) of a clip in one batch, in LR px."""
        b, t = lr.shape[:2]
        flow = self.fnet(lr[:, 1:].flatten(0, 1), lr[:, :-1].flatten(0, 1))
        return flow.unflatten(0, (b, t - 1))

    def hr_flows(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t-1 2 H W"] | None:
        """Return the flows that warp HR frame t-1 onto t, in HR px; None without feedback."""
        if not self.feedback:
            return None
        flow = upsample(self.flows(lr).flatten(0, 1), self.scale, self.upsampling) * self.scale
        return flow.unflatten(0, (len(lr), -1))

    def _unroll(self, lr: Tensor, flows: Tensor | None) -> Tensor:
        sr = [self._generate(lr[:, 0], None, self._zeros(lr[:, 0]))]
        for t in range(1, lr.shape[1]):
            if flows is None:
                sr.append(self._generate(lr[:, t], None, self._zeros(lr[:, t])))
            else:
                sr.append(self._generate(lr[:, t], flows[:, t - 1], sr[-1]))
        return torch.stack(sr, 1)

    def forward(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t 3 H W"]:
        """Super-resolve a clip; the first frame is fed zeros as its predecessor's SR."""
        return self._unroll(lr, self.flows(lr) if self.feedback and lr.shape[1] > 1 else None)

    def forward_train(
        self, lr: Float[Tensor, "b t 3 h w"], hr: Float[Tensor, "b t 3 H W"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the SR clip and FRVSR's flow loss: MSE of the warped previous LR frame."""
        if not self.feedback or lr.shape[1] < 2:
            return self(lr), {}
        flows = self.flows(lr)
        warped = warp(lr[:, :-1].flatten(0, 1), flows.flatten(0, 1))
        return self._unroll(lr, flows), {"flow": F.mse_loss(warped, lr[:, 1:].flatten(0, 1))}
