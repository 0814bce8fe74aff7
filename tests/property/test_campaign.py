"""A campaign file says what to train; what is done is not trained again."""

from pathlib import Path

import pandas as pd
import pytest
import torch

from fvsr_bench.campaign import claim, make_job, missing, read_campaign, summary
from fvsr_bench.data.store import Dataset, DatasetMeta
from fvsr_bench.errors import UsageError
from fvsr_bench.files import sha256
from fvsr_bench.registry import build, save_weights
from fvsr_bench.spec import ModelCard, TrainRecipe
from fvsr_bench.train import ORIGIN


def finish(
    folder: Path,
    method: str,
    tag: str,
    steps: int,
    made_from: dict | None = None,
    data: str = "none",
    **recipe,
) -> None:
    """Write weights with a card that says how long they were trained."""
    card = ModelCard(
        method=method,
        tag=tag,
        sha256="",
        options={},
        degradation="bi",
        phase="centre",
        origin=ORIGIN,
        licence="none",
        data=data,
        recipe={"steps": steps, **recipe},
        steps=steps,
        seed=0,
        minutes=0.0,
        validation={},
        made_from=made_from or {},
    )
    torch.manual_seed(0)
    save_weights(folder / method / f"{tag}.safetensors", build(method).state_dict(), card)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


TWO = """
data = "d"
steps = 10
[[train]]
method = "dummy"
[[train]]
method = "dummy"
tag = "again"
start = "bi"
steps = 5
"""


def test_every_campaign_in_the_repository_can_be_read(project_root: Path, tmp_path: Path) -> None:
    files = sorted((project_root / "campaigns").glob("*.toml"))
    assert files
    for file in files:
        plan = read_campaign(file)
        rows = summary(plan, tmp_path, {})
        names = [(row["method"], row["tag"]) for row in rows]
        assert len(set(names)) == len(names), f"{file.name} trains one network twice"


def test_shorter_training_is_not_done_and_a_start_is_waited_for(tmp_path: Path) -> None:
    plan = read_campaign(write(tmp_path / "c.toml", TWO))
    weights, runs = tmp_path / "w", tmp_path / "r"

    def offered() -> list[str]:
        return [job.tag for _, job in claim(missing(plan, weights, {}), runs, weights)]

    assert offered() == ["bi"]  # "again" starts from weights that are not there
    finish(weights, "dummy", "bi", 9)
    assert offered() == ["bi"]  # nine steps are not ten, and not the start that is meant
    finish(weights, "dummy", "bi", 10)
    assert offered() == ["again"]
    assert make_job(plan.train[1], plan, weights).start == weights / "dummy" / "bi.safetensors"
    begun = sha256(weights / "dummy" / "bi.safetensors")
    finish(weights, "dummy", "again", 5, made_from={"start": begun})
    assert offered() == []
    finish(weights, "dummy", "again", 5, made_from={"start": "0" * 64})
    with pytest.raises(UsageError, match=r"start: not .*bi\.safetensors as it is now"):
        offered()


def test_weights_of_another_list_are_neither_replaced_nor_taken_for_ones_own(
    tmp_path: Path,
) -> None:
    plan, weights = read_campaign(write(tmp_path / "c.toml", TWO)), tmp_path / "w"
    finish(weights, "dummy", "bi", 10, learning_rate=1.0)
    with pytest.raises(UsageError, match=r"learning_rate: 1\.0, not 0\.0004.*another --out"):
        missing(plan, weights, {})
    assert [row["weights"] for row in summary(plan, weights, {})] == ["other", "missing"]
    finish(weights, "dummy", "bi", 10, learning_rate=4e-4)
    assert [job.tag for _, job in missing(plan, weights, {})] == ["again"]


def test_a_learning_rate_of_the_file_or_of_one_network(tmp_path: Path) -> None:
    text = TWO.replace("steps = 10", "steps = 10\nlearning_rate = 1e-3")
    plan = read_campaign(write(tmp_path / "c.toml", text + "learning_rate = 1e-5\n"))
    rates = [make_job(entry, plan, tmp_path).recipe.learning_rate for entry in plan.train]
    assert rates == [1e-3, 1e-5]
    plan = read_campaign(write(tmp_path / "c.toml", TWO))
    default = TrainRecipe().learning_rate
    assert {make_job(e, plan, tmp_path).recipe.learning_rate for e in plan.train} == {default}


def test_what_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    plan = read_campaign(write(tmp_path / "c.toml", TWO))
    weights, runs = tmp_path / "w", tmp_path / "r"
    mine = claim(missing(plan, weights, {}), runs, weights)
    next(mine)
    assert list(claim(missing(plan, weights, {}), runs, weights)) == []
    mine.close()
    assert len(list(claim(missing(plan, weights, {}), runs, weights))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = 1", "is not valid|valid string"),
        ("data =", "not valid TOML"),
        (TWO.replace("method", "methd"), r"'train.0.*'"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_campaign(write(tmp_path / "c.toml", text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read campaign .*nowhere.toml: No such file"):
        read_campaign(tmp_path / "nowhere.toml")


def test_a_twin_of_the_dataset_counts_as_the_dataset(tmp_path: Path) -> None:
    """The same clips, found on another processor, have another id."""
    finish(tmp_path, "dummy", "bi", 10, data="faces aaa")
    one = 'data = "d"\nsteps = 10\n{}[[train]]\nmethod = "dummy"\n'
    here = Dataset(Path("d"), DatasetMeta(name="faces", kind="faces"), "bbb", pd.DataFrame())
    for line, state in (("", "other"), ('twins = ["aaa"]\n', "done"), ('twins = ["c"]\n', "other")):
        plan = read_campaign(write(tmp_path / "plan.toml", one.format(line)))
        assert summary(plan, tmp_path, {"d": here})[0]["weights"] == state
