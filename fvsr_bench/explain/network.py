"""What a trained network makes of its parts: motion, memory, activity. Looks at validation clips.

A part that can be taken away without loss is not used, whatever the architecture's drawing says;
and a flow that aligns nothing explains a network that gains nothing from its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import UsageError
from fvsr_bench.health import DeadChannels, residual_size
from fvsr_bench.infer import to_tensor
from fvsr_bench.metrics.fidelity import psnr
from fvsr_bench.nn import warp
from fvsr_bench.objective import AUXILIARY
from fvsr_bench.registry import load_card, load_model, load_spec
from fvsr_bench.spec import FAPN_PROTOCOL

MEMORIES = {"hidden": "hidden state", "sr": "SR fed back"}  # keys of a state that start at zero
BATCH, STEPS = 4, 10  # clips and frames of the gradients, as in training


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
    dead: float | None  # share of ReLU channels that are zero all over a frame; None = no ReLU
    residual: float  # RMS of what is added to bicubic, 8-bit levels
    flow_gradient: float | None  # norm of d MSE / d flow network over that of all other weights


def streaming(method: str, tag: str) -> tuple[Any, int]:
    """Load a trained network that takes frame by frame; returns it and its look-ahead, 0 or 1.

    Raises WeightsError if it is not there, UsageError for one that needs the whole clip at once.
    """
    model, ahead = load_model(method, tag), load_spec(method).lookahead
    if ahead not in (0, 1) or not hasattr(model, "step"):
        raise UsageError(
            f"method '{method}' needs the whole clip at once, so its memory cannot be taken away "
            "frame by frame; choose one with look-ahead 0 or 1 (see `fvsr-bench models`)"
        )
    return model.eval(), ahead


def portray(
    method: str,
    tag: str,
    dataset: Dataset,
    clips: tuple[str, ...],
    device: torch.device,
) -> Portrait:
    """Examine a trained network that can stream. Figures are means over clips, of any length.

    One clip is held at a time. Dead channels and the residual are those of the first clip; the
    gradients those of the first frames of the first clips, as in training. Raises what `streaming`
    does.
    """
    model, ahead = streaming(method, tag)
    model, card = model.to(device), load_card(method, tag)
    figures: list[dict[str, float]] = []
    pull = _Pull(model, card.recipe)
    for number, name in enumerate(clips):
        lr, hr = _load(dataset, name, device)
        figures.append(_look(model, lr, hr, ahead))
        if number == 0:
            with DeadChannels() as watch:
                _, sr, _ = _stream(model, lr, hr, ahead)
            residual = float(residual_size(sr[0], lr[0]))
        if number < BATCH:
            pull.add(lr[:, :STEPS], hr[:, :STEPS])
    names = {name for f in figures for name in f}  # a clip of one frame has no flow
    mean = {name: fmean(f[name] for f in figures if name in f) for name in names}
    return Portrait(
        method=method,
        tag=tag,
        psnr=mean["psnr"],
        first=mean["first"],
        last=mean["last"],
        still=mean.get("still"),
        lost={name: mean[name] for name in MEMORIES.values() if name in mean},
        flow_gain=mean.get("flow_gain"),
        dead=watch.share if watch.channels else None,
        residual=residual,
        flow_gradient=pull.share(),
    )


def _load(dataset: Dataset, name: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the LR and HR frames of a clip as a batch of one."""
    clip = dataset.load(name)
    return to_tensor(clip.lr)[None].to(device), to_tensor(clip.hr)[None].to(device)


def _look(model: Any, lr: Tensor, hr: Tensor, ahead: int) -> dict[str, float]:
    """Return what one clip says about each part that the network has; PSNR and gains in dB."""
    plain, _, memories = _stream(model, lr, hr, ahead)
    found = {"psnr": plain.mean(), "first": plain[:, 0].mean(), "last": plain[:, -1].mean()}
    for key in memories.intersection(MEMORIES):
        emptied, _, _ = _stream(model, lr, hr, ahead, empty=key)
        found[MEMORIES[key]] = plain.mean() - emptied.mean()
    if memories - set(MEMORIES):
        frozen, _, _ = _stream(model, lr, hr, ahead, still=True)
        found["still"] = plain.mean() - frozen.mean()
    gain = _flow_gain(model, lr, hr)
    return {k: float(v) for k, v in found.items()} | ({} if gain is None else {"flow_gain": gain})


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
    flows = model.hr_flows(lr) if hasattr(model, "hr_flows") and lr.shape[1] > 1 else None
    if flows is None:
        return None
    before, now = hr[:, :-1].flatten(0, 1), hr[:, 1:].flatten(0, 1)
    aligned = warp(before, flows.flatten(0, 1).float())
    values = [psnr(x.cpu(), now.cpu(), FAPN_PROTOCOL) for x in (before, aligned)]
    return float(values[1].mean() - values[0].mean())


class _Pull:
    """How strongly the MSE pulls at the flow network: at what the flow terms pull at alone.

    Gradients are summed clip by clip: that of a batch is their mean, and a ratio needs no mean.
    """

    def __init__(self, model: Any, recipe: Mapping[str, Any]) -> None:
        self.model, self.recipe = model, recipe
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.total: dict[int, Tensor] = {}  # number of a weight -> summed gradient of the MSE
        self.pulled: set[int] = set()  # numbers of the flow network's weights

    def add(self, lr: Tensor, hr: Tensor) -> None:
        """Add the gradients of one clip; nothing is added for a network without flow."""
        if not hasattr(self.model, "forward_train") or not hasattr(self.model, "hr_flows"):
            return
        sr, terms = self.model.forward_train(lr, hr)
        used = self.recipe.get("losses", AUXILIARY)  # a converter does not know the authors' losses
        flow = [terms[x] for x in AUXILIARY if x in terms and x in used]
        if not flow:
            return
        pulled = _gradients(sum(flow), self.weights, retain_graph=True)
        self.pulled |= set(pulled)
        for at, grad in _gradients((sr - hr).square().mean(), self.weights).items():
            self.total[at] = self.total[at] + grad if at in self.total else grad

    def share(self) -> float | None:
        """Return the gradient's norm in the flow network over that in all other weights."""
        norms = {True: 0.0, False: 0.0}
        for at, grad in self.total.items():
            norms[at in self.pulled] += float(grad.square().sum())
        return float((norms[True] / norms[False]) ** 0.5) if norms[False] else None


def _gradients(loss: Any, weights: list[Any], *, retain_graph: bool = False) -> dict[int, Tensor]:
    """Return the gradients of a loss by the number of the weight; none where it does not reach."""
    grads = torch.autograd.grad(loss, weights, retain_graph=retain_graph, allow_unused=True)
    return {at: grad for at, grad in enumerate(grads) if grad is not None}


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
    head += ["zero channels", "residual"]
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
            "–" if p.dead is None else f"{100 * p.dead:.1f} %",
            f"{p.residual:.1f}",
        ]
        for p in sorted(portraits, key=lambda p: -p.psnr)
    ]
    legend = (
        "Differences in dB of PSNR, against the network as it is. All still: the frames before "
        "and after are replaced by the current one. No hidden state, no SR fed back: set to zero "
        "before each frame. Flow aligns HR by: PSNR of HR frame t-1 after the warp minus before "
        "it. Flow's share: norm of the MSE's gradient in the flow network over that in all other "
        "weights. Zero channels: ReLU channels that are zero all over a frame, counted in every "
        "frame of the first clip. Residual: RMS of what is added to bicubic, 8-bit levels."
    )
    table = "\n".join(md_table(head, body))
    return f"**What the networks make of their parts** ({note})\n\n{table}\n\n{legend}\n"
