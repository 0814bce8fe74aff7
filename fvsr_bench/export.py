"""Exports a method's streaming step as ONNX, with its states as inputs and outputs.

Two files are written. `NAME-first.onnx` takes the first frame of a clip and makes the states;
`NAME.onnx` takes every later frame and the states of the frame before. Inputs: `frame` and, for
methods that look ahead, `future` (the next frame; at the end of a clip the frame itself), both
float32 RGB [1, 3, size, size] in [0, 1]; `state_*`. Outputs: `sr` [1, 3, 4 size, 4 size], not
clamped, and `next_*`. A method without memory has only `NAME.onnx`.
"""

import importlib.util
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fvsr_bench.errors import ModelError, UsageError
from fvsr_bench.files import replacing

OPSET = 20  # the first with 2-D GridSample and antialiased Resize as torch computes them
INSTALL = "pip install -e '.[onnx]'"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The files of one method, and the names of its states."""

    step: Path
    first: Path | None  # None: the method has no memory
    states: tuple[str, ...]
    lookahead: int


class _Step(nn.Module):
    """`model.step` with positional tensors: frame, [future], states in the order of `names`."""

    def __init__(self, model: Any, names: Sequence[str], lookahead: int) -> None:
        super().__init__()
        self.model, self.names, self.lookahead = model, tuple(names), lookahead

    def forward(self, frame: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        future = rest[0] if self.lookahead else None
        given = rest[self.lookahead :]
        state = dict(zip(self.names, given, strict=True)) if given else None
        sr, after = self.model.step(frame, state, future)
        return (sr, *(after[name] for name in self.names))


def export_onnx(
    model: Any, path: Path, *, lookahead: int | None, size: int = 40, about: dict[str, str]
) -> Exported:
    """Write `path` and `NAME-first.onnx` beside it for LR frames of size x size px.

    `about` goes into the files' metadata. Raises UsageError if the exporter is not installed or the
    method cannot stream frames of this size, ModelError if its step cannot be expressed.
    """
    if importlib.util.find_spec("onnxscript") is None:
        raise UsageError(f"the ONNX exporter of torch needs onnxscript: {INSTALL}")
    if lookahead not in (0, 1) or not hasattr(model, "step"):
        raise UsageError("the method needs the whole clip at once: it has no streaming step")
    generator = torch.Generator().manual_seed(0)
    frame, future = (torch.rand(1, 3, size, size, generator=generator) for _ in range(2))
    ahead = [future] if lookahead else []
    try:
        with torch.inference_mode():
            _, state = model.step(frame, None, future if lookahead else None)
    except Exception as error:  # whatever a network says to a size that it cannot take
        text = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the method cannot super-resolve frames of {size}x{size} px; choose another --size, "
            f"such as 40 ({text})"
        ) from error
    state = {name: value.clone() for name, value in state.items()}
    _check_end(model, frame, state, lookahead)
    names = tuple(sorted(state))
    about = {**about, "lookahead": str(lookahead), "states": ",".join(names), "size": str(size)}
    step = _Step(model, names, lookahead).eval()
    states = [state[name] for name in names]
    _write(step, [frame, *ahead, *states], path, names, lookahead, about)
    first = path.with_name(f"{path.stem}-first.onnx") if names else None
    if first is not None:
        _write(step, [frame, *ahead], first, names, lookahead, about)
    return Exported(step=path, first=first, states=names, lookahead=lookahead)


def _check_end(model: Any, frame: Tensor, state: dict[str, Tensor], lookahead: int) -> None:
    """The files have no "no future frame": at the end, the frame itself must mean the same."""
    if not lookahead:
        return
    with torch.inference_mode():
        end, same = model.step(frame, state, None)[0], model.step(frame, state, frame)[0]
    if not torch.allclose(end, same, atol=1e-5):
        raise ModelError(
            "the step cannot be exported: without a future frame it does not do what it does with "
            "the frame itself as the future"
        )


def _write(
    step: _Step,
    inputs: list[Tensor],
    path: Path,
    names: tuple[str, ...],
    lookahead: int,
    about: dict[str, str],
) -> None:
    words = ["frame", *(["future"] if lookahead else []), *(f"state_{name}" for name in names)]
    words = words[: len(inputs)]
    outputs = ["sr", *(f"next_{name}" for name in names)]
    with replacing(path) as temporary, warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")  # the exporter's own, about its internals
        try:
            program = torch.onnx.export(
                step,
                tuple(inputs),
                input_names=words,
                output_names=outputs,
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # whatever an exporter does with third-party code
            text = " ".join(str(error).split())[:200]
            raise ModelError(f"the step cannot be exported to ONNX: {text}") from error
        assert program is not None  # dynamo=True always returns one
        program.model.metadata_props.update(about)
        program.save(str(temporary), external_data=False)
        got = [value.name for value in program.model.graph.inputs]
    if got != words:
        raise ModelError(f"the exported step has inputs {got}; expected {words}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's log lines off the terminal."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def run_onnx(exported: Exported, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Stream frames (float32 [1, 3, h, w]) through the files in onnxruntime; returns SR frames."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise UsageError(f"running ONNX files needs onnxruntime: {INSTALL}")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    load = {"sess_options": options, "providers": ["CPUExecutionProvider"]}
    step = onnxruntime.InferenceSession(str(exported.step), **load)
    first = onnxruntime.InferenceSession(str(exported.first), **load) if exported.first else step
    out, state = [], dict[str, np.ndarray]()
    for t, frame in enumerate(frames):
        given = {"frame": frame, **state}
        if exported.lookahead:
            given["future"] = frames[min(t + 1, len(frames) - 1)]
        sr, *after = (step if t else first).run(None, given)
        state = {f"state_{name}": value for name, value in zip(exported.states, after, strict=True)}
        out.append(sr)
    return out


def largest_difference(
    exported: Exported, expected: Iterable[Tensor], frames: Sequence[np.ndarray]
) -> float:
    """Return the largest absolute difference between onnxruntime's frames and torch's."""
    pairs = zip(run_onnx(exported, frames), expected, strict=True)
    return max(float(np.abs(sr - other.detach().cpu().numpy()).max()) for sr, other in pairs)
