"""The ledger is complete, its arithmetic is the paper's, and its verdicts follow their rules."""

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fvsr_bench.claims import judge, judge_folder, load_ledger, lookup
from fvsr_bench.claims.arithmetic import check
from fvsr_bench.claims.ledger import Claim, Mean, Paired
from fvsr_bench.claims.lookup import Source, gather, stands_for
from fvsr_bench.claims.rules import RULES, Evidence, Item, Verdict, judge_measured
from fvsr_bench.claims.text import files, html_section
from fvsr_bench.compare import HEADLINE
from fvsr_bench.errors import DataError
from fvsr_bench.report.results import load_results
from fvsr_bench.spec import FAPN_PROTOCOL
from fvsr_bench.statistics import Estimate

LEDGER = load_ledger()
BY_ID = {j.claim.id: j for j in judge(LEDGER, None).claims}


def test_every_table_cell_is_there_and_there_are_many_sentences():
    cells = Counter(claim.id[:2] for claim in LEDGER.claim if claim.kind == "cell")
    assert cells == {"t1": 6, "t2": 15, "t3": 9, "t4": 12}
    assert len(LEDGER.claim) - sum(cells.values()) >= 50
    assert all(claim.where and claim.quote for claim in LEDGER.claim)


@pytest.mark.parametrize(
    ("claim", "verdict", "words"),
    [
        ("abstract.psnr-gain", "misworded", "31.06 - 30.75 = 0.31"),  # smallest, not "up to"
        ("abstract.ssim-gain", "contradicts", "0.924 - 0.917 = 0.007 ≠ 0.15"),
        ("abstract.ssim-gain", "contradicts", "SSIM has no unit"),
        ("abstract.face-gain", "misworded", "(0.201 - 0.197) / 0.201 * 100 = 1.99"),
        ("abstract.face-gain", "misworded", "called accuracy"),
        ("s43.psnr-gain", "follows", "0.31 ≥ 0.31"),
        ("s43.face-gain", "follows", "1.99"),
        ("s44.loss-gain.psnr", "misworded", "31.00 - 30.92 = 0.08"),
        ("s44.loss-gain.ssim", "follows", "0.913 - 0.913 = 0.000"),
        ("s44.loss-gain.face", "misworded", "(0.206 - 0.203) / 0.206 * 100 = 1.46"),
        ("s44.over-v1.psnr", "follows", "30.26 - 29.58 = 0.68"),
        ("s44.over-v1.ssim", "misworded", "0.922 - 0.918 = 0.004"),
        ("s44.over-v1.face", "follows", "0.197 - 0.192 = 0.005"),
        ("cross.full-model.psnr", "contradicts", "31.06 ≠ 30.26 ≠ 31.00"),
        ("data.sequences-total", "follows", "340 + 15 + 45 = 400"),
        ("t1.frames.training", "follows", "340 * 32 = 10880"),
        ("s43.exceeds-0.25.frvsr", "follows", "0.276 > 0.25"),
        ("fig5.best-in-each-frame", "stands alone", ""),
        ("t2.psnr.ours", "stands alone", ""),
        ("t2.ssim.ours", "misworded", "SSIM has no unit"),
    ],
)
def test_arithmetic_by_hand(claim, verdict, words):
    found = BY_ID[claim].arithmetic
    assert found.verdict == verdict
    assert words in found.detail


def test_one_changed_cell_changes_the_verdicts_that_rest_on_it(tmp_path):
    import fvsr_claims

    text = Path(fvsr_claims.__file__).with_name("fapn.toml").read_text(encoding="utf-8")
    cell = text.index('id = "t2.psnr.sofvsr"')
    changed = text[:cell] + text[cell:].replace('value = "30.75"', 'value = "30.85"', 1)
    path = tmp_path / "changed.toml"
    path.write_text(changed, encoding="utf-8")
    now = {j.claim.id: j.arithmetic.verdict for j in judge(load_ledger(path), None).claims}
    moved = {name for name, verdict in now.items() if verdict != BY_ID[name].arithmetic.verdict}
    gains = {f"{place}.psnr-gain" for place in ("abstract", "intro", "conclusion", "s43")}
    assert moved == gains
    assert {now[name] for name in gains} == {"contradicts"}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("t2.psnr.ours - t2.psnr.sofvsr == 0.3", True),  # rounded to the decimals on the right
        ("t2.psnr.ours - t2.psnr.sofvsr == 0.30", False),
        ("max(t2.psnr.frvsr, t2.psnr.tecogan) < 26 < t2.psnr.ours", True),
        ("t2.ssim.frvsr != t3.ssim.basicnet_v2", False),
        ("abs(t2.psnr.tecogan - 25) * 2 <= 0.3", True),
    ],
)
def test_conditions(text, holds):
    assert check(text, LEDGER.cells, "x").holds == holds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("t2.psnr.our > 1", "Did you mean 't2.psnr.ours'"),
        ("t2.psnr.ours", "compares nothing"),
        ("t2.psnr.ours >", "cannot read"),
        ("__import__('os').system('true') == 0", "not allowed"),
        ("t2.psnr.ours ** 2 > 1", "not allowed"),
    ],
)
def test_what_is_no_condition_is_refused(text, words):
    with pytest.raises(DataError, match=words.replace("(", r"\(")):
        check(text, LEDGER.cells, "x")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('metric = "sequences"', 'metrik = "sequences"', "metrik"),
        ('kind = "cell"', 'kind = "sell"', "t1.sequences.training"),
        ('better = "ours"', 'better = "our"', "Did you mean 'ours'"),
        ('id = "t1.frames.training"', 'id = "t1.sequences.training"', "two claims"),
        ('value = "340"', 'value = "many"', "no number"),
        ("[paper]", "[paper", "not valid TOML"),
    ],
)
def test_a_damaged_ledger_is_one_clear_error(tmp_path, old, new, words):
    import fvsr_claims

    text = Path(fvsr_claims.__file__).with_name("fapn.toml").read_text(encoding="utf-8")
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=words) as error:
        load_ledger(path)
    assert "bad.toml" in str(error.value)


def est(mean: float, low: float, high: float) -> Estimate:
    return Estimate(mean=mean, low=low, high=high, clips=45)


def made(kind: str, value: str = "", **measured: object) -> Claim:
    how = Mean(type="mean", of="ours", **measured) if kind in ("cell", "level") else None
    how = how or Paired(type="paired", better="ours", than=("sofvsr",), **measured)
    return Claim(id="x", kind=kind, where="-", quote="-", metric="psnr", value=value, measured=how)


@pytest.mark.parametrize(
    ("claim", "interval", "same_data", "verdict"),
    [
        (made("cell", "31.06"), (31.0, 30.5, 31.5), True, "reproduced"),
        (made("cell", "31.06"), (31.0, 30.9, 31.055), True, "reproduced"),  # within rounding
        (made("cell", "31.06"), (30.0, 29.5, 30.5), True, "contradicted"),
        (made("cell", "31.06"), (31.06, 31.0, 31.1), False, "not comparable: other data"),
        (made("level", "0.25", above=True), (0.3, 0.26, 0.34), True, "reproduced"),
        (made("level", "0.25", above=True), (0.26, 0.24, 0.28), True, "not resolved by this data"),
        (made("level", "25", within="0.5"), (27.0, 26.0, 28.0), True, "contradicted"),
        (made("ranking"), (0.2, 0.1, 0.3), False, "reproduced"),
        (made("ranking"), (0.2, -0.1, 0.5), False, "not resolved by this data"),
        (made("ranking"), (-0.2, -0.3, -0.1), False, "contradicted"),
        (made("difference", "0.31"), (0.3, 0.2, 0.4), False, "reproduced"),
        (made("difference", "0.31"), (0.1, 0.05, 0.2), False, "not resolved by this data"),
        (made("difference", "0.31"), (0.1, 0.05, 0.2), True, "contradicted"),
        (made("difference", "0.31"), (0.6, 0.5, 0.7), True, "contradicted"),
        (made("difference", "0.31", at_least=True), (0.6, 0.5, 0.7), True, "reproduced"),
        (made("difference", "0.31"), (0.3, -0.1, 0.7), False, "not resolved by this data"),
        (made("difference", "0.31"), (-0.3, -0.5, -0.1), False, "contradicted"),
        (made("difference", "0.000"), (0.0, -0.0009, 0.0008), False, "reproduced"),
        (made("difference", "0.000"), (0.004, 0.002, 0.006), False, "contradicted"),
        (made("difference", "0.000"), (0.0, -0.004, 0.004), False, "not resolved by this data"),
    ],
)
def test_rules(claim, interval, same_data, verdict):
    item = Item(label="-", estimate=est(*interval), strict=est(*interval))
    assert judge_measured(claim, Evidence(items=(item,)), same_data) == verdict


def test_a_ranking_with_a_missing_method_can_be_contradicted_but_not_reproduced():
    good = Item(label="-", estimate=est(1, 0.5, 1.5), strict=est(1, 0.4, 1.6))
    bad = Item(label="-", estimate=est(-1, -1.5, -0.5), strict=est(-1, -1.6, -0.4))
    lone = Evidence(items=(good,), missing=("SOF-VSR",))
    assert judge_measured(made("ranking"), lone, False) == Verdict.NOT_TESTED
    worse = Evidence(items=(good, bad), missing=("SOF-VSR",))
    assert judge_measured(made("ranking"), worse, False) == Verdict.CONTRADICTED
    assert judge_measured(made("ranking"), Evidence(), True) == Verdict.NOT_TESTED


def test_every_kind_has_a_rule_in_words():
    assert set(RULES) == {claim.kind for claim in LEDGER.claim}
    assert all(len(rule.words) > 40 for rule in RULES.values())


def test_verdicts_on_records(grid_folder):
    found = {j.claim.id: j for j in judge_folder(grid_folder).claims}
    assert found["s43.best.face"].measured == Verdict.REPRODUCED
    assert found["t2.order.psnr"].measured == Verdict.CONTRADICTED  # FRVSR is above VESPCN here
    assert found["s44.full-best.psnr"].measured == Verdict.REPRODUCED
    assert found["s44.v2-worst.psnr"].measured == Verdict.CONTRADICTED
    assert found["s44.over-v1.psnr"].measured == Verdict.NOT_RESOLVED  # 0.85 dB, not 0.68
    assert found["fig5.best-in-each-frame"].measured == Verdict.CONTRADICTED  # in the first
    assert found["s43.needs-frames"].measured == Verdict.REPRODUCED
    assert found["t2.psnr.ours"].measured == Verdict.OTHER_DATA
    assert found["t4.psnr.mse_gan"].measured == Verdict.NOT_TESTED
    assert found["t4.psnr.mse"].evidence.runs == (f"{1:012x}",)  # trained with mse alone
    best = found["s43.best.psnr"]
    assert best.evidence.runs == tuple(f"{k:012x}" for k in (1, 2, 4, 5, 3))
    over_v1 = found["s44.over-v1.psnr"].evidence
    assert over_v1.runs == (f"{1:012x}", f"{11:012x}")
    assert over_v1.items[0].estimate.mean == pytest.approx(0.85, abs=0.1)


def test_tecogan_is_not_its_generator_alone(grid_results, tmp_path):
    root = grid_results(tmp_path, clips=6)
    found = {j.claim.id: j for j in judge_folder(root).claims}
    assert found["s43.tecogan-poor.psnr"].evidence.runs
    (path,) = (root / "manifests").glob("tecogan*.json")
    path.write_text(path.read_text().replace("mse+tgan", "mse"))
    found = {j.claim.id: j for j in judge_folder(root).claims}
    poor = found["s43.tecogan-poor.psnr"]
    assert poor.measured == Verdict.NOT_TESTED
    assert poor.evidence.missing == ("TecoGAN: only networks trained without tgan",)
    path.write_text(path.read_text().replace('"mse"', '""'))  # its authors' own: nobody wrote down
    found = {j.claim.id: j for j in judge_folder(root).claims}
    assert found["s43.tecogan-poor.psnr"].evidence.runs


@pytest.mark.parametrize(
    ("variant", "weights", "stands"),
    [
        ("no-nic", "bi-no-nic", True),
        ("full", "bi-no-nic", True),  # by `run --models fapn@bi-no-nic`
        ("no-hidden-state-no-nic", "bi-no-hidden-state-no-nic", False),
        ("seed1", "bi-no-nic-seed1", False),
        ("no-fsrc-no-nic", "bi-no-fsrc-no-nic", False),
        ("no-nic-bf16", "bi-no-nic", False),
    ],
)
def test_a_basicnet_lacks_its_parts_and_no_others(grid_folder, variant, weights, stands):
    run = next(m for m in load_results(grid_folder).complete if m.model == "fapn")
    run = dataclasses.replace(run, variant=variant, weights=weights)
    assert stands_for(run, LEDGER.methods["basicnet_v2"]) is stands


def test_of_a_distance_less_is_better_in_single_frames_too(grid_folder):
    source = Source(ledger=LEDGER, results=load_results(grid_folder), protocol=FAPN_PROTOCOL)
    for name in ("s43.needs-frames", "fig5.best-in-each-frame"):
        claim = BY_ID[name].claim
        rows = source.results.records
        lower = dataclasses.replace(source.results, records=rows.assign(value=-rows["value"]))
        found = gather(claim, source).items
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lookup, "LOWER_IS_BETTER", frozenset({"psnr"}))
            turned = gather(claim, dataclasses.replace(source, results=lower)).items
        for item, same in zip(found, turned, strict=True):
            assert same.estimate.mean == pytest.approx(item.estimate.mean)


def test_absolute_numbers_are_judged_only_on_the_papers_data(grid_results, tmp_path):
    root = grid_results(tmp_path, name="300-VW", clips=6)
    judgement = judge_folder(root)
    assert judgement.same_data
    found = {j.claim.id: j.measured for j in judgement.claims}
    assert found["t1.sequences.training"] == Verdict.REPRODUCED  # 340 here too
    assert found["t1.sequences.testing"] == Verdict.CONTRADICTED  # 6 clips
    assert found["t2.psnr.ours"] == Verdict.REPRODUCED
    assert found["t2.psnr.frvsr"] == Verdict.CONTRADICTED
    assert found["s43.about-25.frvsr"] == Verdict.CONTRADICTED


def test_relative_gain_is_that_of_the_means(grid_folder):
    judgement = judge_folder(grid_folder)
    gain = next(j for j in judgement.claims if j.claim.id == "s43.face-gain")
    cells = {
        j.claim.id: j.evidence.items[0].estimate.mean
        for j in judgement.claims
        if j.claim.id in ("t2.face.ours", "t2.face.sofvsr")
    }
    ours, theirs = cells["t2.face.ours"], cells["t2.face.sofvsr"]
    assert gain.evidence.items[0].estimate.mean == pytest.approx(100 * (theirs - ours) / theirs)


def test_output_is_the_same_bytes_and_holds_every_claim(grid_folder):
    first, second = files(judge_folder(grid_folder)), files(judge_folder(grid_folder))
    assert first == second
    rows = list(csv.DictReader(first["claims.csv"].splitlines()))
    assert [row["id"] for row in rows] == [claim.id for claim in LEDGER.claim]
    page = html_section(judge_folder(grid_folder))
    for claim in LEDGER.claim:
        assert f"| {claim.id} |" in first["claims.md"]
        assert f'id="claim-{claim.id}"' in page
    assert "<script" not in page
    numbers = [row["estimate"] for row in rows if row["estimate"]]
    assert np.isfinite(np.array(numbers, float)).all()


def test_command_writes_files_and_prints_json(grid_results, tmp_path, capsys):
    from fvsr_bench.cli import run

    root = grid_results(tmp_path, clips=3)
    assert run(["claims", "--results", str(root), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert sum(shown["counts"]["measured"].values()) == len(LEDGER.claim)
    assert (root / "claims.md").exists()
    assert (root / "claims.csv").exists()
    assert run(["claims", "--arithmetic"]) == 0
    out = capsys.readouterr().out
    assert "0.924 - 0.917 = 0.007 ≠ 0.15" in " ".join(out.split())


def test_headline_margins_are_those_of_the_ledger():
    cells = {name: float(cell.value) for name, cell in LEDGER.cells.items()}
    for metric, margin in HEADLINE.items():
        gain = abs(cells[f"t2.{metric}.ours"] - cells[f"t2.{metric}.sofvsr"])
        assert margin.value == pytest.approx(gain)
