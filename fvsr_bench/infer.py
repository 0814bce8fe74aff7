"""Applies a model to a clip: whole, or streaming frame by frame."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from fvsr_bench.errors import ModelError, UsageError

Precision = Literal["fp32", "bf16"]


def choose_device(name: str) -> torch.device:
    """Turn "auto", "cpu", "cuda", "cuda:1", "mps" into a device that is there.

    Raises UsageError if it is not.
    """
    # fp32 means 23 bits of mantissa on a graphics card, too; TF32, on for convolutions, has 10
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"unknown device '{name}'; expected auto, cpu, cuda[:N] or mps."
        ) from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise UsageError(f"device '{name}' is not available here; use --device auto or cpu.")
    return device


def to_tensor(frames: UInt8[np.ndarray, "*t h w 3"]) -> Float[Tensor, "*t 3 h w"]:
    """Convert stored frames to a tensor in [0, 1] with channels first."""
    return torch.from_numpy(frames).movedim(-1, -3).float().div(255)


def _check(sr: Any, lr: Tensor, scale: int) -> Tensor:
    """Refuse what is no super-resolved clip: another type or shape, NaN or infinity."""
    expected = (*lr.shape[:-2], lr.shape[-2] * scale, lr.shape[-1] * scale)
    if not isinstance(sr, Tensor):
        raise ModelError(f"the model returned a {type(sr).__name__}; expected a tensor.")
    if tuple(sr.shape) != expected:
        raise ModelError(f"the model returned shape {tuple(sr.shape)}; expected {expected}.")
    if not torch.isfinite(sr).all():
        bad = int((~torch.isfinite(sr)).sum())
        raise ModelError(f"the model returned {bad} values that are NaN or infinite.")
    return sr


@torch.inference_mode()
def super_resolve(
    model: nn.Module,
    lr: UInt8[np.ndarray, "t h w 3"],
    *,
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
) -> Float[Tensor, "t 3 H W"]:
    """Super-resolve one stored clip; values are not clamped. The result stays on `device`.

    "bf16" runs the network under autocast. Raises ModelError for output that is no SR clip.
    """
    clip = to_tensor(lr).to(device)[None]
    kind = torch.device(device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=precision == "bf16"):
        sr = model(clip)
    return _check(sr, clip, int(getattr(model, "scale", 4)))[0].float()


@torch.inference_mode()
def stream(
    model: Any,
    frames: Iterable[Float[Tensor, "b 3 h w"]],
    *,
    lookahead: int,
    precision: Precision = "fp32",
) -> Iterator[Float[Tensor, "b 3 H W"]]:
    """Super-resolve frames one by one through `model.step`, `lookahead` (0 or 1) frames late.

    Memory does not grow with the number of frames.
    """
    state: Any = None
    current: Tensor | None = None
    for frame in frames:
        if lookahead == 0:
            sr, state = step_once(model, frame, state, None, precision)
            yield sr
        elif current is not None:
            sr, state = step_once(model, current, state, frame, precision)
            yield sr
        current = frame
    if lookahead and current is not None:
        yield step_once(model, current, state, None, precision)[0]


def step_once(
    model: Any, frame: Tensor, state: Any, future: Tensor | None, precision: Precision
) -> tuple[Tensor, Any]:
    """Super-resolve one frame [B, 3, h, w] of a stream: (sr float32 [B, 3, H, W], new state)."""
    with torch.autocast(frame.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        sr, state = model.step(frame, state, future)
    return _check(sr, frame, int(model.scale)).float(), state
