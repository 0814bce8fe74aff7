"""The phase experiment from one command: a twin dataset, both phases, a finding, nothing twice."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fvsr_bench.data.store import open_dataset
from fvsr_bench.evaluate.plan import Job
from fvsr_bench.explain import phase as experiment
from fvsr_bench.explain.finding import read_phase
from fvsr_bench.explain.text import html_section
from fvsr_bench.spec import FAPN_PROTOCOL


@pytest.fixture
def only_bicubic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no network have weights: the experiment then says what to train, and runs bicubic."""
    monkeypatch.setattr(experiment, "_has", lambda method, tag: False)


def test_it_evaluates_what_exists_and_names_the_rest(
    cli: Callable, tiny: Path, tmp_path: Path, only_bicubic: None
) -> None:
    out = tmp_path / "phase"
    words = ("explain", "phase", "--data", tiny, "--out", out)
    answer = cli(*words)
    assert answer.code == 0, answer.err
    for command in (
        f"fvsr-bench train frvsr --data {tiny}-bd15 --tag bd15",
        f"fvsr-bench train tecogan --data {tiny}-bd15 --tag bd15",
        f"fvsr-bench train vespcn --data {tiny} --tag bi",
    ):
        assert command in answer.out
    assert "FRVSR: not tested" in answer.out or "frvsr: not tested" in answer.out
    rows = list(csv.DictReader((out / "phase.csv").read_text().splitlines()))
    assert [(row["method"], row["data"]) for row in rows] == [
        ("bicubic", "bi"),
        ("bicubic", "bd15"),
    ]
    matched, wrong = rows
    assert (matched["matched"], wrong["matched"]) == ("True", "False")
    # bicubic takes LR pixels for the centres of their blocks: fed corners, all moves 1.5 px
    assert float(wrong["shift_x"]) == pytest.approx(1.5, abs=0.1)
    assert float(wrong["shift_y"]) == pytest.approx(1.5, abs=0.1)
    assert abs(float(matched["shift_x"])) < 0.1
    assert float(wrong["psnr_without_shift"]) > float(wrong["psnr"]) + 1

    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    assert cli(*words).code == 0
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before

    second = tmp_path / "again"  # the same runs, taken over instead of run again
    done = cli(*words[:-1], second, "--reuse", out / "bi", "--json")
    assert json.loads(done.out)["tests"][0]["answer"] == "not tested"
    (stored,) = (out / "bi" / "records").glob("*.parquet")
    assert (second / "bi" / "records" / stored.name).read_bytes() == stored.read_bytes()

    # A run that was measured with more judges is the same network's: not a second level.
    judged = tmp_path / "judged"
    arguments = ("-m", "bicubic", "-d", tiny, "--judge", "temporal", "-o", judged)
    assert cli("run", *arguments).code == 0
    assert cli(*words, "--reuse", judged).code == 0
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before

    page = html_section(read_phase(out, FAPN_PROTOCOL))
    assert page.count("<tr>") == 3  # head and two levels
    assert "Hypothesis" in page


def test_newer_weights_taken_over_replace_the_older_run(
    cli: Callable, tiny: Path, tmp_path: Path, save_dummy: Callable
) -> None:
    dataset, jobs = open_dataset(tiny), (Job(method="dummy", weights="bi"),)
    out, elsewhere = tmp_path / "phase", tmp_path / "elsewhere"

    def stored() -> list[str]:
        names = {path.stem for path in (out / "bi" / "records").glob("*.parquet")}
        manifests = {path.stem for path in (out / "bi" / "manifests").glob("dummy-*.json")}
        assert names == manifests
        return sorted(names)

    save_dummy(steps=1200)
    experiment.run_phase(dataset, None, jobs, out)
    (old,) = stored()
    before = {path.name: path.read_bytes() for path in (out / "bi").glob("*/*")}
    save_dummy(steps=4000)
    assert cli("run", "-m", "dummy@bi", "-d", tiny, "-o", elsewhere).code == 0
    finding = experiment.run_phase(dataset, None, jobs, out, reuse=elsewhere)
    (new,) = stored()
    assert new != old
    assert [level.manifest.about.steps for level in finding.levels] == [4000]

    for name, content in before.items():  # a folder from before this was mended
        kind = "records" if name.endswith(".parquet") else "manifests"
        (out / "bi" / kind / name).write_bytes(content)
    assert stored() == sorted([old, new])
    experiment.run_phase(dataset, None, jobs, out, reuse=elsewhere)
    assert stored() == [new]


def test_a_folder_of_other_data_is_left_as_it_is(
    cli: Callable, tiny: Path, make_tiny: Callable, tmp_path: Path, only_bicubic: None
) -> None:
    other, out, reuse = make_tiny(tmp_path / "other"), tmp_path / "phase", tmp_path / "reuse"
    meta = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps({**meta, "id": "f" * 12}))
    assert cli("explain", "phase", "--data", tiny, "--out", out, "--one-way").code == 0
    assert cli("run", "-m", "bicubic", "-d", other, "-o", reuse).code == 0
    before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
    words = ("explain", "phase", "--data", other, "--out", out, "--one-way", "--reuse", reuse)
    answer = cli(*words)
    assert answer.code == 2
    assert "holds the experiment on dataset 'tiny'" in answer.err
    assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before


def test_two_kinds_of_blur_or_of_data_do_not_share_a_folder(
    cli: Callable, tiny: Path, make_tiny: Callable, tmp_path: Path, only_bicubic: None
) -> None:
    words = ("explain", "phase", "--data", tiny, "--out", tmp_path / "out", "--twin")
    assert cli(*words, tmp_path / "bd15").code == 0
    answer = cli(*words, tmp_path / "bd16", "--degradation", "bd16")
    assert answer.code == 2
    assert "holds the experiment with bd15, not with bd16" in answer.err
    other = make_tiny(tmp_path / "other")
    meta = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps({**meta, "id": "f" * 12}))
    answer = cli(*words[:3], other, *words[4:], tmp_path / "twin")
    assert answer.code == 2
    assert "holds the experiment on dataset 'tiny'" in answer.err
    assert not (tmp_path / "twin").exists(), "refused before the work"
    answer = cli(*words, tmp_path / "x", "--degradation", "bd61")
    assert answer.code == 2
    assert "unknown degradation 'bd61'. Did you mean 'bd16'?" in answer.err


def test_the_dataset_must_be_the_centre_phase_one(
    cli: Callable, make_tiny: Callable, tmp_path: Path
) -> None:
    from fvsr_bench.spec import DEGRADATIONS

    root = make_tiny(tmp_path / "blurred", degradation=DEGRADATIONS["bd15"])
    answer = cli("explain", "phase", "--data", root, "--out", tmp_path / "x")
    assert answer.code == 2
    assert "give the one made by bi" in answer.err
