"""What `fvsr-bench models` prints: builds each method once and counts."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from fvsr_bench import registry
from fvsr_bench.errors import FvsrError
from fvsr_bench.spec import ModelSpec
from fvsr_bench.speed import measure_speed

SIZE = 40  # px, side of an LR frame
FRAMES = 5  # counted together, so that what a clip's first frame saves or adds hardly shows


def describe_methods(*, speed: bool = False) -> list[dict[str, Any]]:
    """Describe every method that does not hide itself; one that fails says why under "reason".

    `speed` adds ms per face and frame when streaming on this machine, in float32 and bfloat16.
    """
    rows = []
    for name in registry.methods():
        try:
            spec = registry.load_spec(name)
            if not spec.hidden:
                rows.append(_describe(name, spec) | (_speed(name) if speed else {}))
        except FvsrError as error:
            rows.append({"method": name, "reason": str(error)})
    return rows


def _describe(name: str, spec: ModelSpec) -> dict[str, Any]:
    model = registry.build(name).eval()
    tags = registry.weights_tags(name)
    return {
        "method": name,
        "title": spec.title,
        "reference": spec.reference,
        "parameters": sum(p.numel() for p in model.parameters()),
        "gmac_per_frame": gmac_per_frame(model),
        "lookahead": spec.lookahead,
        "trainable": spec.trainable,
        "weights": tags,
        "origin": _origin(name, tags),
        "licence": spec.licence,
        "ablations": sorted(spec.ablations),
        "reason": "",
    }


def _speed(name: str) -> dict[str, float | None]:
    speed = measure_speed(name)
    return {"fp32_ms": speed.fp32, "bf16_ms": speed.bf16}


def _origin(name: str, tags: list[str]) -> str:
    try:
        return registry.load_card(name, tags[0]).origin if tags else ""
    except FvsrError as error:
        return f"unreadable card: {error}"


def gmac_per_frame(model: torch.nn.Module) -> float:
    """Count multiply-accumulates of one 40x40 frame in units of 10^9 (flops halved).

    Counted over a clip of 5 frames and divided; convolutions and matrix products only.
    """
    clip = torch.zeros(1, FRAMES, 3, SIZE, SIZE)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(clip)
    return counter.get_total_flops() / 2 / FRAMES / 1e9
