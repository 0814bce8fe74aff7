"""Neighbourhood information coupling (FAPN section 3.2): flow, alignment, shuffling."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import OFRnet, drafts, space_to_depth, split_luma, warp


class NIC(nn.Module):
    """Couple frames t-1, t, t+1 and the SR estimate of t-1 at LR resolution.

    `future_frame=False` leaves the branch of t+1 out. `hr_feedback=False` aligns the LR frame t-1
    by drafts, as the future one is, instead of warping the SR estimate on the HR grid.
    """

    def __init__(
        self, *, scale: int, future_frame: bool, hr_feedback: bool, zero_init: bool
    ) -> None:
        super().__init__()
        self.scale, self.future_frame, self.hr_feedback = scale, future_frame, hr_feedback
        self.ofe = OFRnet(scale=scale, zero_init=zero_init)
        self.channels = 3 + 3 * scale**2 * (2 if future_frame else 1)

    def pyramids(
        self,
        previous: Float[Tensor, "n 3 h w"],
        current: Float[Tensor, "n 3 h w"],
        future: Float[Tensor, "n 3 h w"],
    ) -> tuple[Tensor, ...]:
        """Run OFE once for both directions (eqs. 1-2): all levels, t-1 -> t before t+1 -> t."""
        y = split_luma(torch.cat((previous, current, future)))[0]
        past, centre, ahead = y.chunk(3)
        if not self.future_frame:
            return self.ofe.pyramid(past, centre)
        return self.ofe.pyramid(torch.cat((past, ahead)), torch.cat((centre, centre)))

    def align_future(self, future: Tensor, flow: Tensor) -> Float[Tensor, "n 16*3 h w"]:
        """Warp the LR frame t+1 with the flow cube (eqs. 5-6): scale^2 drafts."""
        return drafts(future, flow, self.scale)

    def align_past(self, previous_sr: Tensor, flow: Tensor) -> Float[Tensor, "n 16*3 h w"]:
        """Warp the SR estimate of t-1 on the HR grid and shuffle it down (eqs. 7-8)."""
        return space_to_depth(warp(previous_sr, flow), self.scale)
