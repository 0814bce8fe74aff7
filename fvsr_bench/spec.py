"""The nouns of the benchmark: frozen dataclasses and protocols. No I/O, no torch at import time."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Colour = Literal["rgb", "y-studio", "y-full", "y-studio-8bit"]  # 8bit: Y itself is rounded too
Frames = Literal["all", "drop-2-2", "first-10"]
Average = Literal["frame", "pooled"]
SsimWindow = Literal["gaussian", "uniform"]
Phase = Literal["centre", "corner"]


class VSRModel(Protocol):
    """What every method is: an `nn.Module` that maps an LR clip to an SR clip.

    `forward(lr)` takes [B, T, 3, h, w] RGB in [0, 1] and returns [B, T, 3, scale*h, scale*w];
    clamping is the evaluator's job. Methods that can stream also have
    `step(frame, state=None, future=None) -> (sr, state)`: frame t as [B, 3, h, w], the state of the
    call before (None at the start), and frame t + 1 if the method looks one frame ahead (None at
    the end of the clip). A state is a dict of tensors.
    """

    scale: int

    def __call__(self, lr: "Tensor") -> "Tensor": ...


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """How LR frames are made from HR frames.

    `phase` says where LR pixel 0 sits on the HR grid: "centre" is the middle of its scale x scale
    block (imresize), "corner" is HR pixel 0 (blur, then `[::scale]`). The two differ by
    (scale - 1) / 2 = 1.5 HR px at x4.
    """

    name: str
    scale: int = 4
    sigma: float = 0.0  # of the Gaussian blur in HR px; 0 = no blur, antialiased bicubic
    phase: Phase = "centre"


DEGRADATIONS: dict[str, Degradation] = {
    "bi": Degradation(name="bi", sigma=0.0, phase="centre"),
    "bd15": Degradation(name="bd15", sigma=1.5, phase="corner"),
    "bd16": Degradation(name="bd16", sigma=1.6, phase="corner"),
}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """One face sequence. Frames are uint8 RGB; landmarks are in HR pixels of the cropped frame."""

    id: str
    hr: "np.ndarray"  # uint8 [T, H, W, 3]
    lr: "np.ndarray"  # uint8 [T, H/scale, W/scale, 3]
    landmarks: "np.ndarray"  # float32 [T, 5, 2]: left eye, right eye, nose, mouth left, mouth right
    fps: float
    subject: str
    source: str
    split: str


@dataclass(frozen=True, kw_only=True)
class EvalProtocol:
    """Everything that changes a number without changing a model.

    The first group is applied to pixels and stands on every record (`measure_key`); `frames` and
    `average` are applied to stored records, so a table can be re-rendered without a network.
    """

    name: str
    colour: Colour
    crop: int  # px cut from every border before measuring
    quantise: bool  # round to 8 bit before measuring
    psnr_cap: float  # dB; identical frames score this instead of infinity
    ssim_window: SsimWindow
    ssim_size: int  # px
    ssim_sigma: float  # px; ignored by the uniform window
    ssim_range: Literal["255", "prediction"]  # the data range: 255, or max - min of the prediction
    face_box: Literal["gt", "each", "whole"]  # where the face is looked for when measuring identity
    frames: Frames
    average: Average

    def measure_key(self) -> str:
        """Name the pixel convention of PSNR, e.g. `rgb-c0`: the records' protocol column."""
        return f"{self.colour}-c{self.crop}" + ("" if self.quantise else "-float")

    def ssim_key(self) -> str:
        """Name the pixel convention of SSIM, e.g. `rgb-c0-gaussian11`: PSNR's, then the window."""
        suffix = "" if self.ssim_range == "255" else "-range"
        return f"{self.measure_key()}-{self.ssim_window}{self.ssim_size}{suffix}"


@dataclass(frozen=True, kw_only=True)
class Published:
    """A number that a paper prints, and where."""

    value: float
    where: str  # e.g. "Table 2, column 'FRVSR'"


@dataclass(frozen=True, kw_only=True)
class TrainRecipe:
    """Everything that decides what a training run computes, except data, seed and method."""

    name: str = "default"
    steps: int = 4000
    batch: int = 4  # clips
    frames: int = 10  # consecutive frames per clip
    patch: int = 24  # LR px of a square crop, at most the frame; 0 = whole frame
    learning_rate: float = 4e-4
    schedule: Literal["flat", "cosine"] = "cosine"
    warmup: int = 20  # steps
    flow_steps: int = 0  # first steps in which only the flow network's own terms count
    beta1: float = 0.9
    beta2: float = 0.999
    clip_grad: float = 1.0  # L2 norm; 0 = off
    ema: float = 0.999  # decay of the averaged weights; 0 = off
    hflip: bool = True
    losses: Mapping[str, float] = field(default_factory=lambda: {"mse": 1.0})
    precision: Literal["bf16", "fp32"] = "bf16"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a method's file says about itself. `licence` has no default: unknown is written out."""

    build: Callable[..., Any]  # keyword options -> nn.Module
    title: str
    reference: str
    licence: str
    lookahead: int | None  # 0 = causal, 1 = one future frame, None = the whole clip
    scale: int = 4
    trainable: bool = True
    options: Mapping[str, Any] = field(
        default_factory=dict
    )  # keywords of `build` that are the default
    recipe: TrainRecipe = field(default_factory=TrainRecipe)
    ablations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tags: Mapping[str, Mapping[str, Any]] = field(
        default_factory=dict
    )  # other sizes: tag -> options
    published: Mapping[str, Published] = field(default_factory=dict)  # "psnr" | "ssim" | "face"
    layouts: tuple[str, ...] = ()  # other people's weights that `weights convert` reads for it
    # other tables of the method's paper: title -> variant -> metric -> number
    printed: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    hidden: bool = False  # left out of `--models all` (test methods)


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What is known about one weights file; lies beside it as JSON. Semantics belong to weights."""

    format: int = 1  # version of this card
    method: str
    tag: str
    sha256: str  # of the weights file
    options: Mapping[str, Any]  # keywords of the spec's `build`
    degradation: str  # what LR it was trained for: bi | bd15 | bd16
    phase: Phase
    origin: str  # "trained here" or whose file it was converted from
    licence: str
    data: str  # dataset id
    recipe: Mapping[str, Any]
    steps: int
    seed: int
    minutes: float
    validation: Mapping[str, float]
    notes: str = ""
    # SHA-256 of the files it was trained from: "start" (weights), "encoder" and "vgg" (judges).
    made_from: Mapping[str, str] = field(default_factory=dict)
    semantics: Mapping[str, Any] = field(default_factory=dict)


def digest(value: Any) -> str:
    """Return the first 12 hex digits of the SHA-256 of a dataclass or JSON-like value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


FAPN_PROTOCOL = EvalProtocol(
    name="fapn",
    colour="rgb",
    crop=0,
    quantise=True,
    psnr_cap=100.0,
    ssim_window="gaussian",
    ssim_size=11,
    ssim_sigma=1.5,
    ssim_range="255",
    face_box="gt",
    frames="all",
    average="frame",
)
