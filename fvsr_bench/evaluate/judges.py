"""Judges that a run takes along only when asked: temporal, LPIPS and ArcFace."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from fvsr_bench.errors import UsageError, unknown
from fvsr_bench.files import sha256
from fvsr_bench.spec import Clip

Measurements = dict[tuple[str, str], np.ndarray]
KINDS = ("temporal", "lpips", "arcface")


class Judge(Protocol):
    """Measures SR frames of one clip, after a look at its ground truth."""

    key: str  # names the judge and what it was loaded from; part of the run's identity

    def prepare(self, clip: Clip) -> Any:
        """Compute once per clip what all methods share."""
        ...

    def measure(self, sr: np.ndarray, clip: Clip, prepared: Any) -> Measurements:
        """Measure frames, uint8 RGB [T, H, W, 3]."""
        ...


class TemporalJudge:
    """tOF, warping error with the ground truth's flow, and PSNR of frame differences."""

    key = "temporal-1"

    def prepare(self, clip: Clip) -> Any:
        """Estimate the ground truth's motion."""
        from fvsr_bench.metrics.temporal import ground_truth_motion

        return ground_truth_motion(clip.hr)

    def measure(self, sr: np.ndarray, clip: Clip, prepared: Any) -> Measurements:
        """Take all temporal measures; frame 0 has none."""
        from fvsr_bench.metrics.temporal import temporal_grid

        return temporal_grid(sr, clip.hr, prepared)


class LpipsJudge:
    """LPIPS (AlexNet, v0.1) and its temporal difference, from the user's weight files."""

    def __init__(self, folder: Path, device: str) -> None:
        from fvsr_bench.metrics.perceptual import BACKBONE_FILE, KEY, LINEAR_FILE, load_lpips

        self.network, self.device = load_lpips(folder, device=device), device
        digests = [sha256(folder / name)[:12] for name in (BACKBONE_FILE, LINEAR_FILE)]
        self.key = "-".join([KEY, *digests])

    def prepare(self, clip: Clip) -> torch.Tensor:
        """Bring the ground truth to the device."""
        return _tensor(clip.hr, self.device)

    def measure(self, sr: np.ndarray, clip: Clip, prepared: torch.Tensor) -> Measurements:
        """Measure `lpips` and `tlp100` per frame; whatever the files, the records call it KEY."""
        from fvsr_bench.metrics.perceptual import KEY, temporal_lpips

        frames = _tensor(sr, self.device)
        change = temporal_lpips(self.network, frames, prepared)
        return {
            ("lpips", KEY): self.network(frames, prepared).cpu().double().numpy(),
            ("tlp100", KEY): change.cpu().double().numpy(),
        }


class ArcFaceJudge:
    """Cosine of the identity vectors of SR and ground truth, by a recogniser of the user's."""

    def __init__(self, file: Path, device: str) -> None:
        from fvsr_bench.faces.arcface import load_arcface

        self.network = load_arcface(file, device=device)
        self.key = f"arcface-{sha256(file)[:12]}"

    def prepare(self, clip: Clip) -> np.ndarray:
        """Encode the ground truth."""
        return self.network.encode(clip.hr, clip.landmarks)

    def measure(self, sr: np.ndarray, clip: Clip, prepared: np.ndarray) -> Measurements:
        """Measure `arcface`, 1 is the same person; aligned by the ground truth's landmarks."""
        from fvsr_bench.metrics.identity import cosines

        found = cosines(self.network.encode(sr, clip.landmarks), prepared)
        return {("arcface", self.key): found.astype(np.float64)}


def _tensor(frames: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(frames).to(device).movedim(-1, 1).float().div(255)


def make_judges(names: Sequence[str], device: str) -> tuple[Judge, ...]:
    """Turn `temporal`, `lpips:FOLDER`, `arcface:FILE.onnx` into judges.

    Raises UsageError for an unknown name or a missing path, WeightsError for files that are not
    what they should be.
    """
    judges: list[Judge] = []
    for name in dict.fromkeys(names):
        kind, _, where = name.partition(":")
        if kind == "niqe":
            raise UsageError(
                "NIQE is not defined for 160x160 px: it compares statistics between 96 px blocks "
                "and needs at least 192 px to have more than one; enlarging the frames first would "
                "measure the enlargement. Use lpips, or face distance"
            )
        if kind not in KINDS:
            raise unknown("judge", kind, KINDS)
        if kind == "temporal":
            judges.append(TemporalJudge())
            continue
        if not where:
            what = "FOLDER with its weight files" if kind == "lpips" else "FILE.onnx"
            raise UsageError(f"--judge {kind} needs a path: {kind}:{what}.")
        path = Path(where)
        judges.append(LpipsJudge(path, device) if kind == "lpips" else ArcFaceJudge(path, device))
    return tuple(judges)
