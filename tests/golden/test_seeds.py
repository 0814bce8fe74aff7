"""A second seed stands in a table of its own and moves no other."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from fvsr_bench.compare import find_run
from fvsr_bench.errors import DataError
from fvsr_bench.records import write_table
from fvsr_bench.report import load_results, render_figure5, write_report
from fvsr_bench.report.figures import Curve, looks
from fvsr_bench.report.html import write_page
from fvsr_bench.report.tables import ONLY_OTHERS

SAME = ("table2.md", "table2.csv", "fig5.csv")


def test_a_second_seed_is_compared_with_the_first_and_nothing_else(
    synthetic: Callable, add_seed: Callable, tmp_path: Path
) -> None:
    root = synthetic(tmp_path / "results")
    write_report(root)
    assert not (root / "seeds.md").exists()
    before = {name: (root / name).read_text() for name in SAME}
    add_seed(root, "fapn", 0.125)
    write_report(root)
    assert {name: (root / name).read_text() for name in SAME} == before
    table = pd.read_csv(root / "seeds.csv")
    assert list(table["weights"].unique()) == ["bi", "bi-seed1"]
    second = table[(table["metric"] == "psnr") & (table["seed"] == "seed1")].iloc[0]
    first = table[(table["metric"] == "psnr") & (table["seed"] == "seed0")].iloc[0]
    assert second["to_seed0"] == pytest.approx(second["mean"] - first["mean"], abs=2e-6)
    assert second["to_seed0"] == pytest.approx(0.125, abs=0.02)  # the formula has a small wave
    assert re.search(r"\| FAPN +\| +1 \|", (root / "seeds.md").read_text())


def test_runs_of_a_seed_are_found_by_their_weights(
    synthetic: Callable, add_seed: Callable, tmp_path: Path
) -> None:
    root = synthetic(tmp_path / "results")
    add_seed(root, "fapn", 0.1)
    results = load_results(root)
    assert find_run(results, "fapn").weights == "bi"
    assert find_run(results, "fapn@bi").variant == "full"
    assert find_run(results, "fapn@bi-seed1").variant == "seed1"
    assert find_run(results, "fapn:seed1").weights == "bi-seed1"


def test_a_folder_with_other_seeds_only_is_rendered_and_says_so(
    synthetic: Callable, add_seed: Callable, tmp_path: Path
) -> None:
    root = synthetic(tmp_path / "results")
    for folder in ("manifests", "records"):
        for path in [*(root / folder).glob("*-0*"), *(root / folder).glob("broken-*")]:
            path.unlink()
    add_seed(root, "fapn", 0.1)
    _, paths = write_report(root)
    assert "fig5.png" not in [path.name for path in paths]
    assert ONLY_OTHERS in (root / "table2.md").read_text()
    page = write_page(root).read_text(encoding="utf-8")
    assert ONLY_OTHERS in page
    assert "No method has numbers yet" not in page
    with pytest.raises(DataError, match=r"Only other seeds and ablated networks.*fvsr-bench run"):
        render_figure5(load_results(root))


def test_a_run_at_reduced_precision_is_taken_only_when_it_is_named(
    synthetic: Callable, add_seed: Callable, tmp_path: Path
) -> None:
    root = synthetic(tmp_path / "results")
    for name, variant in (("fapn", "full-bf16"), ("vespcn", "full-bf16"), ("vespcn", "no-nic")):
        add_run(root, name, variant)
    add_seed(root, "fapn", 0.1)
    results = load_results(root)
    assert find_run(results, "fapn@bi").variant == "full"
    assert find_run(results, "fapn@bi-seed1").variant == "seed1"
    assert find_run(results, "fapn:full-bf16").variant == "full-bf16"
    assert find_run(results, "fapn:full-bf16@bi").variant == "full-bf16"
    assert find_run(results, "vespcn@bi").variant == "no-nic"  # an ablation's own run, as before
    for path in (root / "manifests").glob("fapn-*.json"):
        if json.loads(path.read_text())["variant"] == "full":
            path.unlink()
    assert find_run(load_results(root), "fapn@bi").variant == "full-bf16"  # there is no other


def add_run(root: Path, name: str, variant: str) -> None:
    """Copy a method's run under another variant and run id."""
    path = next(p for p in (root / "manifests").glob(f"{name}-0*.json"))
    manifest = json.loads(path.read_text())
    run_id = hashlib.sha256(f"{name}{variant}".encode()).hexdigest()[:12]
    records = pd.read_parquet(root / "records" / f"{path.stem}.parquet")
    records["run_id"] = records["run_id"].cat.rename_categories([run_id])
    write_table(pa.Table.from_pandas(records), root / "records" / f"{name}-{run_id}.parquet")
    new = {**manifest, "run_id": run_id, "variant": variant}
    (root / "manifests" / f"{name}-{run_id}.json").write_text(json.dumps(new))


def test_two_weights_of_one_method_are_told_apart_in_the_figure() -> None:
    def curve(title: str) -> Curve:
        return Curve(title=title, model="tecogan", run_id=title, frames=(0,), values=(30.0,))

    first, second = looks([curve("TecoGAN (bi)"), curve("TecoGAN (bi-gan)")])
    assert first["color"] != second["color"]
    assert first["marker"] != second["marker"]
