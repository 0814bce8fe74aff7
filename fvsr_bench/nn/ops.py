"""Operations without parameters: warping, resizing with a stated phase, space-to-depth, luma."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from fvsr_bench.color import rgb_to_ycbcr, ycbcr_to_rgb

Upsampling = Literal["bicubic", "bilinear", "nearest", "corner-bicubic", "corner-bilinear"]


def _sample(image: Tensor, columns: Tensor, rows: Tensor, flow: Tensor) -> Tensor:
    """Sample `image` bilinearly at pixels (columns, rows) plus `flow` [N,2,H,W] px.

    Borders are replicated. The pixels and the flow are normalised apart and then added, as the
    authors whose weights are converted do: in a recurrent network even rounding is amplified.
    """
    h, w = image.shape[-2:]
    x = torch.linspace(-1, 1, w, device=flow.device)[columns] + flow[:, 0] / (max(w - 1, 1) / 2)
    y = torch.linspace(-1, 1, h, device=flow.device)[rows, None] + flow[:, 1] / (max(h - 1, 1) / 2)
    return F.grid_sample(
        image.float(),
        torch.stack((x, y), dim=-1),
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )


def warp(
    image: Float[Tensor, "n c h w"], flow: Float[Tensor, "n 2 h w"]
) -> Float[Tensor, "n c h w"]:
    """Warp backwards: out(x, y) = image(x + flow_x, y + flow_y), flow in px of `image`.

    Bilinear, borders replicated, pixel centres at integers (`align_corners=True`). Computed in
    float32 under autocast, since bfloat16 cannot hold a pixel position.
    """
    columns = torch.arange(flow.shape[-1], device=flow.device)
    rows = torch.arange(flow.shape[-2], device=flow.device)
    return _sample(image, columns, rows, flow.float())


def drafts(
    lr: Float[Tensor, "n c h w"], hr_flow: Float[Tensor, "n 2 sh sw"], scale: int
) -> Float[Tensor, "n {scale*scale}*c h w"]:
    """Warp an LR frame with every phase of an HR flow: the draft cube of SOF-VSR (FAPN eqs. 5-6).

    Phase (i, j) samples `lr` at its own pixel plus `hr_flow[:, :, i::scale, j::scale] / scale`.
    All scale^2 drafts are one sampling on the HR grid. Channels are ordered as
    `space_to_depth` orders them: colour, i, j.
    """
    columns = torch.arange(hr_flow.shape[-1], device=hr_flow.device) // scale
    rows = torch.arange(hr_flow.shape[-2], device=hr_flow.device) // scale
    return space_to_depth(_sample(lr, columns, rows, hr_flow.float() / scale), scale)


def space_to_depth(
    x: Float[Tensor, "n c sh sw"], scale: int
) -> Float[Tensor, "n {scale*scale}*c h w"]:
    """Move each scale x scale block into channels, ordered (colour, row, column)."""
    return F.pixel_unshuffle(x, scale)


def upsample(x: Float[Tensor, "n c h w"], scale: int, mode: Upsampling) -> Float[Tensor, "n c H W"]:
    """Enlarge frames or flows; values are not rescaled.

    "bicubic" has a = -0.5 (PIL, MATLAB imresize) and, like "bilinear", half-pixel centres.
    "corner-*" put output index i at input position i / scale, as TensorFlow's legacy resize did:
    right for LR frames decimated by `[::scale]`; their bicubic has a = -0.75.
    """
    if mode == "nearest":
        return F.interpolate(x, scale_factor=scale, mode="nearest")
    if mode == "bilinear":
        return F.interpolate(x, scale_factor=scale, mode="bilinear", align_corners=False)
    if mode == "bicubic":
        return F.interpolate(
            x, scale_factor=scale, mode="bicubic", align_corners=False, antialias=True
        )
    # One replicated row and column make `align_corners=True` step by exactly 1 / scale.
    h, w = x.shape[-2] * scale, x.shape[-1] * scale
    kind = mode.removeprefix("corner-")
    padded = F.pad(x, (0, 1, 0, 1), mode="replicate")
    out = F.interpolate(padded, size=(h + 1, w + 1), mode=kind, align_corners=True)
    return out[..., :h, :w]


def split_luma(
    rgb: Float[Tensor, "*n 3 h w"],
) -> tuple[Float[Tensor, "*n 1 h w"], Float[Tensor, "*n 2 h w"]]:
    """Split RGB in [0, 1] into studio-range BT.601 Y and CbCr, both divided by 255."""
    with torch.autocast(rgb.device.type, enabled=False):  # bfloat16 would cost 2 of the 8 bits
        ycbcr = rgb_to_ycbcr(rgb.float())
    return ycbcr[..., :1, :, :], ycbcr[..., 1:, :, :]


def join_luma(
    y: Float[Tensor, "*n 1 H W"], cbcr: Float[Tensor, "*n 2 h w"], scale: int
) -> Float[Tensor, "*n 3 H W"]:
    """Join a super-resolved Y with bicubic CbCr, as Y-only methods' authors do."""
    up = upsample(cbcr.flatten(0, -4), scale, "bicubic")
    up = up.reshape(*y.shape[:-3], *up.shape[-3:])
    with torch.autocast(y.device.type, enabled=False):
        return ycbcr_to_rgb(torch.cat((y.float(), up.float()), dim=-3))


def neighbours(lr: Float[Tensor, "b t c h w"]) -> tuple[Tensor, Tensor]:
    """Return the clips of previous and next frames; the ends are replicated."""
    return torch.cat((lr[:, :1], lr[:, :-1]), 1), torch.cat((lr[:, 1:], lr[:, -1:]), 1)


def autocast_type(x: Tensor) -> Tensor:
    """Convert to the type that autocast gives a convolution's input; as it is without autocast.

    Early, where several convolutions or a concatenation follow, it saves copies in float32.
    """
    if not torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))
