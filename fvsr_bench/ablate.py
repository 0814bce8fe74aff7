"""Component names -> variants of a method: which networks a table of ablations needs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fvsr_bench.errors import UsageError, WeightsError, unknown
from fvsr_bench.evaluate.plan import Job
from fvsr_bench.recipes import choose_recipe, variant
from fvsr_bench.registry import find_weights, load_card, load_spec, method_name, weights_tags
from fvsr_bench.train import TrainJob

LOSS_CELLS = ("gan", "vgg", "face")  # beside "full", which is trained with the default losses


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One network of an ablation: the whole method without some parts, or with another loss."""

    method: str
    variant: str  # "full", "no-nic", "no-fsrc-no-nic", "loss-face", …
    without: tuple[str, ...] = ()
    loss: str = ""

    @property
    def tag(self) -> str:
        """Name the cell's weights: `bi`, `bi-no-nic`, `bi-loss-face`."""
        return "bi" if self.variant == "full" else f"bi-{self.variant}"

    @property
    def recipe(self) -> str:
        """Name the recipe: that of the whole network, where one is there, and the cell's loss."""
        return "+".join(part for part in (base_recipe(self.method), self.loss) if part)

    def command(self, data: str) -> str:
        """Return the command that trains this cell."""
        parts = [f"fvsr-bench train {self.method} --data {data}"]
        if self.without:
            parts.append(f"--without {','.join(self.without)}")
        if self.recipe != "default":
            parts.append(f"--recipe {self.recipe}")
        named, _ = choose_recipe(load_spec(self.method), self.recipe)
        mine = self.train_job().recipe
        if mine.steps != named.steps:
            parts.append(f"--steps {mine.steps}")
        if mine.learning_rate != named.learning_rate:
            parts.append(f"--learning-rate {mine.learning_rate:g}")
        if mine.flow_steps != named.flow_steps:
            parts.append(f"--flow-steps {mine.flow_steps}")
        if seed := self.train_job().seed:
            parts.append(f"--seed {seed}")
        if "face" in mine.losses:
            parts.append("--encoder onnx:FILE")
        return " ".join([*parts, f"--tag {self.tag}"])

    def job(self) -> Job:
        """Return what an evaluation of this cell is made from."""
        return Job(method=self.method, variant=self.variant, weights=self.tag)

    def train_job(self, steps: int = 0) -> TrainJob:
        """Return what a training of this cell is made from: as the whole network was."""
        spec = load_spec(self.method)
        _, options = variant(spec, self.without)
        base = _base(self.method)
        recipe, changes = choose_recipe(
            spec,
            self.recipe,
            steps or int(base.get("steps", 0)),
            float(base.get("learning_rate", 0)),
        )
        recipe = replace(recipe, flow_steps=int(base.get("flow_steps", recipe.flow_steps)))
        return TrainJob(
            method=self.method,
            tag=self.tag,
            options={**options, **changes},
            recipe=recipe,
            seed=int(base.get("seed", 0)),
        )


def base_recipe(method: str) -> str:
    """Return the recipe that the whole network was trained with: its cells must have no other."""
    return str(_base(method).get("name", "default"))


def _base(method: str) -> Mapping[str, Any]:
    if "bi" not in weights_tags(method):
        return {}
    card = load_card(method, "bi")
    return {**card.recipe, "seed": card.seed}


def expand(method: str, words: Sequence[str]) -> list[Cell]:
    """Return the cells of an ablation, the whole method first.

    Component names give all combinations of leaving them out (2^n cells); the word "loss" alone
    gives one cell per loss. Raises UsageError for a part that the method does not declare.
    """
    spec = load_spec(method)
    if not words:
        raise UsageError(
            f"nothing to ablate; {spec.title} declares: {', '.join([*spec.ablations, 'loss'])}."
        )
    full = Cell(method=method, variant="full")
    if "loss" in words:
        if len(set(words)) > 1:
            raise UsageError("'loss' is an ablation of its own: run `fvsr-bench ablate loss`.")
        cells = [Cell(method=method, variant=f"loss-{loss}", loss=loss) for loss in LOSS_CELLS]
        return [full, *cells]
    for word in words:
        if word not in spec.ablations:
            raise unknown(f"component of {spec.title}", word, [*spec.ablations, "loss"])
    parts = sorted(set(words))
    chosen = [c for n in range(1, len(parts) + 1) for c in itertools.combinations(parts, n)]
    return [
        full,
        *(
            Cell(method=method, variant="-".join(f"no-{part}" for part in combo), without=combo)
            for combo in chosen
        ),
    ]


def missing(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells whose weights are not there."""
    lacking = []
    for cell in cells:
        try:
            find_weights(cell.method, cell.tag)
        except WeightsError:
            lacking.append(cell)
    return lacking


def estimated_minutes(cell: Cell) -> float | None:
    """Estimate a cell's training time from the cards of the method's other networks, in minutes.

    None if none was trained here. Crops count by their area.
    """
    for tag in weights_tags(cell.method):
        card = load_card(cell.method, tag)
        steps, patch = int(card.recipe.get("steps", 0)), int(card.recipe.get("patch", 0))
        if steps and card.minutes:
            recipe = cell.train_job().recipe
            share = ((recipe.patch or 40) / (patch or 40)) ** 2
            return card.minutes / steps * share * recipe.steps
    return None


def explain_missing(cells: Sequence[Cell], data: str) -> list[str]:
    """Return one line per missing network: which, the command that trains it, and how long."""
    lines = []
    for cell in cells:
        minutes = estimated_minutes(cell)
        time = f"about {minutes:.0f} min on the machine of its siblings" if minutes else "unknown"
        lines.append(f"{cell.method}/{cell.tag} is missing: {cell.command(data)}  (time: {time})")
    return lines


def table_name(method: str, words: Sequence[str]) -> str:
    """Name the files of an ablation: table3 and table4 are the paper's own two, of its method."""
    papers = {("fsrc", "nic"): "table3", ("loss",): "table4"}
    parts = tuple(sorted(set(words)))
    if parts in papers and load_spec(method).printed:
        return papers[parts]
    return "-".join(["ablation", method_name(method), *parts])
