"""HR -> LR operators, pure: BI (antialiased bicubic), BD (Gaussian blur, every s-th pixel)."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from fvsr_bench.errors import DataError
from fvsr_bench.spec import DEGRADATIONS, Degradation

_KERNEL_SIZES = {1.5: 9, 1.6: 13}  # px: TecoGAN's 1 + 2 * int(3 sigma); DUF's and RSDN's 13


def gaussian_kernel(sigma: float) -> Float[Tensor, " k"]:
    """Return the normalised 1-D Gaussian of a BD degradation; `sigma` in HR px.

    Its size is 9 for sigma 1.5 (TecoGAN, FRVSR), 13 for sigma 1.6 (DUF, RSDN, SOF-VSR's BD) and
    1 + 2 * int(3 sigma) for any other.
    """
    size = _KERNEL_SIZES.get(sigma, 1 + 2 * int(3 * sigma))
    x = torch.arange(size, dtype=torch.float64) - size // 2
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    return (kernel / kernel.sum()).float()


def degrade(
    hr: Float[Tensor, "n c hh hw"], degradation: Degradation = DEGRADATIONS["bi"]
) -> Float[Tensor, "n c lh lw"]:
    """Downsample HR frames in [0, 1] by `degradation.scale`; the result is not rounded.

    Without blur (BI): antialiased bicubic, a = -0.5, half-pixel centres, the kernel cut and
    renormalised at the border: MATLAB's imresize away from the border. The cubic overshoots, so
    values may leave [0, 1]; `degrade_uint8` clips them. With blur (BD): separable Gaussian with
    reflected border, then HR pixels 0, s, 2s, ... (phase "corner").
    Raises DataError if a side is not a multiple of the scale.
    """
    height, width, scale = hr.shape[-2], hr.shape[-1], degradation.scale
    if height % scale or width % scale:
        raise DataError(
            f"cannot degrade {width}x{height} frames by {scale}: expected sides that are multiples "
            f"of {scale}; crop or resize them first."
        )
    if degradation.sigma == 0:
        return F.interpolate(
            hr,
            size=(height // scale, width // scale),
            mode="bicubic",
            align_corners=False,
            antialias=True,
        )
    kernel = gaussian_kernel(degradation.sigma).to(hr)
    half, channels = len(kernel) // 2, hr.shape[1]
    padded = F.pad(hr, (half, half, half, half), mode="reflect")
    rows = kernel.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = kernel.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    blurred = F.conv2d(padded, rows, stride=(scale, 1), groups=channels)
    return F.conv2d(blurred, columns, stride=(1, scale), groups=channels)


def degrade_uint8(
    frames: UInt8[np.ndarray, "n hh hw 3"], degradation: Degradation = DEGRADATIONS["bi"]
) -> UInt8[np.ndarray, "n lh lw 3"]:
    """Downsample stored frames (uint8 RGB) and round to 8 bit, as a video file would."""
    hr = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
    lr = (degrade(hr, degradation) * 255).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(lr.permute(0, 2, 3, 1).numpy())
