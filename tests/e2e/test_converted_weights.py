"""With a released checkpoint: convert it, evaluate it, and be told what it is made for."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch

from fvsr_bench import report
from fvsr_bench.registry import build, load_card, save_weights


@pytest.fixture
def released(project_root: Path, tmp_path: Path) -> Path:
    """Write a checkpoint as the PyTorch port of TecoGAN would: random, but in its layout."""
    path = project_root / "tests" / "parity" / "authors_code.py"
    spec = importlib.util.spec_from_file_location("authors_code", path)
    assert spec is not None
    assert spec.loader is not None
    authors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(authors)
    weights = authors.random_weights(authors.port_shapes(2, width=8), gain=0.5)
    torch.save(weights, tmp_path / "FRVSR_BD.pth")
    return tmp_path / "FRVSR_BD.pth"


def test_from_a_released_file_to_a_marked_table(cli, tiny, tmp_path, released, monkeypatch):
    monkeypatch.setattr(report, "render_figure5", lambda *_: {})
    out = tmp_path / "port.safetensors"
    told = cli(
        *("weights", "convert", released, "--method", "frvsr", "--degradation", "bd15"),
        *("--out", out),
    )
    assert told.code == 0, told.err
    assert "bd15, corner phase" in told.out
    args = ("run", "-m", f"frvsr@{out}", "-d", tiny, "-o", tmp_path / "results", "--limit", "1")
    cli(*args)  # the only row of the table is a refusal
    table = (tmp_path / "results" / "table2.md").read_text()
    assert "trained for bd15 (corner phase)" in table
    assert "--allow-mismatch" in table
    assert cli(*args, "--allow-mismatch").code == 0
    table = (tmp_path / "results" / "table2.md").read_text()
    rows = [line for line in table.splitlines() if re.match(r"\|[* ]*FRVSR", line)]
    assert len(rows) == 1, "the refusal gave way"
    assert "†" in rows[0].split("|")[1]
    manifests = [json.loads(p.read_text()) for p in (tmp_path / "results").rglob("frvsr-*.json")]
    assert {m["about"]["origin"] for m in manifests} == {"converted from FRVSR_BD.pth"}


def test_weights_of_another_scale_are_refused_even_so(cli, tiny, tmp_path, released, monkeypatch):
    """Frames of another size cannot be compared, whatever one allows."""
    monkeypatch.setattr(report, "render_figure5", lambda *_: {})
    out = tmp_path / "port.safetensors"
    args = ("weights", "convert", released, "--method", "frvsr", "--degradation", "bi")
    assert cli(*args, "--out", out).code == 0
    options = {"version": "tip", "scale": 2, "width": 8, "blocks": 1}
    card = load_card("frvsr", out)
    card = type(card)(**{**vars(card), "method": "sofvsr", "tag": "x2", "options": options})
    x2 = tmp_path / "x2.safetensors"
    save_weights(x2, build("sofvsr", options).state_dict(), card)
    cli("run", "-m", f"sofvsr@{x2}", "-d", tiny, "-o", tmp_path / "r", "--allow-mismatch")
    table = (tmp_path / "r" / "table2.md").read_text()
    assert "weights 'x2' enlarge x2, but the dataset's frames are x4 apart" in table
