"""What a method costs: time per face and frame when it streams, arithmetic of a training step."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from fvsr_bench import registry
from fvsr_bench.errors import FvsrError
from fvsr_bench.infer import Precision, step_once
from fvsr_bench.spec import ModelCard

SIZE = 40  # px: side of the LR face
FRAMES = 12  # the fastest of them counts: what else the machine does only ever adds time


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Milliseconds per face and frame; None where the method cannot stream or fails."""

    method: str
    fp32: float | None
    bf16: float | None
    reason: str = ""


def measure_speed(method: str, device: torch.device | str = "cpu") -> Speed:
    """Time a method's streaming step on `device`, with the threads torch has; no weights needed."""
    spec = registry.load_spec(method)
    model = registry.build(method).eval().to(device)
    if spec.lookahead not in (0, 1) or not hasattr(model, "step"):
        return Speed(method=method, fp32=None, bf16=None, reason="needs the whole clip")
    try:
        fp32 = streaming_ms(model, spec.lookahead, precision="fp32", device=device)
        bf16 = streaming_ms(model, spec.lookahead, precision="bf16", device=device)
    except (FvsrError, RuntimeError) as error:
        return Speed(method=method, fp32=None, bf16=None, reason=" ".join(str(error).split())[:120])
    return Speed(method=method, fp32=fp32, bf16=bf16)


@torch.inference_mode()
def streaming_ms(
    model: Any,
    lookahead: int,
    *,
    precision: Precision,
    device: torch.device | str = "cpu",
    size: int = SIZE,
    frames: int = FRAMES,
) -> float:
    """Return the least time of one step over `frames` frames, in ms; the first two do not count.

    With one thread on a CPU it is processor time, which other programs hardly touch; else real
    time.
    """
    alone = torch.device(device).type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    generator = torch.Generator().manual_seed(0)
    clip = torch.rand(frames + 3, 1, 3, size, size, generator=generator).to(device)
    state, times = None, []
    for t in range(frames + 2):
        start = clock()
        future = clip[t + 1] if lookahead else None
        _, state = step_once(model, clip[t], state, future, precision)
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        times.append(clock() - start)
    return 1000 * min(times[2:])


def training_gflop(card: ModelCard) -> float:
    """Return the GFLOP of one training step of the network, forward and backward.

    Counted by torch (convolutions and matrix products) on one clip of the recipe's size, times the
    clips of a batch. Discriminators and frozen judges are not counted.
    """
    from torch.utils.flop_counter import FlopCounterMode

    size, frames = int(card.recipe.get("patch", 0)) or SIZE, int(card.recipe["frames"])
    if "ping-pong" in card.recipe.get("losses", {}):
        frames = 2 * frames - 1  # the clip runs forth and back
    model: Any = registry.build(card.method, card.options)
    lr = torch.rand(1, frames, 3, size, size)
    hr = torch.rand(1, frames, 3, model.scale * size, model.scale * size)
    counter = FlopCounterMode(display=False)
    with counter:
        if hasattr(model, "forward_train"):
            sr, terms = model.forward_train(lr, hr)
        else:
            sr, terms = model(lr), {}
        loss: torch.Tensor = (sr - hr).square().mean()
        (loss + sum(terms.values())).backward()
    return counter.get_total_flops() * int(card.recipe["batch"]) / 1e9
