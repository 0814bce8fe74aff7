"""Which recipe and which variant of a method a training command means."""

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from fvsr_bench.errors import unknown
from fvsr_bench.spec import ModelSpec, TrainRecipe

# FAPN section 4.2, word by word, but for its loss ("paper+face" has it); what it does not say
# (optimiser, schedule) is Adam, flat.
PAPER = TrainRecipe(
    name="paper",
    patch=0,
    learning_rate=1e-4,
    schedule="flat",
    warmup=0,
    clip_grad=0.0,
    ema=0.0,
    hflip=False,
    precision="fp32",
)

# What is added to the method's own terms: the rows of FAPN's Table 4 (weights of "face" from its
# section 4.2, the others are not given there), and TecoGAN's. Its authors' code has 0.01 for the
# discriminator, 0.02 for each layer's features and 0.5 for ping-pong, beside squares that it adds
# up over three channels of frames in [-1, 1]: 12 times our MSE. Ping-pong's L1 doubles likewise.
# (The method's own warping error keeps its weight of 1; theirs would be 3 / 12.)
LOSSES: dict[str, dict[str, float]] = {
    "face": {"organ": 0.05, "face": 0.01},
    "gan": {"gan": 1e-3},
    "vgg": {"vgg": 1e-3},
    "tecogan": {"tgan": 0.01 / 12, "feature": 0.02 / 12, "ping-pong": 0.5 * 2 / 12},
}


def choose_recipe(
    spec: ModelSpec, name: str, steps: int = 0, learning_rate: float = 0.0
) -> tuple[TrainRecipe, Mapping[str, Any]]:
    """Return the recipe and the build options that go with it.

    "quick" is the default for 1,200 steps, "whole" the default on whole frames instead of crops.
    "paper" also drops the global residual and the zero-initialised heads, where there are any.
    "face", "gan", "vgg" and "tecogan" add loss terms to the default (`LOSSES`); after a plus to
    another recipe: "quick+gan". `steps` and `learning_rate` > 0 override the recipe's.
    """
    base = {
        "default": spec.recipe,
        "quick": dataclasses.replace(spec.recipe, name="quick", steps=1200),
        "whole": dataclasses.replace(spec.recipe, name="whole", patch=0),
        "paper": dataclasses.replace(PAPER, losses={"mse": 1.0}),
    }
    first, *added = (["default"] if name in LOSSES else []) + name.split("+")
    for part, known in ((first, [*base, *LOSSES]), *((loss, LOSSES) for loss in added)):
        if part not in known:
            raise unknown("recipe", part, known)
    recipe = base[first]
    for loss in added:
        recipe = dataclasses.replace(recipe, losses={**recipe.losses, **LOSSES[loss]})
    recipe = dataclasses.replace(
        recipe,
        name=name,
        steps=steps or recipe.steps,
        learning_rate=learning_rate or recipe.learning_rate,
    )
    if first != "paper":
        return recipe, {}
    literal = {"zero_init": False, "residual": "none", "skip": "none", "centre_input": False}
    accepted = _keywords(spec)
    return recipe, {key: value for key, value in literal.items() if key in accepted}


def _keywords(spec: ModelSpec) -> set[str]:
    return set(inspect.signature(spec.build).parameters)


def variant(
    spec: ModelSpec, without: Sequence[str], tag: str = "", degradation: str = "bi"
) -> tuple[str, dict[str, Any]]:
    """Return the tag and options of a method with parts switched off, or of one of its size tags.

    Without a tag, weights are called after the degradation of the LR frames they are made for, and
    take its options, where the method has some. Raises UsageError for a part that the method does
    not declare.
    """
    options = {**spec.tags.get(degradation, {}), **spec.tags.get(tag, {})}
    for part in without:
        if part not in spec.ablations:
            raise unknown(f"component of {spec.title}", part, spec.ablations)
        options.update(spec.ablations[part])
    return tag or "-".join([degradation, *(f"no-{part}" for part in sorted(without))]), options
