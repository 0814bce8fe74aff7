"""Finds methods through entry points, builds them, and loads their weights by card."""

import importlib
import importlib.util
import json
import os
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from fvsr_bench.errors import ModelError, WeightsError, unknown
from fvsr_bench.files import sha256, write_atomic
from fvsr_bench.spec import ModelCard, ModelSpec

GROUP = "fvsr_bench.methods"
DEFAULT_TAG = "bi"
CARD_FORMAT = 1
_CARD_TYPES: tuple[tuple[str, type], ...] = (
    *(("format", int), ("options", dict), ("recipe", dict), ("validation", dict)),
    *((name, str) for name in ("method", "tag", "sha256", "degradation", "phase", "origin")),
    *((name, dict) for name in ("semantics", "made_from")),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a method lives. Listing entries imports none of them."""

    name: str
    module: str
    package: str


def methods() -> dict[str, Entry]:
    """List all installed methods: every public module of every package of the entry-point group.

    Raises ModelError if two packages hold a method of the same name.
    """
    found: dict[str, Entry] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.value):
        try:
            spec = importlib.util.find_spec(point.value)
        except ImportError:
            spec = None
        if spec is None:
            continue
        names = [m.name for m in pkgutil.iter_modules(spec.submodule_search_locations or [])]
        if spec.submodule_search_locations is None:  # the entry point names a single module
            entry = Entry(name=point.name, module=point.value, package=point.value)
            _add(found, entry)
        for name in names:
            if not name.startswith("_"):
                _add(found, Entry(name=name, module=f"{point.value}.{name}", package=point.value))
    return dict(sorted(found.items()))


def _add(found: dict[str, Entry], entry: Entry) -> None:
    other = found.setdefault(entry.name, entry)
    if other.module != entry.module:
        raise ModelError(
            f"two methods are named '{entry.name}': {other.module} and {entry.module}; "
            "rename one of the files or uninstall one of the packages."
        )


def load_spec(method: str) -> ModelSpec:
    """Import a method's file and return its SPEC. `method` is a name or the path of a .py file.

    Raises UsageError for an unknown name and ModelError if the file fails or has no SPEC.
    """
    if method.endswith(".py"):
        module_name, where = _import_file(Path(method)), method
    else:
        known = methods()
        if method not in known:
            raise unknown("method", method, known)
        module_name, where = known[method].module, known[method].module
    try:
        spec = getattr(importlib.import_module(module_name), "SPEC", None)
    except Exception as error:
        sys.modules.pop(module_name, None)
        raise ModelError(
            f"method '{method}' failed to import ({where}): {type(error).__name__}: {error}"
        ) from error
    if not isinstance(spec, ModelSpec):
        raise ModelError(f"{where} has no SPEC; expected `SPEC = ModelSpec(build=…, title=…, …)`.")
    return spec


def _import_file(path: Path) -> str:
    """Load a file as a module that `importlib.import_module` then finds; returns its name."""
    if not path.is_file():
        raise ModelError(f"{path}: no such file; expected a Python file with a SPEC.")
    name = f"fvsr_file_{path.stem}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path.resolve()):
        return name
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None  # a .py file always has a spec and a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ModelError(
            f"method '{path}' failed to import: {type(error).__name__}: {error}"
        ) from error
    return name


def method_name(method: str) -> str:
    """Return the name that tables show: the file's stem for a path."""
    return Path(method).stem if method.endswith(".py") else method


def build(method: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Build an untrained network: the spec's default options, overridden by `options`."""
    spec = load_spec(method)
    merged = {**spec.options, **(options or {})}
    try:
        model = spec.build(**merged)
    except Exception as error:
        raise ModelError(
            f"method '{method}' failed to build with {merged}: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"method '{method}' built a {type(model).__name__}; expected a torch.nn.Module."
        )
    return model


def weight_folders() -> list[Path]:
    """List where weights are looked for: ./weights, then the installed package.

    $FVSR_BENCH_WEIGHTS stands in place of both: networks of two campaigns must not be mixed.
    """
    if os.environ.get("FVSR_BENCH_WEIGHTS"):
        return [Path(os.environ["FVSR_BENCH_WEIGHTS"])]
    folders = [Path("weights")]
    spec = importlib.util.find_spec("fvsr_weights")
    folders += [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    return folders


def weights_tags(method: str) -> list[str]:
    """List the tags of all weights of a method, the default tag first."""
    name = method_name(method)
    tags = {
        path.stem for folder in weight_folders() for path in (folder / name).glob("*.safetensors")
    }
    return sorted(tags, key=lambda tag: (tag != DEFAULT_TAG, tag))


def find_weights(method: str, weights: str | Path | None = None) -> Path:
    """Return the weights file of a tag (None = the default one) or check that a path exists.

    Raises WeightsError that says where was looked and how to get weights.
    """
    name = method_name(method)
    if weights is not None and (isinstance(weights, Path) or str(weights).endswith(".safetensors")):
        path = Path(weights)
        if not path.is_file():
            raise WeightsError(f"weights {path}: no such file; expected a .safetensors file.")
        return path
    if weights is None and method.endswith(".py"):
        beside = Path(method).with_suffix(".safetensors")
        if beside.is_file():
            return beside
    tag = str(weights) if weights is not None else DEFAULT_TAG
    if weights is not None and Path(tag).is_file():
        raise WeightsError(
            f"{tag} is no .safetensors file; if other people's program made it: "
            f"`fvsr-bench weights convert {tag} --method {method} --out FILE.safetensors`."
        )
    for folder in weight_folders():
        path = folder / name / f"{tag}.safetensors"
        if path.is_file():
            return path
    have = weights_tags(method)
    raise WeightsError(
        f"{name} has no weights tagged '{tag}'"
        + (f" (has: {', '.join(have)})" if have else "")
        + f"; run `fvsr-bench train {method} --data DIR` or give a .safetensors file."
    )


def read_card(path: Path) -> ModelCard:
    """Read the card of a weights file: FILE.json beside it, or the file's own metadata.

    Raises WeightsError if there is none, if it is of a newer version, or misses a field.
    """
    beside = path.with_suffix(".json")
    try:
        if beside.is_file():
            values = json.loads(beside.read_text(encoding="utf-8"))
        else:
            with safe_open(str(path), framework="pt") as file:
                values = json.loads((file.metadata() or {}).get("card", "null"))
            if isinstance(values, dict):
                values["sha256"] = sha256(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise WeightsError(f"cannot read the card of {path}: {error}.") from error
    if not isinstance(values, dict):
        raise WeightsError(
            f"{path} has no card ({beside.name} beside it, or metadata 'card'); convert other "
            "people's weights with `fvsr-bench weights convert`."
        )
    odd = [name for name, kind in _CARD_TYPES if not isinstance(values.get(name, kind()), kind)]
    if odd:
        raise WeightsError(f"the card of {path} has a wrong type of value under {', '.join(odd)}.")
    if values.get("format", 0) > CARD_FORMAT:
        raise WeightsError(
            f"the card of {path} has format {values['format']}; this version reads up to "
            f"{CARD_FORMAT}: update fvsr-bench."
        )
    names = {f.name for f in fields(ModelCard)}
    try:
        return ModelCard(**{key: value for key, value in values.items() if key in names})
    except TypeError as error:
        raise WeightsError(f"the card of {path} is incomplete: {error}.") from error


def load_card(method: str, weights: str | Path | None = None) -> ModelCard:
    """Return the card of a method's weights; raises WeightsError if they are of another method."""
    path = find_weights(method, weights)
    card = read_card(path)
    if card.method != method_name(method):
        raise WeightsError(
            f"{path} holds weights of '{card.method}', not of '{method_name(method)}'."
        )
    return card


def start_of(card: ModelCard) -> ModelCard | None:
    """Return the card of the weights that a training started from.

    They are looked for, by their SHA-256, among the method's weights; None = none, or not there.
    """
    wanted = card.made_from.get("start")
    for tag in weights_tags(card.method) if wanted else ():
        try:
            start = read_card(find_weights(card.method, tag))
        except WeightsError:  # a neighbour's card is broken: it says so when it is asked for
            continue
        if start.sha256 == wanted:
            return start
    return None


def steps_before(card: ModelCard) -> int:
    """Return the training steps that came before the weights' own training, as far as known."""
    start = start_of(card)
    return int(start.recipe.get("steps") or start.steps) + steps_before(start) if start else 0


def read_weights(path: Path, expected_sha256: str | None = None) -> dict[str, Tensor]:
    """Read a safetensors file (it cannot run code) as float32; WeightsError if corrupt."""
    if expected_sha256 and (actual := sha256(path)) != expected_sha256:
        raise WeightsError(
            f"{path} is corrupt: SHA-256 {actual[:12]}…, its card says {expected_sha256[:12]}…; "
            "fetch the file again."
        )
    try:
        state = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}.") from error
    return {key: v.float() if v.is_floating_point() else v for key, v in state.items()}


def load_state(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Load a state dict; raises WeightsError that names keys and shapes that do not match."""
    own = model.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)} (expected {tuple(own[key].shape)})"
        for key in sorted(own.keys() & state.keys())
        if own[key].shape != state[key].shape
    ]
    if missing or extra or shapes:
        parts = [
            f"{len(items)} {what}, e.g. {items[0]}"
            for items, what in ((missing, "missing"), (extra, "unexpected"), (shapes, "misshaped"))
            if items
        ]
        raise WeightsError(f"{where} does not fit the network it is for: {'; '.join(parts)}.")
    model.load_state_dict(dict(state))


def load_model(
    method: str, weights: str | Path | None = None, *, device: str | torch.device = "cpu"
) -> nn.Module:
    """Build a method and load its weights; returns it in evaluation mode on `device`.

    `weights` is a tag, a .safetensors path, or None for the default. Raises WeightsError if they
    are missing, corrupt or of another method: a random network is never returned as a trained one.
    """
    spec = load_spec(method)
    if not spec.trainable and weights is None:
        return build(method).eval().to(device)
    card = load_card(method, weights)
    path = find_weights(method, weights)
    model = build(method, card.options)
    load_state(model, read_weights(path, card.sha256), str(path))
    return model.eval().to(device)


def save_weights(path: Path, state: Mapping[str, Tensor], card: ModelCard) -> ModelCard:
    """Write a weights file and its card, each atomically; returns the card with its SHA-256.

    The card also travels in the file's own metadata, so the file alone can be given away.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    inside = json.dumps({k: v for k, v in asdict(card).items() if k != "sha256"}, sort_keys=True)
    write_atomic(path, save(tensors, metadata={"card": inside}))
    complete = ModelCard(**{**asdict(card), "sha256": sha256(path)})
    write_atomic(path.with_suffix(".json"), json.dumps(asdict(complete), indent=2) + "\n")
    return complete
