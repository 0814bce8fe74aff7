"""Colour spaces and 8-bit rounding: the only place where either happens.

Luminance is BT.601 in three conventions that papers call "the Y channel":

- `y-full`: 0.299 R + 0.587 G + 0.114 B, 0 to 255 (pyiqa's default, JPEG);
- `y-studio`: 16 + 219/255 of that, 16 to 235, not rounded (DUF, RSDN, TecoGAN, BasicSR);
- `y-studio-8bit`: the same rounded to integers, as MATLAB's `rgb2ycbcr` returns for uint8 input.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from fvsr_bench.errors import unknown
from fvsr_bench.spec import Colour

LUMA = (0.299, 0.587, 0.114)
STUDIO_GAIN = 219 / 255
STUDIO_OFFSET = 16.0

# MATLAB's rgb2ycbcr matrix for RGB in [0, 1] and YCbCr in 0..255 (rows Y, Cb, Cr).
_STUDIO = (
    (65.481, 128.553, 24.966),
    (-37.797, -74.203, 112.0),
    (112.0, -93.786, -18.214),
)
_STUDIO_OFFSET = (16.0, 128.0, 128.0)
# A constant, because torch.linalg.inv cannot be exported to ONNX.
_STUDIO_INVERSE = torch.linalg.inv(torch.tensor(_STUDIO, dtype=torch.float64) / 255).tolist()


def to_uint8(x: Tensor) -> Tensor:
    """Convert values in [0, 1] to uint8, clamping what lies outside. NaN is not allowed.

    Rounds half to even like NumPy and OpenCV.
    """
    return x.clamp(0, 1).mul(255).round().to(torch.uint8)


def with_float64(x: Tensor) -> Tensor:
    """Return `x`, moved to the CPU if its device has no float64 (Apple's MPS)."""
    return x.cpu() if x.device.type == "mps" else x


def luma_full(rgb: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 1 h w"]:
    """Return full-range BT.601 luminance, in the units of the input."""
    r, g, b = rgb.unbind(dim=-3)
    return (LUMA[0] * r + LUMA[1] * g + LUMA[2] * b).unsqueeze(-3)


def luma_studio(rgb: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 1 h w"]:
    """Return studio-range BT.601 luminance (16..235) of RGB in 0..255, not rounded."""
    return luma_full(rgb) * STUDIO_GAIN + STUDIO_OFFSET


def luma_matlab(rgb: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 1 h w"]:
    """Return Y of MATLAB's `rgb2ycbcr` for uint8 images: studio range, rounded half up.

    `rgb` holds the integers 0..255; other values are rounded first. Integer arithmetic, so the
    result does not depend on the precision of the input's type.
    """
    r, g, b = rgb.round().to(torch.int32).unbind(dim=-3)
    scaled = 65481 * r + 128553 * g + 24966 * b  # 255000 * (Y - 16): at most 5.6e7
    y = torch.div(scaled + 127500, 255000, rounding_mode="floor") + 16
    return y.to(rgb.dtype).unsqueeze(-3)


def to_colour(rgb: Float[Tensor, "*b 3 h w"], colour: Colour) -> Float[Tensor, "*b c h w"]:
    """Return the planes that a protocol measures, of RGB in 0..255; RGB itself is not copied."""
    match colour:
        case "rgb":
            return rgb
        case "y-full":
            return luma_full(rgb)
        case "y-studio":
            return luma_studio(rgb)
        case "y-studio-8bit":
            return luma_matlab(rgb)
    raise unknown("colour", colour, ["rgb", "y-full", "y-studio", "y-studio-8bit"])


def rgb_to_ycbcr(rgb: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Convert RGB in [0, 1] to studio-range BT.601 YCbCr in [0, 1] (Y from 16/255 to 235/255).

    Equals MATLAB's `rgb2ycbcr` on doubles.
    """
    matrix = torch.tensor(_STUDIO, dtype=rgb.dtype, device=rgb.device) / 255
    offset = torch.tensor(_STUDIO_OFFSET, dtype=rgb.dtype, device=rgb.device) / 255
    return torch.einsum("ij,...jhw->...ihw", matrix, rgb) + offset[:, None, None]


def ycbcr_to_rgb(ycbcr: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Invert `rgb_to_ycbcr`; colours outside the RGB cube are not clamped."""
    matrix = torch.tensor(_STUDIO_INVERSE, dtype=ycbcr.dtype, device=ycbcr.device)
    offset = torch.tensor(_STUDIO_OFFSET, dtype=ycbcr.dtype, device=ycbcr.device) / 255
    return torch.einsum("ij,...jhw->...ihw", matrix, ycbcr - offset[:, None, None])
