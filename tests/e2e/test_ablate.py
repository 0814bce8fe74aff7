"""Ablations: names become cells, missing networks are named with their command, tables compare."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fvsr_bench.ablate import expand, explain_missing
from fvsr_bench.errors import UsageError
from fvsr_bench.registry import build, save_weights
from fvsr_bench.report.ablation import AblationCell, ablation_csv, ablation_markdown
from fvsr_bench.report.tables import METRICS
from fvsr_bench.spec import FAPN_PROTOCOL, ModelCard
from fvsr_bench.statistics import bootstrap_mean
from fvsr_bench.train import ORIGIN


def test_two_components_are_the_four_cells_of_table_3() -> None:
    cells = expand("fapn", ["nic", "fsrc"])
    assert [cell.variant for cell in cells] == ["full", "no-fsrc", "no-nic", "no-fsrc-no-nic"]
    assert cells[3].train_job().options == {"nic": False, "fsrc": False}
    assert cells[3].tag == "bi-no-fsrc-no-nic"


def test_loss_is_the_four_columns_of_table_4() -> None:
    cells = expand("fapn", ["loss"])
    assert [cell.variant for cell in cells] == ["full", "loss-gan", "loss-vgg", "loss-face"]
    weights = cells[3].train_job().recipe.losses
    assert (weights["mse"], weights["organ"], weights["face"]) == (1.0, 0.05, 0.01)


@pytest.mark.parametrize("words", [["hr-feedback", "future-frame", "hidden-state"]])
def test_three_components_make_eight_cells(words: list[str]) -> None:
    cells = expand("fapn", words)
    assert len({cell.tag for cell in cells}) == 8
    torch.manual_seed(0)
    lr, hr = torch.rand(1, 3, 3, 16, 16), torch.rand(1, 3, 3, 64, 64)
    for cell in cells:
        options = dict(cell.train_job().options)
        assert set(cell.without) == {w for w in words if w in cell.tag}
        network = build("fapn", options)
        sr, terms = network.forward_train(lr, hr)
        ((sr - hr).square().mean() + sum(terms.values())).backward()
        missing = [name for name, p in network.named_parameters() if p.grad is None]
        assert sr.shape == hr.shape
        assert not missing, (cell.tag, missing)


def test_the_time_of_a_missing_network_is_that_of_its_siblings(tmp_path, monkeypatch) -> None:
    """80 minutes for 4,000 steps of crops of 24: half the steps take half the time."""
    monkeypatch.setenv("FVSR_BENCH_WEIGHTS", str(tmp_path))
    (cell,) = [cell for cell in expand("dummy", ["correct"]) if cell.variant != "full"]
    assert "(time: unknown)" in explain_missing([cell], "DIR")[0]
    recipe = dataclasses.asdict(cell.train_job().recipe)
    card = ModelCard(
        **{"method": "dummy", "tag": "bi", "sha256": "", "options": {}, "degradation": "bi"},
        **{"phase": "centre", "origin": ORIGIN, "licence": "", "data": "d", "steps": 8000},
        **{"seed": 0, "minutes": 80.0, "validation": {}, "notes": ""},
        recipe={**recipe, "steps": 2 * recipe["steps"]},
    )
    save_weights(tmp_path / "dummy" / "bi.safetensors", build("dummy").state_dict(), card)
    same = expand("dummy", ["correct"])[-1]
    share = same.train_job().recipe.steps / (2 * recipe["steps"])
    assert f"about {80 * share:.0f} min" in explain_missing([same], "DIR")[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nicc"], r"unknown component of FAPN 'nicc'. Did you mean 'nic'\?"),
        (["loss", "nic"], "an ablation of its own"),
        ([], "nothing to ablate; FAPN declares: nic"),
    ],
)
def test_what_cannot_be_ablated_is_said(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        expand("fapn", words)


def test_missing_networks_are_named_then_trained_then_compared(
    patterns: Path, tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    common = ("correct", "--method", "dummy", "--dataset", patterns, "--out", tmp_path / "results")
    answer = cli("ablate", *common)
    assert answer.code == 1
    assert f"fvsr-bench train dummy --data {patterns} --without correct" in answer.out
    assert "at least two networks, 0 of 2" in answer.err

    # Without its one convolution the method has nothing to train: write its weights by training
    # the whole one only, and say what is still missing.
    answer = cli("train", "dummy", "--data", patterns, "--steps", 2, "--device", "cpu")
    assert answer.code == 0
    answer = cli("ablate", *common, "--json")
    assert "at least two networks, 1 of 2" in answer.err
    assert not answer.out


def test_a_trained_ablation_makes_a_table_a_csv_and_a_figure(
    patterns: Path, tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "results"
    arguments = ("motion", "--method", "vespcn", "--dataset", patterns, "--out", out)
    answer = cli("ablate", *arguments, "--train", "--steps", 2, "--device", "cpu")
    assert answer.code == 0, answer.err
    table = pd.read_csv(out / "ablation-vespcn-motion.csv")
    assert set(table["variant"]) == {"full", "no-motion"}
    assert set(table["metric"]) == {"psnr", "ssim", "face"}
    without = table[(table["variant"] == "no-motion") & (table["metric"] == "psnr")].iloc[0]
    full = table[(table["variant"] == "full") & (table["metric"] == "psnr")].iloc[0]
    assert without["to_full"] == pytest.approx(without["ours"] - full["ours"], abs=2e-6)
    assert (out / "ablation-vespcn-motion.png").read_bytes().startswith(b"\x89PNG")
    assert "dataset patterns" in (out / "ablation-vespcn-motion.md").read_text()
    assert "| no-motion |" in (out / "ablation-vespcn-motion.md").read_text()
    before = (out / "ablation-vespcn-motion.md").read_bytes()
    assert cli("ablate", *arguments).code == 0
    assert (out / "ablation-vespcn-motion.md").read_bytes() == before
    again = ("train", "vespcn", "--data", patterns, "--steps", 3, "--device", "cpu", "--force")
    assert cli(*again).code == 0
    answer = cli("ablate", *arguments, "--json")
    assert {row["variant"] for row in json.loads(answer.out)} == {"full", "no-motion"}
    assert answer.err.startswith("replaced the older run vespcn-")
    (run,) = (p for p in out.glob("manifests/vespcn-*.json") if "no-motion" not in p.read_text())
    assert set(pd.read_csv(out / "table2.csv")["run_id"]) == {run.stem.rpartition("-")[2]}


def test_cells_that_do_not_fit_the_data_say_so(
    patterns: Path, tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = tmp_path / "other"
    assert cli("data", "redegrade", patterns, "--degradation", "bd15", "--out", small).code == 0
    for part in ((), ("--without", "motion")):
        training = ("train", "vespcn", "--data", patterns, "--steps", 1, "--device", "cpu")
        assert cli(*training, *part).code == 0
    answer = cli("ablate", "motion", "--method", "vespcn", "--dataset", small)
    assert answer.code == 1
    assert "nothing to compare: weights 'bi' were trained for bi (centre phase)" in answer.err


def test_a_note_on_the_card_stands_under_the_table(
    patterns: Path, tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    training = ("train", "dummy", "--data", patterns, "--steps", 1, "--device", "cpu")
    assert cli(*training, "--notes", "a toy").code == 0
    assert cli("run", "-m", "dummy", "-d", patterns, "-o", tmp_path / "out").code == 0
    assert "- Dummy: a toy.\n" in (tmp_path / "out" / "table2.md").read_text()


def test_a_variant_without_a_network_keeps_the_papers_numbers() -> None:
    printed = {"loss-vgg": {"psnr": 30.5, "ssim": 0.902, "face": 0.214}}
    lacking = {"loss-vgg": "no weights"}
    text = ablation_markdown([], "Table 4", lacking, FAPN_PROTOCOL, "demo", {}, printed)
    (row,) = [line for line in text.splitlines() if line.startswith("| loss-vgg")]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == (
        ["30.50", "–", "–", "0.902", "–", "–", "0.214", "–", "–", "–"]
    )
    own = AblationCell(
        variant="full",
        metric=METRICS[0],
        paper=31.0,
        ours=bootstrap_mean(np.ones(3)),
        to_full=None,
        steps=4000,
    )
    rows = list(csv.DictReader(ablation_csv([own], lacking, printed).splitlines()))
    assert [(row["variant"], row["paper"], row["steps"]) for row in rows] == [
        ("full", "31.000000", "4000"),
        ("loss-vgg", "30.500000", ""),
        ("loss-vgg", "0.902000", ""),
        ("loss-vgg", "0.214000", ""),
    ]
