"""What a run was made from (hashed into its id) and the circumstances (recorded, not hashed)."""

import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from fvsr_bench.errors import DataError
from fvsr_bench.files import write_atomic
from fvsr_bench.spec import digest

FORMAT = 1
Status = Literal["complete", "running", "failed", "no-weights", "unavailable", "refused"]
PACKAGES = ("fvsr-bench", "torch", "torchvision", "numpy", "pandas", "pyarrow", "facenet-pytorch")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Everything that decides the numbers of a run. Two runs with equal identity are one run."""

    method: str
    variant: str  # "full" or the ablation's name
    options: Mapping[str, Any]  # keywords of the spec's `build`
    source: str  # digest of the method's own files
    blocks: str = ""  # of the layers and the inference it shares with others; "" = an older run
    weights: str  # tag, or "none"
    weights_sha256: str  # of the weights file; "" without weights
    dataset: str  # id (hash of the content)
    split: str
    clips: str  # digest of the clip ids
    degradation: str
    measures: str  # which measures were taken, e.g. "grid-1"
    face_box: str
    precision: str
    version: str  # of fvsr-bench

    def run_id(self) -> str:
        """Return the 12 hex digits that name the run."""
        return digest(self)


@dataclass(frozen=True, kw_only=True)
class About:
    """What the report prints of a method, so that rendering needs neither torch nor the method."""

    title: str
    reference: str
    licence: str
    lookahead: int | None
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # psnr | ssim | face
    parameters: int = 0
    origin: str = ""  # of the weights
    trained_for: str = ""  # degradation/phase of the weights' card
    steps: int = 0  # of the training, whichever of them gave the weights
    before: int = 0  # steps of the training that gave the weights it started from
    losses: str = ""  # terms of the training, e.g. "flow+mse"; "" = no training, or unknown
    notes: str = ""  # what the weights' card wants a reader to know
    mismatch: str = ""  # why the weights do not fit the data, when evaluated nevertheless


@dataclass(frozen=True, kw_only=True)
class RunManifest:
    """One row of the table: what it is, how it ended, what it was made from and in what setting."""

    run_id: str
    model: str
    variant: str
    weights: str
    status: Status
    reason: str = ""  # why there are no numbers; "" for a complete run
    identity: Mapping[str, Any]
    about: About
    circumstance: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def stem(self) -> str:
        """The file name shared by the manifest, the records and the parts."""
        return f"{self.model}-{self.run_id}"


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """What the report says about the data; lies beside the manifests as dataset.json."""

    name: str
    id: str
    kind: str  # faces | demo
    degradation: str
    phase: str
    scale: int
    split: str
    clips: Mapping[str, str]  # clip -> subject, of the evaluated split
    splits: Mapping[str, tuple[int, int]]  # split -> (sequences, frames), for Table 1
    notes: Mapping[str, Any] = field(default_factory=dict)  # crop, margin, seed, …
    format: int = FORMAT


def write_json(value: Any, path: Path) -> None:
    """Write a dataclass or JSON-like value; the file is whole or absent."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_manifest(path: Path) -> RunManifest:
    """Read one run's manifest. Raises `DataError` when it is damaged or from a newer version."""
    raw = _read_json(path)
    try:
        return RunManifest(**{**raw, "about": About(**raw["about"])})
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not a run manifest ({error}); delete it and run again") from error


def read_facts(path: Path) -> DatasetFacts:
    """Read dataset.json. Raises `DataError` when it is damaged or from a newer version."""
    raw = _read_json(path)
    try:
        splits = {name: tuple(counts) for name, counts in raw["splits"].items()}
        return DatasetFacts(**{**raw, "splits": splits})
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not the facts of a dataset ({error}); run again") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; run `fvsr-bench run` first") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path}: damaged JSON ({error}); delete it and run again") from error
    if not isinstance(raw, dict):
        raise DataError(f"{path}: expected a JSON object; delete it and run again")
    if raw.get("format", FORMAT) > FORMAT:
        raise DataError(
            f"{path}: written by a newer fvsr-bench (format {raw['format']}, this one reads "
            f"{FORMAT}); update with: pip install -U fvsr-bench"
        )
    return raw


def circumstances(*, device: str, seconds: float = 0.0) -> dict[str, Any]:
    """Collect what may explain a number but must not change it. `seconds`: the run's own time."""
    return {
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 1),
        "peak_memory_mb": _peak_memory_mb(),
        "device": device,
        "threads": _threads(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: package_version(name) for name in PACKAGES},
        "git": git_state(),
    }


def package_version(name: str) -> str:
    """Return the installed version of a package without importing it, or "unknown"."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def git_state(folder: Path | None = None) -> str:
    """Describe the checkout the code runs from: commit, "+changes" if dirty; else "no checkout"."""
    folder = folder or Path(__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty=+changes"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "no checkout"
    return done.stdout.strip() if done.returncode == 0 else "no checkout"


def _threads() -> int:
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else os.cpu_count() or 1


def _peak_memory_mb() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1024**2 if sys.platform == "darwin" else 1024))
