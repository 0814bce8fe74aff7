"""What a method promises, tried out: shape, look-ahead, batches, repetition, streaming.

The contract tests hold this repository's methods to it; `fvsr-bench check` anybody's file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fvsr_bench import registry
from fvsr_bench.infer import stream
from fvsr_bench.spec import ModelSpec

NEAR = 1e-4  # of frames in [0, 1]: other batches are other orders of summation


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One promise, and whether it was kept; None = it was not made."""

    name: str
    kept: bool | None
    detail: str


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter a small random value, so that zero-initialised heads speak too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan_in = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 1
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * (0.5 / fan_in**0.5 if parameter.ndim > 1 else 0.02))
    return model.eval()


def smooth_clip(batch: int = 1, frames: int = 4, size: int = 16, seed: int = 1) -> Tensor:
    """Return smooth random frames in [0, 1]: enlarged noise, [batch, frames, 3, size, size]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(batch * frames, 3, size // 4, size // 4, generator=generator)
    large = nn.functional.interpolate(noise, size=(size, size), mode="bicubic")
    return large.clamp(0, 1).view(batch, frames, 3, size, size)


def keep_promises(method: str, weights: str | Path | None = None) -> Iterator[Promise]:
    """Try every promise of a method with its weights; with random ones where it has none.

    Raises what `registry.load_spec` and `load_model` do; a promise that raises is not kept.
    """
    spec = registry.load_spec(method)
    trained = not spec.trainable or weights or registry.weights_tags(method)
    if trained or (method.endswith(".py") and Path(method).with_suffix(".safetensors").is_file()):
        model = registry.load_model(method, weights)
    else:
        model = lively(registry.build(method))
    for name, ask in PROMISES.items():
        try:
            with torch.no_grad():
                answer = ask(model, spec)
        except Exception as error:  # a method is third-party code: anything can come out of it
            answer = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        kept = None if answer is None else not answer
        yield Promise(name=name, kept=kept, detail=answer or "")


def enlarges(model: nn.Module, spec: ModelSpec, size: int = 16) -> str:
    """Return "" if `forward` makes finite float32 frames of the promised size, or what it made."""
    sr = model(smooth_clip(batch=2, frames=3, size=size))
    wanted = (2, 3, 3, size * spec.scale, size * spec.scale)
    if tuple(sr.shape) != wanted:
        return f"made {list(sr.shape)} of 2 clips of 3 frames of {size} px, not {list(wanted)}"
    if sr.dtype != torch.float32:
        return f"made {sr.dtype}, not torch.float32"
    return "" if torch.isfinite(sr).all() else "made values that are NaN or infinite"


def sees_no_further(model: nn.Module, spec: ModelSpec) -> str | None:
    """Return "" if no frame beyond the look-ahead changes an earlier result; None = sees all."""
    if spec.lookahead is None:
        return None
    lr = smooth_clip(frames=5)
    changed = lr.clone()
    changed[:, 3 + spec.lookahead :] = 1 - changed[:, 3 + spec.lookahead :]
    apart = _apart(model(lr)[:, :3], model(changed)[:, :3])
    if apart <= NEAR:
        return ""
    late = f"frames from {4 + spec.lookahead} on"
    return f"{late} change the first 3 by {apart:.2g}: the look-ahead is not {spec.lookahead}"


def keeps_items_apart(model: nn.Module, spec: ModelSpec) -> str:
    """Return "" if a clip gives the same alone and beside others."""
    lr = smooth_clip(batch=3)
    apart = _apart(model(lr), torch.cat([model(lr[i : i + 1]) for i in range(3)]))
    return "" if apart <= NEAR else f"alone, a clip's frames differ by {apart:.2g}"


def repeats_itself(model: nn.Module, spec: ModelSpec) -> str:
    """Return "" if the same clip gives the same again."""
    lr = smooth_clip()
    apart = _apart(model(lr), model(lr))
    return "" if apart == 0 else f"the same clip gives frames that differ by {apart:.2g}"


def streams_as_it_runs(model: nn.Module, spec: ModelSpec) -> str | None:
    """Return "" if `step`, frame by frame, gives what `forward` gives; None = there is none."""
    if spec.lookahead not in (0, 1) or not hasattr(model, "step"):
        return None
    lr = smooth_clip(batch=2, frames=5)
    frames = list(stream(model, lr.unbind(1), lookahead=spec.lookahead))
    apart = _apart(model(lr), torch.stack(frames, 1))
    return "" if apart <= NEAR else f"frame by frame, frames differ by {apart:.2g}"


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


PROMISES: dict[str, Callable[[nn.Module, ModelSpec], str | None]] = {
    "forward enlarges every frame, all finite": enlarges,
    "no frame beyond the look-ahead matters": sees_no_further,
    "clips of a batch do not mix": keeps_items_apart,
    "the same input gives the same output": repeats_itself,
    "step, frame by frame, gives what forward gives": streams_as_it_runs,
}
