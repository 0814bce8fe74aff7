"""The protocol grid, the shift report and the comparisons hold what the records hold."""

import json

import numpy as np
import pandas as pd
import pytest

from fvsr_bench.cli import run
from fvsr_bench.compare import Margin, compare_runs, find_run, verdict
from fvsr_bench.displacement import Shift
from fvsr_bench.errors import FvsrError, UsageError
from fvsr_bench.explain.finding import PAPER, answer, find
from fvsr_bench.explain.number import find_origin, origin_text
from fvsr_bench.protocols import GRID_COLOURS, PRESETS, protocol
from fvsr_bench.records import read_records
from fvsr_bench.report import write_report
from fvsr_bench.report.protocol_grid import conventions, grid_rows, protocol_grids
from fvsr_bench.report.results import load_results
from fvsr_bench.report.shift import shift_rows
from fvsr_bench.spec import FAPN_PROTOCOL
from fvsr_bench.statistics import Estimate, wilcoxon


@pytest.fixture(scope="module")
def results(grid_folder):
    return load_results(grid_folder)


@pytest.fixture(scope="module")
def grids(results):
    return protocol_grids(results)


def test_the_grid_has_every_combination_once():
    for metric in ("psnr", "ssim"):
        every = conventions(metric)
        assert len({c.name for c in every}) == len(every) == 3 * 3 * 3 * 2
        assert every[0].protocol.measure_key() == FAPN_PROTOCOL.measure_key()
        assert {c.axes["colour"] for c in every} == set(GRID_COLOURS)


def test_a_cell_of_the_grid_is_the_plain_mean_of_its_records(grids, grid_folder):
    rows = pd.DataFrame(grid_rows(grids))
    raw = read_records(grid_folder / "records")
    cell = rows.query("metric == 'psnr' and colour == 'y-studio' and crop == '8'")
    cell = cell.query("frames == 'drop-2-2' and average == 'pooled' and run_id == '000000000001'")
    mine = raw.query("run_id == '000000000001' and metric == 'psnr' and frame >= 2 and frame <= 9")
    mine = mine[mine["protocol"] == "y-studio-c8"]
    mse = (255**2 * 10 ** (-mine["value"] / 10)).groupby(mine["clip"], observed=True).mean()
    expected = (10 * np.log10(255**2 / mse)).mean()
    assert cell["mean"].item() == pytest.approx(expected, abs=1e-6)
    ssim = rows.query("metric == 'ssim' and colour == 'y-full' and crop == '4'")
    ssim = ssim.query("frames == 'first-10' and window == 'uniform7' and run_id == '000000000002'")
    mine = raw.query("run_id == '000000000002' and metric == 'ssim' and frame < 10")
    mine = mine[mine["protocol"] == "y-full-c4-uniform7"]
    assert ssim["mean"].item() == pytest.approx(mine["value"].mean(), abs=1e-6)


def test_rankings_and_steps_are_those_of_the_means(grids):
    psnr = grids[0]
    steps = psnr.steps()
    assert set(steps) == {
        *("colour: y-studio", "colour: y-full", "crop: 4", "crop: 8"),
        *("frames: drop-2-2", "frames: first-10", "average: pooled"),
    }
    np.testing.assert_allclose(steps["colour: y-studio"], 1.4)  # the fixture's formula
    assert list(psnr.ranks.iloc[0]) == sorted(psnr.ranks.iloc[0])  # best first by default
    for pair in psnr.pairs:
        ahead = (psnr.means[pair.a] > psnr.means[pair.b]).sum()
        assert (pair.a_ahead, pair.b_ahead) == (ahead, len(psnr.means) - ahead)
        assert pair.a_resolved <= pair.a_ahead
    same = [list(np.argsort(-row)) == list(range(6)) for row in psnr.means.to_numpy()]
    assert psnr.same_order == sum(same) < len(same)


def test_command_prints_the_grid_and_writes_it(grid_results, tmp_path, capsys):
    root = grid_results(tmp_path, clips=3)
    assert run(["report", "--protocol-grid", "--results", str(root)]) == 0
    out = capsys.readouterr().out
    assert "moves by" in out
    assert "The order of the 6 methods under the default convention holds in" in out
    assert (root / "protocol-grid.csv").read_text().count("\n") == 1 + 2 * 54 * 6


def test_a_displaced_method_is_named_with_cause_and_fix(grid_results, tmp_path):
    root = grid_results(tmp_path, clips=3)
    write_report(root)
    rows = {row.manifest.model: row for row in shift_rows(load_results(root))}
    assert rows["tecogan"].shift == Shift(dx=1.5, dy=1.5)
    assert (rows["tecogan"].above, rows["tecogan"].clips) == (3, 3)
    assert rows["bicubic"].warning is None
    for name in ("table2.md", "shift.md"):
        text = (root / name).read_text(encoding="utf-8")
        assert text.count("between the two decimation phases") == 1
        assert "use weights or a dataset of the same degradation" in text
    assert "+4.50 dB" in (root / "table2.md").read_text(encoding="utf-8")


def test_comparison_is_paired_by_clip_and_says_what_it_rests_on(results):
    a, b = find_run(results, "fapn"), find_run(results, "sofvsr@bi")
    (c,) = compare_runs(results, [(a, b)], FAPN_PROTOCOL, ["psnr"])
    raw = results.records
    rows = raw[(raw["metric"] == "psnr") & (raw["protocol"] == "rgb-c0")]
    wide = rows.groupby(["clip", "run_id"], observed=True)["value"].mean().unstack()
    d = (wide[a.run_id] - wide[b.run_id]).to_numpy()
    assert c.difference.mean == pytest.approx(d.mean())
    assert c.p == c.p_holm == wilcoxon(d)
    assert (c.winner, c.subjects, c.wins) == ("a", 7, (d > 0).sum())
    assert c.margin.value == 0.31
    line = verdict(c)
    assert line.startswith("PSNR: fapn@bi is better than sofvsr@bi: +")
    assert "14 clips of 7 subjects" in line
    assert f"takes {c.needed_clustered} clips" in line


def test_holm_runs_over_everything_that_was_asked(results):
    a = find_run(results, "fapn")
    pairs = [(a, find_run(results, name)) for name in ("sofvsr", "frvsr", "bicubic")]
    alone = compare_runs(results, pairs[:1], FAPN_PROTOCOL, ["psnr"])[0]
    together = compare_runs(results, pairs, FAPN_PROTOCOL, ["psnr", "face"])[0]
    assert alone.p == together.p
    assert together.p_holm >= alone.p_holm


def test_equal_methods_are_not_resolved(results):
    pair = (find_run(results, "sofvsr"), find_run(results, "frvsr"))
    margin = {"psnr": Margin(value=0.05, where="-")}
    (c,) = compare_runs(results, [pair], protocol("sofvsr"), ["psnr"], margin)
    assert c.winner == ""
    assert "no difference between sofvsr@bi and frvsr@bi is resolved" in verdict(c)
    assert c.needed > 14  # 14 clips are too few for a margin of half a standard deviation


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fapm", "Did you mean 'fapn'"),
        ("fapn@best", "Did you mean|Known"),
        ("fapn:-nic", "Did you mean|Known"),
    ],
)
def test_an_unknown_run_is_named_with_the_known_ones(results, word, message):
    with pytest.raises(UsageError, match=message):
        find_run(results, word)


def test_runs_are_found_by_weights_and_by_id(results):
    assert find_run(results, "fapn:no-nic").run_id == f"{10:012x}"
    assert find_run(results, "fapn:no-nic@bi-no-nic").run_id == f"{10:012x}"
    assert find_run(results, "00000000000b").weights == "bi-no-fsrc-no-nic"
    assert find_run(results, "fapn").weights == "bi"


def test_compare_command(grid_folder, capsys):
    words = ["compare", "fapn", "all", "--runs", str(grid_folder), "--metric", "psnr", "--json"]
    assert run(words) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 7
    assert {"verdict", "p_holm", "cohen_dz", "clips_needed", "run_a"} <= set(rows[0])
    assert run([*words[:2], "fapn", *words[3:]]) == 2
    assert "names no run other than fapn" in capsys.readouterr().err
    assert run([*words[:2], "sofvsr", *words[3:5], "--metric", "psnr,ssim", "--margin", "1"]) == 2


@pytest.mark.parametrize(
    ("gap", "expected"),
    [
        ((-4.7, -5.2, -4.2), "supported"),
        ((-2.0, -2.5, -1.5), "too small"),
        ((-8.0, -8.5, -7.5), "too large"),
        ((-3.0, -5.0, -1.0), "not resolved"),
        ((-5.6, -5.9, -5.3), "not resolved"),  # the interval leaves the band of 1 dB
    ],
)
def test_phase_hypothesis_is_judged_by_the_gap_to_vespcn(gap, expected):
    mean, low, high = gap
    paper = PAPER["frvsr"][0] - PAPER["vespcn"][0]
    assert paper == pytest.approx(-4.75)
    assert answer(Estimate(mean=mean, low=low, high=high, clips=9), paper) == expected
    assert answer(None, paper) == "not tested"


def test_phase_finding_says_which_network_is_missing(results):
    finding = find({"bi": results}, FAPN_PROTOCOL)
    frvsr = next(test for test in finding.tests if test.method == "frvsr")
    assert frvsr.answer == "not tested"
    assert frvsr.missing == ("frvsr, weights made for BD frames",)
    assert frvsr.matched_gap is not None
    raw = results.records
    rows = raw[(raw["metric"] == "psnr") & (raw["protocol"] == "rgb-c0")]
    mean = rows.groupby("run_id", observed=True)["value"].mean()
    gap = mean[f"{4:012x}"] - mean[f"{3:012x}"]  # FRVSR minus VESPCN
    assert frvsr.matched_gap.mean == pytest.approx(gap)
    assert len(finding.levels) == 8


def test_results_without_records_say_how_to_get_them(tmp_path):
    with pytest.raises(FvsrError, match="fvsr-bench run"):
        load_results(tmp_path)


@pytest.mark.parametrize("metric", ["psnr", "ssim"])
def test_a_number_is_traced_to_its_convention(results, grids, metric):
    grid = next(g for g in grids if g.metric.name == metric)
    run_id = str(grid.means.columns[0])
    run = next(m for m in results.complete if m.run_id == run_id)
    wanted = grid.conventions[-1].name
    found = find_origin(results, run, metric, float(grid.means.loc[wanted, run_id]), 1e-9)
    assert wanted in {r.convention for r in found.near}
    by_name = {r.convention: r.value for r in found.readings}
    expected = {**grid.means[run_id].to_dict(), **grid.presets[run_id].to_dict()}
    assert by_name == pytest.approx(expected)
    assert found.default == pytest.approx(float(grid.means[run_id].iloc[0]))
    far = find_origin(results, run, metric, 99.0)
    assert not far.near
    assert "no convention gives it; the nearest is" in origin_text(far, "")


def test_the_command_answers_and_refuses(grid_folder, capsys):
    words = ["explain", "number", "31.06", "fapn", "--results", str(grid_folder)]
    assert run([*words, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == 54 + len(PRESETS)
    assert run(words) == 0
    assert "conventions give it" in capsys.readouterr().out
    assert run([*words, "--metric", "psn"]) == 2
    assert "Did you mean 'psnr'?" in capsys.readouterr().err
