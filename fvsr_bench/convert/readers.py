"""Reads other people's checkpoints into plain tensors, without ever running code from them.

torch files (zip archives and the older pickle streams, CUDA-tagged ones too) are read with
`weights_only=True`: a pickle that names anything but tensors and containers is refused. The format
is told from the bytes, not from the file's name.
"""

import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fvsr_bench.convert.tf_bundle import bundle_prefix, read_bundle
from fvsr_bench.errors import WeightsError
from fvsr_bench.files import sha256

# Tables that trainers wrap a network's weights in, the averaged weights first (BasicSR, mmagic, …).
WRAPPERS = ("state_dict", "params_ema", "params", "model_state_dict", "model", "generator", "net_g")
PREFIXES = ("module.", "generator.", "net_g.", "model.")  # DataParallel, mmagic, BasicSR, Lightning
# What a file may hold beside a prefix: the training's own networks and counters.
BESIDE = ("discriminator.", "net_d.", "perceptual_loss.", "generator_ema.", "step_counter")
READS = "torch files (.pth, .pt), .safetensors and TensorFlow V2 checkpoints (PREFIX.index)"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The tensors of a file, and what was taken off or left out on the way to them."""

    path: Path
    format: str
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...]  # e.g. "unwrapped params_ema", "prefix module. removed"
    sha256: str  # of the file; of the index for a TensorFlow checkpoint


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of any supported format.

    Raises WeightsError, in one line, for a missing, cut off or hostile file or an unknown format.
    """
    prefix = bundle_prefix(path)
    if prefix is not None:
        arrays, _ = read_bundle(prefix)
        return Checkpoint(
            path=prefix,
            format="TensorFlow V2 checkpoint",
            tensors={name: torch.from_numpy(array) for name, array in arrays.items()},
            notes=(),
            sha256=sha256(prefix.with_name(prefix.name + ".index")),
        )
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; expected {READS}.")
    kind = _kind(path)
    content = _read_safetensors(path) if kind == "safetensors" else _read_torch(path, kind)
    tensors, notes = _unwrap(content, path)
    return Checkpoint(
        path=path,
        format=kind,
        tensors=tensors,
        notes=tuple(notes),
        sha256=sha256(path),
    )


def _kind(path: Path) -> str:
    """Tell the format from the first bytes; raises WeightsError for one that is not read."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"PK\x03\x04"):
        return "torch zip"
    if head.startswith(b"\x80"):
        return "torch pickle"
    if len(head) >= 9 and head[8:9] == b"{":
        return "safetensors"
    what = f"starts with {head[:8].hex(' ')}" if head else "is empty"
    if head.startswith(b"\x89HDF"):
        what = "is an HDF5 file, which is not read"
    raise WeightsError(f"{path} {what}; expected {READS}.")


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        return dict(load_file(str(path)))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}.") from error


def _read_torch(path: Path, kind: str) -> Any:
    if kind == "torch zip":
        _check_zip(path)
    try:
        with warnings.catch_warnings():  # of odd pickle protocols; what matters is an error anyway
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError as error:
        raise WeightsError(f"{path} asks for more memory than there is.") from error
    except Exception as error:  # pickle.UnpicklingError, RuntimeError, EOFError, … by torch version
        raise WeightsError(f"{path} was not loaded: {_why(error)}.") from error


def _why(error: Exception) -> str:
    """Say in one line why torch refused a file; its own text is a page of advice."""
    text = " ".join(str(error).split())
    for mark in ("GLOBAL ", "Unsupported global: ", "Unsupported class "):
        if mark in text:
            name = text.split(mark, 1)[1].split()[0].rstrip(".,:;")
            return (
                f"its pickle wants to run code ({name}), and only tensors are read; if you trust "
                "it, save the network's state_dict() from the program that made it"
            )
    if "Weights only load failed" in text or "UnpicklingError" in type(error).__name__:
        return "its pickle holds something else than tensors, or is damaged"
    return f"it is damaged or no torch file ({type(error).__name__}: {text[:100]})"


def _check_zip(path: Path) -> None:
    """Refuse archives that unpack to much more than they are; torch's own are not compressed."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise WeightsError(f"{path} is a damaged zip archive: {error}.") from error
    if not any(name.endswith("data.pkl") for name in names):
        raise WeightsError(f"{path} is a zip archive, but not of torch; unpack it: {READS}.")
    if unpacked > 2 * path.stat().st_size + 1_000_000:
        raise WeightsError(f"{path} unpacks to {unpacked} bytes, which no torch file does.")


def _unwrap(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Take the table of weights out of whatever a trainer put around it."""
    notes: list[str] = []
    while isinstance(content, Mapping):
        wrapper = next((w for w in WRAPPERS if isinstance(content.get(w), Mapping)), None)
        if wrapper is None:
            break
        notes.append(f"weights taken from '{wrapper}'")
        content = content[wrapper]
    if not isinstance(content, Mapping):
        raise WeightsError(
            f"{path} holds a {type(content).__name__}, not a table of weights; expected a "
            "state_dict: names and tensors."
        )
    odd = [f"{key} ({type(v).__name__})" for key, v in content.items() if not _plain(v)]
    if odd or not content:
        found = f"{len(odd)} entries that are none, e.g. {odd[0]}" if odd else "nothing"
        raise WeightsError(f"{path}: expected names and dense tensors, found {found}.")
    tensors = {str(key): value.detach() for key, value in content.items()}
    _check_storage(tensors, path)
    for prefix in PREFIXES:
        tensors = _strip(tensors, prefix, notes)
    return tensors, notes


def _plain(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _check_storage(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that claim more values than the file has bytes for (strides of 0)."""
    claimed = sum(t.numel() * t.element_size() for t in tensors.values())
    if claimed > 4 * path.stat().st_size:
        raise WeightsError(
            f"{path} claims {claimed} bytes of weights, but has {path.stat().st_size}."
        )


def _strip(tensors: dict[str, Tensor], prefix: str, notes: list[str]) -> dict[str, Tensor]:
    """Remove the prefix of a wrapping module, if all weights have it (see BESIDE)."""
    inside = {key: value for key, value in tensors.items() if key.startswith(prefix)}
    beside = [key for key in tensors if key not in inside]
    if not inside or not all(key.startswith(BESIDE) for key in beside):
        return tensors
    notes.append(f"prefix '{prefix}' removed")
    return {key.removeprefix(prefix): value for key, value in inside.items()}
