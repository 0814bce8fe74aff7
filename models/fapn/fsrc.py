"""The face super-resolution cell (FAPN section 3.3, Fig. 4): encoder, PIE, decoder, two heads."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.nn import ResidualBlock, zero_


class RCAB(nn.Module):
    """Residual channel attention block of RCAN: conv - ReLU - conv, each channel re-weighted."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.squeeze = nn.Conv2d(width, width // reduction, 1)
        self.excite = nn.Conv2d(width // reduction, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        mean = y.permute(0, 2, 3, 1).mean((1, 2))[..., None, None]  # gradient: channels-last too
        weight = torch.sigmoid(self.excite(F.relu(self.squeeze(mean))))
        return x + y * weight


class Bottleneck(nn.Module):
    """Pre-activation 1x1 - 3x3 - 1x1 unit of the hourglass, without normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, width // 2, 1)
        self.conv = nn.Conv2d(width // 2, width // 2, 3, padding=1)
        self.expand = nn.Conv2d(width // 2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.expand(F.relu(self.conv(F.relu(self.reduce(F.relu(x))))))


class Hourglass(nn.Module):
    """Max-pool down, nearest up, additive skips between symmetric levels.

    A level that cannot be halved is padded by replication and cut again, so any size goes through.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.skip, self.down, self.up = Bottleneck(width), Bottleneck(width), Bottleneck(width)
        self.inner = Hourglass(width, depth - 1) if depth > 1 else Bottleneck(width)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[-2:]
        even = F.pad(x, (0, w % 2, 0, h % 2), mode="replicate") if h % 2 or w % 2 else x
        low = self.up(self.inner(self.down(F.max_pool2d(even, 2))))
        return self.skip(x) + F.interpolate(low, scale_factor=2, mode="nearest")[..., :h, :w]


class FSRC(nn.Module):
    """From I_NIC and h(t-1) to the facial features I_FSR(t) and h(t).

    `prior=False` leaves the prior extraction branch (PIE) out; `state=False` the hidden state.
    """

    def __init__(
        self,
        *,
        inputs: int,
        outputs: int,
        width: int,
        hidden: int,
        rcabs: int,
        reduction: int,
        hourglass_depth: int,
        prior: bool,
        state: bool,
        zero_init: bool,
    ) -> None:
        super().__init__()
        self.hidden = hidden if state else 0
        self.enc_in = nn.Conv2d(inputs + self.hidden, width, 3, padding=1)
        self.encoder = nn.Sequential(ResidualBlock(width), ResidualBlock(width))
        self.pie: nn.Module | None = None
        if prior:
            self.pie = nn.Sequential(
                nn.Conv2d(inputs, width, 3, padding=1),
                nn.ReLU(),
                *(RCAB(width, reduction) for _ in range(rcabs)),
                Hourglass(width, hourglass_depth),
                nn.Conv2d(width, width, 3, padding=1),
            )
        self.dec_in = nn.Conv2d(2 * width if prior else width, width, 3, padding=1)
        self.decoder = ResidualBlock(width)
        self.to_frame = nn.Conv2d(width, outputs, 3, padding=1)
        self.to_hidden = nn.Conv2d(width, hidden, 3, padding=1) if state else None
        if zero_init:
            zero_(self.to_frame)

    def forward(
        self, coupled: Float[Tensor, "b c h w"], hidden: Tensor | None
    ) -> tuple[Float[Tensor, "b o h w"], Tensor | None]:
        """Return I_FSR(t) and h(t); h is None when there is no hidden state."""
        x = coupled if hidden is None else torch.cat((coupled, hidden), 1)
        x = self.encoder(F.relu(self.enc_in(x)))
        if self.pie is not None:
            x = torch.cat((x, self.pie(coupled)), 1)
        x = self.decoder(F.relu(self.dec_in(x)))
        new = None if self.to_hidden is None else F.relu(self.to_hidden(x))
        return self.to_frame(x), new
