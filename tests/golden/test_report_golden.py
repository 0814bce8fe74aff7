"""Tables, curves and figures are pure functions of the records and do not drift.

After a wanted change: `FVSR_UPDATE_GOLDEN=1 pytest tests/golden`, then look at the diff of
tests/golden/expected. The numbers come from the formulas in conftest.py, not from a network.
"""

import csv
import difflib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fvsr_bench.protocols import protocol
from fvsr_bench.records import read_table, write_table
from fvsr_bench.report import write_report

EXPECTED = Path(__file__).parent / "expected"
FAPN, SOFVSR = protocol("fapn"), protocol("sofvsr")
WORDS = "demo: animated photographs, not 300-VW"


def check(name: str, text: str) -> None:
    path = EXPECTED / name
    if os.environ.get("FVSR_UPDATE_GOLDEN"):
        EXPECTED.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    old = path.read_text(encoding="utf-8")
    diff = difflib.unified_diff(old.splitlines(), text.splitlines(), "expected", "now", lineterm="")
    assert old == text, "\n".join(diff)


@pytest.fixture(scope="module")
def rendered(synthetic, tmp_path_factory) -> Path:
    """Return a results folder of demo data, rendered under the default protocol."""
    root = synthetic(tmp_path_factory.mktemp("rendered"))
    write_report(root, FAPN)
    return root


@pytest.mark.parametrize("name", ["table1.csv", "table1.md", "table2.csv", "table2.md", "fig5.csv"])
def test_tables_and_points_do_not_drift(name, rendered):
    check(name, (rendered / name).read_text(encoding="utf-8"))


def test_another_protocol_is_written_beside_the_default_one(synthetic, tmp_path):
    write_report(synthetic(tmp_path), FAPN)
    before = (tmp_path / "table2.md").read_bytes()
    write_report(tmp_path, SOFVSR)
    assert (tmp_path / "table2.md").read_bytes() == before
    check("table2-sofvsr.md", (tmp_path / "table2-sofvsr.md").read_text(encoding="utf-8"))


def test_same_records_give_the_same_bytes_in_another_process(synthetic, tmp_path):
    _, paths = write_report(synthetic(tmp_path), FAPN)
    before = {path: path.read_bytes() for path in paths}
    assert {p.suffix for p in paths} >= {".csv", ".md", ".png", ".svg"}
    code = "import sys; from fvsr_bench.cli import main; main()"
    env = {**os.environ, "PYTHONHASHSEED": "123", "TZ": "Asia/Tokyo"}
    for path in paths:
        path.unlink()
    subprocess.run(
        [sys.executable, "-c", code, "report", "--results", str(tmp_path)],
        env=env,
        check=True,
        capture_output=True,
    )
    assert {path: path.read_bytes() for path in paths} == before


def test_the_order_of_rows_and_files_does_not_matter(synthetic, tmp_path):
    root = synthetic(tmp_path)
    write_report(root, FAPN)
    before = (root / "table2.csv").read_text()
    for path in (root / "records").glob("*.parquet"):
        table = read_table(path)
        order = np.random.default_rng(1).permutation(len(table))
        write_table(table.take(order), path)
    write_report(root, FAPN)
    assert (root / "table2.csv").read_text() == before


@pytest.mark.parametrize("kind", ["demo", "faces"])
def test_demo_results_say_so_everywhere_and_others_never(kind, synthetic, tmp_path):
    write_report(synthetic(tmp_path, kind=kind), FAPN)
    names = ["table1.md", "table2.md", "fig5.svg", "fig5-all.svg"]
    found = {name: WORDS in (tmp_path / name).read_text(encoding="utf-8") for name in names}
    assert found == dict.fromkeys(names, kind == "demo")


def test_curve_points_equal_the_formula(rendered, synthetic_psnr):
    points = pd.read_csv(rendered / "fig5-all.csv")
    for method, rows in points.groupby("method"):
        expected = np.mean([synthetic_psnr(method, clip) for clip in range(4)], axis=0)
        assert rows["frame"].tolist() == list(range(1, 13))  # counted from 1, as in the paper
        np.testing.assert_allclose(rows["psnr"], expected, atol=1e-6)
    assert pd.read_csv(rendered / "fig5.csv")["frame"].max() == 10


def test_exactly_the_best_of_each_metric_is_bold(rendered):
    text = (rendered / "table2.md").read_text(encoding="utf-8")
    bold = [line for line in text.splitlines() if line.startswith("|") and "**" in line]
    assert len(bold) == 1
    assert bold[0].startswith("| FAPN")
    assert bold[0].count("**") == 6  # three cells: highest PSNR and SSIM, lowest distance


def test_a_broken_method_stands_in_the_table_with_its_reason(rendered):
    reason = "the model returned 3 values that are NaN or infinite"
    line = next(x for x in (rendered / "table2.md").read_text().splitlines() if "Broken" in x)
    assert reason in line
    with (rendered / "table2.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["method"] == "broken"]
    assert {row["status"] for row in rows} == {"failed"}
    assert all(row["ours"] == "" and reason in row["reason"] for row in rows)


def test_paired_differences_are_those_of_the_clips(rendered, synthetic_psnr):
    table = pd.read_csv(rendered / "table2.csv").query("metric == 'psnr'").set_index("method")
    best = [synthetic_psnr("fapn", clip).mean() for clip in range(4)]
    mine = [synthetic_psnr("vespcn", clip).mean() for clip in range(4)]
    assert table.loc["vespcn", "to_best"] == pytest.approx(np.mean(mine) - np.mean(best), abs=1e-6)
    assert table.loc["vespcn", "difference"] == pytest.approx(np.mean(mine) - 30.0, abs=1e-6)


@pytest.mark.parametrize(
    ("fapn", "vespcn", "expected"),
    [
        (0, 0, ""),
        (4000, 4000, "- Training: FAPN, VESPCN 4,000 steps."),
        (4000, 1200, "- Training: VESPCN 1,200 steps; FAPN 4,000 steps."),
    ],
)
def test_table_2_says_how_long_the_networks_were_trained(
    fapn, vespcn, expected, synthetic, tmp_path
):
    root = synthetic(tmp_path)
    for method, steps in (("fapn", fapn), ("vespcn", vespcn)):
        path = next((root / "manifests").glob(f"{method}-*.json"))
        manifest = json.loads(path.read_text())
        manifest["about"]["steps"] = steps
        path.write_text(json.dumps(manifest))
    write_report(root, FAPN)
    lines = (root / "table2.md").read_text(encoding="utf-8").splitlines()
    assert "".join(line for line in lines if "Training:" in line) == expected


def test_rendering_needs_no_torch(synthetic, tmp_path):
    code = (
        "import sys; from pathlib import Path; from fvsr_bench.report import write_report;"
        f"write_report(Path({str(synthetic(tmp_path))!r})); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
