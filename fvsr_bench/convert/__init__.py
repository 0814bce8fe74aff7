"""Other people's checkpoints -> weights of this project, with what they mean on the card.

`read_checkpoint` reads files without running code from them; a `Layout` knows one authors' code;
`convert` finds the layout, permutes, checks every shape and writes nothing; `save_converted` does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fvsr_bench import registry
from fvsr_bench.convert import sofvsr, tecogan, vespcn
from fvsr_bench.convert.layout import Fit, Layout, first, fit
from fvsr_bench.convert.own import own_layout
from fvsr_bench.convert.readers import Checkpoint, read_checkpoint
from fvsr_bench.errors import UsageError, WeightsError, unknown
from fvsr_bench.spec import DEGRADATIONS, Degradation, ModelCard

LAYOUTS = {
    layout.name: layout
    for layout in (
        sofvsr.ACCV,
        sofvsr.TIP,
        tecogan.TORCH,
        tecogan.TENSORFLOW,
        vespcn.JUHEONYI,
    )
}


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Weights ready to be saved, their card, and how they were read."""

    state: Mapping[str, Tensor]
    card: ModelCard
    fit: Fit
    notes: tuple[str, ...]


def layouts_of(method: str) -> list[Layout]:
    """Return the layouts that a method's SPEC names; without any, its own network is the layout.

    Raises UsageError for a method that has no weights.
    """
    spec = registry.load_spec(method)
    if not spec.trainable:
        raise UsageError(f"method '{method}' has no weights (trainable=False in its SPEC).")
    if not spec.layouts:
        return [own_layout(method)]
    for name in spec.layouts:
        if name not in LAYOUTS:
            raise unknown(f"layout in the SPEC of '{method}':", name, LAYOUTS)
    return [LAYOUTS[name] for name in spec.layouts]


def _layout_names(method: str) -> tuple[str, ...]:
    try:
        return registry.load_spec(method).layouts
    except Exception:  # a file that does not import has no layouts; `models` says why
        return ()


def read_files(files: Sequence[Path]) -> Checkpoint:
    """Read one checkpoint, or several that hold different parts of one network."""
    parts = [read_checkpoint(path) for path in files]
    tensors: dict[str, Tensor] = {}
    for part in parts:
        if both := sorted(tensors.keys() & part.tensors.keys()):
            raise WeightsError(f"{part.path} holds again what another file has: {first(both)}.")
        tensors.update(part.tensors)
    return Checkpoint(
        path=parts[0].path,
        format=parts[0].format,
        tensors=tensors,
        notes=tuple(note for part in parts for note in part.notes),
        sha256=" + ".join(part.sha256 for part in parts),
    )


def recognise(checkpoint: Checkpoint, layouts: Sequence[Layout]) -> Fit:
    """Return the layout that a checkpoint has; raises WeightsError that says what was looked for.

    The message lists what is missing and what is not known, and names the method that another
    layout belongs to.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    fits = sorted((fit(layout, shapes) for layout in layouts), key=lambda f: -f.share)
    best = fits[0]
    if best.complete:
        return best
    other = next((f for f in (fit(x, shapes) for x in LAYOUTS.values()) if f.complete), None)
    if other is not None:
        methods = [n for n in registry.methods() if other.layout.name in _layout_names(n)]
        raise WeightsError(
            f"{checkpoint.path} holds {other.layout.name} weights ({other.layout.code}); "
            f"use --method {' or '.join(methods)}."
        )
    told = [f for f in fits if f.share] or fits
    raise WeightsError(
        f"{checkpoint.path} ({checkpoint.format}) has no layout known here: "
        + ". ".join(f.explain(shapes) for f in told)
        + f". All, key by key: `fvsr-bench weights show {checkpoint.path} --method METHOD`."
    )


def choose_degradation(fit_: Fit, shapes: Mapping[str, tuple[int, ...]], named: str) -> Degradation:
    """Return what LR the weights are for: as named, or the only one that its authors published.

    Raises UsageError if that leaves more than one, or if the file proves another phase.
    """
    layout = fit_.layout
    choice = layout.degradations(fit_.sizes)
    proof = layout.evidence(shapes)
    proved = "|".join(name for name in choice if DEGRADATIONS[name].phase == proof)
    if not named and len(choice) > 1:
        advice = f"say which with --degradation {'|'.join(choice)}"
        if proved:  # the phase is certain, the blur is not: it has to be said all the same
            advice = f"its buffers are those of {proved}: add --degradation {proved}"
        raise UsageError(
            f"{layout.name} weights look alike for {' and '.join(choice)}, and one kind gives "
            f"wrong frames on the other's LR; {advice}."
        )
    named = named or choice[0]
    if named not in DEGRADATIONS:
        raise unknown("degradation", named, DEGRADATIONS)
    degradation = DEGRADATIONS[named]
    if proof and degradation.phase != proof:
        raise UsageError(
            f"--degradation {named} ({degradation.phase} phase) contradicts the file, which has "
            f"buffers that only {proof}-phase weights need; expected {proved}."
        )
    return degradation


def convert(
    files: Sequence[Path],
    method: str,
    *,
    degradation: str = "",
    tag: str = "converted",
    licence: str = "",
) -> Converted:
    """Read checkpoints of other people's code, or of the method's own network, as its weights.

    Every tensor is used or on the layout's list of what is no weight; every shape is checked
    against the network that the card's options build. Raises WeightsError or UsageError.
    """
    checkpoint = read_files(files)
    found = recognise(checkpoint, layouts_of(method))
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    trained_for = choose_degradation(found, shapes, degradation)
    options = found.layout.options(found.sizes, trained_for)
    state = _apply(found, checkpoint, _expected(method, options, checkpoint))
    card = ModelCard(
        method=registry.method_name(method),
        tag=tag,
        sha256="",
        options=options,
        degradation=trained_for.name,
        phase=trained_for.phase,
        origin="converted from " + " + ".join(path.name for path in files),
        licence=licence or found.layout.licence,
        data=found.layout.data,
        recipe={"name": "the authors'"},
        steps=0,
        seed=0,
        minutes=0.0,
        validation={},
        notes="; ".join(checkpoint.notes),
        semantics={
            "layout": found.layout.name,
            "authors_code": found.layout.code,
            "source_format": checkpoint.format,
            "source_sha256": checkpoint.sha256,
            "lr_blur_sigma": trained_for.sigma,
            **found.layout.semantics(found.sizes, trained_for),
        },
    )
    return Converted(state=state, card=card, fit=found, notes=checkpoint.notes)


def save_converted(converted: Converted, out: Path) -> ModelCard:
    """Write the weights and their card, each whole or not at all; returns the complete card."""
    return registry.save_weights(out, converted.state, converted.card)


def _expected(method: str, options: dict, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the network's tensors without values: they take no memory."""
    try:
        with torch.device("meta"):
            return dict(registry.build(method, options).state_dict())
    except Exception as error:
        text = " ".join(str(error).split())
        raise WeightsError(f"{checkpoint.path} has sizes no network can have: {text}.") from error


def _apply(found: Fit, checkpoint: Checkpoint, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Permute every tensor into its place; WeightsError for a wrong shape or value."""
    state, wrong, bad = {}, [], []
    for rule in found.rules:
        theirs = checkpoint.tensors[rule.theirs]
        own = expected.get(rule.ours)
        want = None if own is None else tuple(own.shape)
        try:
            ours = rule.change(theirs)
        except (RuntimeError, IndexError, ValueError):  # another number of dimensions
            ours = None
        if ours is None or own is None or want is None or tuple(ours.shape) != want:
            size = f"{math.prod(want)} values, as ours {want}" if want else "nothing"
            wrong.append(f"{rule.theirs} {tuple(theirs.shape)} (expected {size})")
        elif own.is_floating_point() != theirs.is_floating_point() or not _finite(theirs):
            bad.append(rule.theirs)
        else:
            ours = ours.float() if own.is_floating_point() else ours.to(own.dtype)
            state[rule.ours] = ours.contiguous()
    left = sorted(expected.keys() - {rule.ours for rule in found.rules})
    if wrong or left:
        what = first([*wrong, *(f"no tensor for {name}" for name in left)])
        raise WeightsError(f"{checkpoint.path} does not fit {found.layout.name}: {what}.")
    if bad:
        raise WeightsError(
            f"{checkpoint.path} holds values that are no finite numbers: {first(bad)}."
        )
    return state


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
