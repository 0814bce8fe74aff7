"""Unidirectional propagation (FAPN section 3.1): NIC and FSRC unrolled through time."""

from typing import Literal

import torch
import torch.nn.functional as F
from fvsr_models.fapn.fsrc import FSRC
from fvsr_models.fapn.nic import NIC
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import autocast_type, neighbours, split_luma, upsample
from fvsr_bench.nn.ofrnet import flow_loss

State = dict[str, Tensor]


class FAPN(nn.Module):
    """Face alignment propagation network. Most gaps that the paper leaves are options here.

    `residual` is what the output is added to ("none" is the paper's text). `nic=False` replaces the
    coupled frames by the three raw LR frames; `fsrc=False` removes the prior branch (what remains
    of the cell without it is an encoder and a decoder, since the paper leaves that undefined).
    """

    def __init__(
        self,
        *,
        scale: int = 4,
        width: int = 64,
        hidden: int = 64,
        rcabs: int = 4,
        reduction: int = 16,
        hourglass_depth: int = 3,
        residual: Literal["bicubic", "nearest", "none"] = "bicubic",
        nic: bool = True,
        fsrc: bool = True,
        future_frame: bool = True,
        hr_feedback: bool = True,
        hidden_state: bool = True,
        centre_input: bool = True,
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        self.scale, self.residual, self.centre_input = scale, residual, centre_input
        self.future_frame = future_frame
        self.nic: NIC | None = None
        if nic:
            self.nic = NIC(
                scale=scale,
                future_frame=future_frame,
                hr_feedback=hr_feedback,
                zero_init=zero_init,
            )
        self.fsrc = FSRC(
            inputs=self.nic.channels if self.nic else (9 if future_frame else 6),
            outputs=3 * scale**2,
            width=width,
            hidden=hidden,
            rcabs=rcabs,
            reduction=reduction,
            hourglass_depth=hourglass_depth,
            prior=fsrc,
            state=hidden_state,
            zero_init=zero_init and residual != "none",
        )

    @property
    def _feeds_back(self) -> bool:
        return self.nic is not None and self.nic.hr_feedback

    def _couple_ahead(
        self, previous: Tensor, current: Tensor, future: Tensor, flows: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Couple what needs no recurrence; returns it and the flow of t-1 for the SR feedback."""
        if self.nic is None or flows is None:
            frames = (previous, current, future)[: 3 if self.future_frame else 2]
            return self._centred(torch.cat(frames, 1)), None
        past_flow = flows[: len(current)]
        parts = [current]
        if self.future_frame:
            parts.insert(0, self.nic.align_future(future, flows[len(current) :]))
        if not self.nic.hr_feedback:
            parts.append(self.nic.align_future(previous, past_flow))
        return self._centred(torch.cat(parts, 1)), past_flow

    def _centred(self, frames: Tensor) -> Tensor:
        """Return what the convolutions see, in the precision in which they compute."""
        return autocast_type(frames - 0.5 if self.centre_input else frames)

    def _cell(
        self, current: Tensor, coupled: Tensor, past_flow: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """Run one time step of the recurrence on the coupled frames."""
        if self.nic is not None and past_flow is not None and self._feeds_back:
            past = self.nic.align_past(state["sr"], past_flow)
            coupled = torch.cat((coupled, self._centred(past)), 1)
        features, hidden = self.fsrc(coupled, state.get("hidden"))
        sr = F.pixel_shuffle(features, self.scale)
        if self.residual != "none":
            sr = sr + upsample(current, self.scale, self.residual)
        new = {"lr": current}
        if self._feeds_back:
            new["sr"] = sr
        if hidden is not None:
            new["hidden"] = hidden
        return sr, new

    def initial_state(self, frame: Float[Tensor, "b 3 h w"]) -> State:
        """Return h(-1) = 0, I_HR(-1) = 0 (section 4.2) and, as LR frame -1, frame 0 itself."""
        b, _, h, w = frame.shape
        state = {"lr": frame}
        if self._feeds_back:
            state["sr"] = frame.new_zeros(b, 3, self.scale * h, self.scale * w)
        if self.fsrc.hidden:
            state["hidden"] = frame.new_zeros(b, self.fsrc.hidden, h, w)
        return state

    def step(
        self,
        frame: Float[Tensor, "b 3 h w"],
        state: State | None = None,
        future: Float[Tensor, "b 3 h w"] | None = None,
    ) -> tuple[Float[Tensor, "b 3 H W"], State]:
        """Super-resolve frame t given the state of t-1 and frame t+1 (itself at the clip's end)."""
        state = self.initial_state(frame) if state is None else state
        future = frame if future is None else future
        flows = self.nic.pyramids(state["lr"], frame, future)[2] if self.nic is not None else None
        return self._cell(frame, *self._couple_ahead(state["lr"], frame, future, flows), state)

    def _unroll(self, lr: Tensor, previous: Tensor, future: Tensor, flows: Tensor | None) -> Tensor:
        b, t = lr.shape[:2]
        coupled, past_flow = self._couple_ahead(
            previous.flatten(0, 1), lr.flatten(0, 1), future.flatten(0, 1), flows
        )
        # unbind, not [:, i]: the gradient of an index is a clip of zeros with one frame filled in
        frames = lr.unbind(1)
        ready = coupled.unflatten(0, (b, t)).unbind(1)
        paths = [None] * t if past_flow is None else past_flow.unflatten(0, (b, t)).unbind(1)
        state, out = self.initial_state(frames[0]), []
        for frame, known, flow in zip(frames, ready, paths, strict=True):
            sr, state = self._cell(frame, known, flow, state)
            out.append(sr)
        return torch.stack(out, 1)

    def forward(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t 3 H W"]:
        """Super-resolve a clip: all flows and drafts in one batch, then the recurrence."""
        previous, future = neighbours(lr)
        flows = None
        if self.nic is not None:
            flows = self.nic.pyramids(
                previous.flatten(0, 1), lr.flatten(0, 1), future.flatten(0, 1)
            )[2]
        return self._unroll(lr, previous, future, flows)

    def hr_flows(self, lr: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b t-1 2 H W"] | None:
        """Return the flows that warp HR frame t-1 onto t, in HR px; None without NIC."""
        if self.nic is None:
            return None
        y = split_luma(lr)[0]
        flow = self.nic.ofe(y[:, :-1].flatten(0, 1), y[:, 1:].flatten(0, 1))
        return flow.unflatten(0, (len(lr), -1))

    def forward_train(
        self, lr: Float[Tensor, "b t 3 h w"], hr: Float[Tensor, "b t 3 H W"]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the SR clip and the auxiliary flow loss of SOF-VSR (not in the paper's eq. 12)."""
        if self.nic is None:
            return self(lr), {}
        previous, future = neighbours(lr)
        pyramid = self.nic.pyramids(previous.flatten(0, 1), lr.flatten(0, 1), future.flatten(0, 1))
        sr = self._unroll(lr, previous, future, pyramid[2])
        pairs = []
        for clip in (lr, hr):
            y = split_luma(clip)[0]
            centre, sides = y.flatten(0, 1), [side.flatten(0, 1) for side in neighbours(y)]
            if self.future_frame:
                pairs.append((torch.cat(sides), torch.cat((centre, centre))))
            else:
                pairs.append((sides[0], centre))
        return sr, {"flow": flow_loss(pyramid, pairs[0], pairs[1])}
