"""What a trained network makes of its parts: motion, memory, activity. Looks at validation clips.

A part that can be taken away without loss is not used, whatever the architecture's drawing says;
and a flow that aligns nothing explains a network that gains nothing from its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fvsr_bench.data.store import Dataset
from fvsr_bench.health import DeadChannels, residual_size
from fvsr_bench.infer import to_tensor
from fvsr_bench.metrics.fidelity import psnr
from fvsr_bench.nn import warp
from fvsr_bench.objective import AUXILIARY
from fvsr_bench.registry import load_card, load_model, load_spec
from fvsr_bench.spec import FAPN_PROTOCOL

MEMORIES = {"hidden": "hidden state", "sr": "SR fed back"}  # keys of a state that start at zero
STEPS = 10  # frames of the gradients, as in training


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """One network with its weights on the clips of one split. PSNR in dB (RGB, 8 bit)."""

    method: str
    tag: str
    psnr: float
    first: float  # PSNR of frame 0, which has nothing before it
    last: float  # PSNR of the last frame
    still: float | None  # dB lost when the frame before is taken to be the same as this one
    lost: Mapping[str, float]  # part of the memory -> dB lost when it is emptied at each frame
    flow_gain: float | None  # dB by which the flow brings HR frame t-1 nearer to t; None = no flow
    dead: float  # share of ReLU channels that are zero everywhere
    residual: float  # RMS of what is added to bicubic, 8-bit levels
    flow_gradient: float | None  # norm of d MSE / d flow network over that of all other weights


def portray(
    method: str,
    tag: str,
    dataset: Dataset,
    clips: tuple[str, ...],
    device: torch.device,
) -> Portrait:
    """Examine a trained network that can stream, on clips of equal length and size."""
    model: Any = load_model(method, tag).to(device).eval()
    card, ahead = load_card(method, tag), load_spec(method).lookahead or 0
    batch = [dataset.load(clip) for clip in clips]
    lr = torch.stack([to_tensor(clip.lr) for clip in batch]).to(device)
    hr = torch.stack([to_tensor(clip.hr) for clip in batch]).to(device)
    plain, sr, memories = _stream(model, lr, hr, ahead)
    with DeadChannels() as watch:
        _stream(model, lr[:1], hr[:1], ahead)
    lost = {}
    for key in memories.intersection(MEMORIES):
        emptied, _, _ = _stream(model, lr, hr, ahead, empty=key)
        lost[MEMORIES[key]] = float(plain.mean() - emptied.mean())
    still = None
    if memories - set(MEMORIES):
        frozen, _, _ = _stream(model, lr, hr, ahead, still=True)
        still = float(plain.mean() - frozen.mean())
    return Portrait(
        method=method,
        tag=tag,
        psnr=float(plain.mean()),
        first=float(plain[:, 0].mean()),
        last=float(plain[:, -1].mean()),
        still=still,
        lost=lost,
        flow_gain=_flow_gain(model, lr, hr),
        dead=watch.share,
        residual=float(residual_size(sr[0], lr[0])),
        flow_gradient=_flow_gradient(model, lr[:4, :STEPS], hr[:4, :STEPS], card.recipe),
    )


@torch.inference_mode()
def _stream(
    model: Any, lr: Tensor, hr: Tensor, ahead: int, *, empty: str = "", still: bool = False
) -> tuple[Tensor, Tensor, set[str]]:
    """Return PSNR [b, t], SR, and the keys of the state.

    `empty` sets one part of the state to zero before each frame; `still` replaces the frames
    before and after by the current one, so that all motion is gone and the memory stays.
    """
    state, out, keys = None, [], set[str]()
    frames = lr.unbind(1)
    for t, frame in enumerate(frames):
        if state is not None and empty:
            state = {**state, empty: torch.zeros_like(state[empty])}
        if state is not None and still:
            now = model.step(frame, None, frame)[1]
            state = {**state, **{key: now[key] for key in state if key not in MEMORIES}}
        future = frames[min(t + 1, len(frames) - 1)] if ahead and not still else frame
        sr, state = model.step(frame, state, future if ahead else None)
        keys |= set(state)
        out.append(sr.float())
    sr = torch.stack(out, 1)
    values = psnr(sr.flatten(0, 1).cpu(), hr.flatten(0, 1).cpu(), FAPN_PROTOCOL)
    return values.unflatten(0, sr.shape[:2]), sr, keys


@torch.inference_mode()
def _flow_gain(model: Any, lr: Tensor, hr: Tensor) -> float | None:
    flows = model.hr_flows(lr) if hasattr(model, "hr_flows") else None
    if flows is None:
        return None
    before, now = hr[:, :-1].flatten(0, 1), hr[:, 1:].flatten(0, 1)
    aligned = warp(before, flows.flatten(0, 1).float())
    values = [psnr(x.cpu(), now.cpu(), FAPN_PROTOCOL) for x in (before, aligned)]
    return float(values[1].mean() - values[0].mean())


def _flow_gradient(model: Any, lr: Tensor, hr: Tensor, recipe: Mapping[str, Any]) -> float | None:
    """Say how strongly the MSE pulls at the flow network: at what the flow terms pull at alone."""
    if not hasattr(model, "forward_train") or not hasattr(model, "hr_flows"):
        return None
    sr, terms = model.forward_train(lr, hr)
    flow = [terms[name] for name in AUXILIARY if name in terms and name in recipe["losses"]]
    if not flow:
        return None
    weights = [p for p in model.parameters() if p.requires_grad]
    pulled = torch.autograd.grad(sum(flow), weights, retain_graph=True, allow_unused=True)
    grads = torch.autograd.grad((sr - hr).square().mean(), weights, allow_unused=True)
    norms = {True: 0.0, False: 0.0}
    for part, grad in zip(pulled, grads, strict=True):
        if grad is not None:
            norms[part is not None] += float(grad.square().sum())
    return float((norms[True] / norms[False]) ** 0.5) if norms[False] else None


def portrait_rows(portraits: list[Portrait]) -> list[dict[str, Any]]:
    """Return one flat dict per network, for CSV and JSON."""
    rows = []
    for p in portraits:
        row = {key: value for key, value in vars(p).items() if key != "lost"}
        row |= {f"lost_{key}": p.lost.get(name) for key, name in MEMORIES.items()}
        rows.append({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    return rows


def portrait_markdown(portraits: list[Portrait], note: str) -> str:
    """Return the table of all networks with a line on how to read it."""
    from fvsr_bench.report.text import md_table

    def signed(value: float | None) -> str:
        return "–" if value is None else f"{value:+.2f}"

    head = ["network", "PSNR (dB)", "frame 0", "last frame", "all still", "no hidden state"]
    head += ["no SR fed back", "flow aligns HR by", "flow's share of the gradient"]
    head += ["dead channels", "residual"]
    body = [
        [
            f"{p.method} {p.tag}",
            f"{p.psnr:.2f}",
            signed(p.first - p.psnr),
            signed(p.last - p.psnr),
            signed(None if p.still is None else -p.still),
            *(signed(-p.lost[name]) if name in p.lost else "–" for name in MEMORIES.values()),
            signed(p.flow_gain),
            "–" if p.flow_gradient is None else f"{p.flow_gradient:.3f}",
            f"{100 * p.dead:.1f} %",
            f"{p.residual:.1f}",
        ]
        for p in sorted(portraits, key=lambda p: -p.psnr)
    ]
    legend = (
        "Differences in dB of PSNR, against the network as it is. All still: the frames before "
        "and after are replaced by the current one. No hidden state, no SR fed back: set to zero "
        "before each frame. Flow aligns HR by: PSNR of HR frame t-1 after the warp minus before "
        "it. Flow's share: norm of the MSE's gradient in the flow network over that in all other "
        "weights. Residual: RMS of what is added to bicubic, 8-bit levels."
    )
    table = "\n".join(md_table(head, body))
    return f"**What the networks make of their parts** ({note})\n\n{table}\n\n{legend}\n"
