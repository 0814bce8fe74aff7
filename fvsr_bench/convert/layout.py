"""What a layout of other people's weights is, and how one is recognised and applied.

A layout knows, for one authors' code: which tensors its files have, which of our network's each one
becomes and how it is permuted, and what the weights mean: the options of our network that make it
compute what the authors' code computes, and the facts that belong on the card.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fvsr_bench.spec import Degradation

Options = dict[str, Any]
Shapes = Mapping[str, tuple[int, ...]]
Change = Callable[[Tensor], Tensor]
SHOWN = 4  # names that an error lists of each kind


def same(tensor: Tensor) -> Tensor:
    """Return a tensor as it is."""
    return tensor


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One tensor of theirs becomes one of ours."""

    theirs: str
    ours: str
    change: Change = same


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The weights of one authors' code."""

    name: str
    code: str  # whose, where
    licence: str
    data: str  # what the published weights were trained on
    degradations: Callable[[Options], tuple[str, ...]]  # of the published files; the user chooses
    ignored: tuple[str, ...]  # patterns of tensors that are no weights of the network
    sizes: Callable[[Shapes], Options]  # options that the shapes tell; usual ones where they do not
    rules: Callable[[Options], list[Rule]]
    options: Callable[[Options, Degradation], Options]  # those that make it the authors' code
    semantics: Callable[[Options, Degradation], Mapping[str, Any]]
    evidence: Callable[[Shapes], str] = lambda shapes: ""  # phase that a buffer proves


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well a file's tensors fit a layout."""

    layout: Layout
    sizes: Options
    rules: tuple[Rule, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def share(self) -> float:
        """The part of the layout's tensors that the file has."""
        return 1 - len(self.missing) / len(self.rules)

    @property
    def complete(self) -> bool:
        """Whether every tensor of the layout is there and every tensor of the file is used."""
        return not self.missing and not self.unexpected

    def explain(self, found: Shapes) -> str:
        """Say what was looked for and what was found."""
        wanted = [rule.theirs for rule in self.rules]
        here = len(wanted) - len(self.missing)
        text = f"looked for the {len(wanted)} tensors of {self.layout.name} ({first(wanted)})"
        if not here:
            return f"{text} and found none of them; found ({len(found)}): {first(found)}"
        text += f" and found {here}"
        if self.missing:
            text += f"; missing ({len(self.missing)}): {first(self.missing)}"
        if self.unexpected:
            text += f"; not of it ({len(self.unexpected)}): {first(self.unexpected)}"
        return text


def first(names: Iterable[str]) -> str:
    """Join the first few names; count the rest."""
    names = list(names)
    more = f", … ({len(names) - SHOWN} more)" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def fit(layout: Layout, found: Shapes) -> Fit:
    """Hold a file's tensors against a layout."""
    sizes = layout.sizes(found)
    rules = layout.rules(sizes)
    wanted = {rule.theirs for rule in rules}
    rest = [name for name in found if name not in wanted]
    patterns = [re.compile(pattern) for pattern in layout.ignored]
    ignored = [name for name in rest if any(p.fullmatch(name) for p in patterns)]
    return Fit(
        layout=layout,
        sizes=sizes,
        rules=tuple(rules),
        missing=tuple(rule.theirs for rule in rules if rule.theirs not in found),
        unexpected=tuple(name for name in rest if name not in ignored),
        ignored=tuple(ignored),
    )


# --- permutations ---


def conv_from_tf(kernel: Tensor) -> Tensor:
    """(h, w, in, out) -> (out, in, h, w); a transposed (h, w, out, in) -> (in, out, h, w)."""
    return kernel.permute(3, 2, 0, 1)


def colour_slowest(kernel: Tensor, plain: int, colours: int) -> Tensor:
    """Reorder the inputs of a convolution [out, in, h, w] after the first `plain` ones.

    From (row, column, colour), TensorFlow's space_to_depth, to (colour, row, column), torch's
    pixel_unshuffle.
    """
    blocks = kernel[:, plain:].unflatten(1, (-1, colours)).transpose(1, 2).flatten(1, 2)
    return torch.cat((kernel[:, :plain], blocks), 1)


def swap_halves(kernel: Tensor) -> Tensor:
    """Exchange the first and the second half of a convolution's inputs [out, in, h, w]."""
    return torch.cat(kernel.chunk(2, 1)[::-1], 1)


def reverse_flow(tensor: Tensor) -> Tensor:
    """Turn the last layer of a flow (y, x) that is subtracted into one of (x, y) that is added.

    For the weight [2, in, h, w] and the bias [2] before an odd function such as tanh.
    """
    return -tensor.flip(0)


def chain(*changes: Change) -> Change:
    """Return the changes one after the other."""

    def apply(tensor: Tensor) -> Tensor:
        for change in changes:
            tensor = change(tensor)
        return tensor

    return apply
