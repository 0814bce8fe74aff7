"""Training losses: small pure functions, each with its formula, units and reduction."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def mse(sr: Float[Tensor, "b t 3 H W"], hr: Float[Tensor, "b t 3 H W"]) -> Float[Tensor, ""]:
    """Return the mean squared error over all values, in [0, 1]^2 (FAPN eq. 9, as a mean)."""
    return F.mse_loss(sr, hr)
