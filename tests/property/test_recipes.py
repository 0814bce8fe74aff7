"""Recipes: what a name means, and that the cells of an ablation differ in one thing only."""

from dataclasses import replace

import pytest

from fvsr_bench import ablate
from fvsr_bench.ablate import expand
from fvsr_bench.errors import UsageError
from fvsr_bench.recipes import LOSSES, choose_recipe, variant
from fvsr_bench.registry import load_card, load_spec

SPEC = load_spec("fapn")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("base", ["default", "quick", "whole", "paper"])
def test_a_loss_after_a_plus_is_added_to_a_recipe(base, loss):
    plain, options = choose_recipe(SPEC, base)
    both, same = choose_recipe(SPEC, f"{base}+{loss}", 7)
    assert both.losses == {**plain.losses, **LOSSES[loss]}
    assert (both.name, both.steps, both.patch) == (f"{base}+{loss}", 7, plain.patch)
    assert options == same


def test_a_loss_alone_is_added_to_the_default():
    assert choose_recipe(SPEC, "gan")[0].losses == choose_recipe(SPEC, "default+gan")[0].losses


@pytest.mark.parametrize("name", ["default", "quick+gan", "whole", "paper"])
def test_steps_and_learning_rate_replace_nothing_else(name):
    plain, options = choose_recipe(SPEC, name)
    other, same = choose_recipe(SPEC, name, 7, 3e-5)
    assert (other.steps, other.learning_rate) == (7, 3e-5)
    assert replace(other, steps=plain.steps, learning_rate=plain.learning_rate) == plain
    assert options == same


def test_whole_frames_are_the_default_and_the_paper_without_crops():
    default, whole = (choose_recipe(SPEC, name)[0] for name in ("default", "whole"))
    assert replace(whole, name="default", patch=default.patch) == default
    assert whole.patch == choose_recipe(SPEC, "paper")[0].patch == 0 < default.patch


def test_weights_are_called_after_the_frames_they_are_made_for():
    frvsr = load_spec("frvsr")
    assert variant(frvsr, []) == ("bi", {})
    assert variant(frvsr, [], "", "bd15") == ("bd15", dict(frvsr.tags["bd15"]))
    assert variant(frvsr, [], "mine", "bd15") == ("mine", dict(frvsr.tags["bd15"]))
    name, options = variant(frvsr, ["hr-feedback"], "", "bd15")
    assert name == "bd15-no-hr-feedback"
    assert options == {**frvsr.tags["bd15"], "feedback": False}


@pytest.mark.parametrize(("name", "hint"), [("quik", "quick"), ("quick+gam", "gan")])
def test_an_unknown_recipe_or_loss_is_refused_with_a_hint(name, hint):
    with pytest.raises(UsageError, match=f"[Dd]id you mean .*{hint}"):
        choose_recipe(SPEC, name)


@pytest.mark.parametrize("words", [["nic", "fsrc"], ["loss"]])
def test_cells_are_trained_as_the_whole_network_was(words):
    card = load_card("fapn", "bi")
    for cell in expand("fapn", words):
        recipe = cell.train_job().recipe
        for part in ("steps", "patch", "learning_rate", "schedule", "batch", "frames"):
            assert getattr(recipe, part) == card.recipe[part]
        assert set(recipe.losses) >= set(card.recipe["losses"])


def test_the_command_of_a_cell_repeats_what_the_whole_network_had(monkeypatch):
    base = {"name": "quick", "steps": 7, "learning_rate": 1e-5, "flow_steps": 2, "seed": 3}
    monkeypatch.setattr(ablate, "_base", lambda method: base)
    command = expand("fapn", ["nic"])[1].command("d")
    expected = "--recipe quick --steps 7 --learning-rate 1e-05 --flow-steps 2 --seed 3"
    assert command.endswith(f"{expected} --tag bi-no-nic")
