"""With a released checkpoint: convert it, evaluate it, and be told what it is made for."""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import pytest
import torch

from fvsr_bench import report
from fvsr_bench.registry import build, load_card, load_model, save_weights, steps_before
from fvsr_bench.spec import ModelCard


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


CARD = ModelCard(
    **{"method": "dummy", "tag": "", "sha256": "", "options": {}, "degradation": "bi"},
    **{"phase": "centre", "origin": "-", "licence": "MIT", "data": "-", "recipe": {}, "steps": 0},
    **{"seed": 0, "minutes": 0.0, "validation": {}, "notes": ""},
)
OWN = '''
"""Mine: trained elsewhere."""
import torch
from torch import nn
from fvsr_bench.spec import ModelSpec

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.BatchNorm2d(48))
    def forward(self, lr):
        sr = nn.functional.pixel_shuffle(self.model(lr.flatten(0, 1)), 4)
        return sr.unflatten(0, lr.shape[:2])

SPEC = ModelSpec(build=Net, title="Mine", reference="-", licence="MIT", lookahead=0)
'''


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_method_of_ones_own_with_its_own_checkpoint(
    cli, tiny, tmp_path, prefix, monkeypatch: pytest.MonkeyPatch
):
    """Trained elsewhere; with BatchNorm's counters, and the network inside `self.model`."""
    monkeypatch.setattr(report, "render_figure5", lambda *_: {})
    method = tmp_path / "mine_net.py"
    method.write_text(OWN)
    torch.manual_seed(3)
    network = build(str(method))
    network(torch.rand(1, 2, 3, 8, 8))  # moves the running means
    state = {f"{prefix}{name}": value for name, value in network.state_dict().items()}
    torch.save({"params": state}, tmp_path / "net.pth")
    refused = cli("run", "-m", f"{method}@{tmp_path / 'net.pth'}", "-d", tiny, "-o", tmp_path / "r")
    advised = f"weights convert {tmp_path / 'net.pth'} --method {method}"
    assert advised in " ".join((refused.out + refused.err).split()), "the advice can be followed"
    convert = ("weights", "convert", tmp_path / "net.pth", "--method", method)
    out = ("--out", method.with_suffix(".safetensors"))
    assert "--degradation bi|bd15|bd16" in " ".join(cli(*convert, *out).err.split())
    told = cli(*convert, *out, "--degradation", "bi", "--licence", "CC-BY-4.0")
    assert told.code == 0, told.err
    assert load_card(str(method)).licence == "CC-BY-4.0"
    loaded = load_model(str(method))
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    assert cli("run", "-m", method, "-d", tiny, "-o", tmp_path / "r").code == 0


def test_a_method_without_weights_takes_none(cli, tmp_path):
    torch.save({"x": torch.ones(1)}, tmp_path / "x.pth")
    done = cli(
        *("weights", "convert", tmp_path / "x.pth", "--method", "bicubic"),
        *("--out", tmp_path / "x.safetensors"),
    )
    assert done.code == 2
    assert "'bicubic' has no weights" in done.err


def test_steps_before_are_those_of_the_weights_that_were_started_from(tmp_path, monkeypatch):
    monkeypatch.setenv("FVSR_BENCH_WEIGHTS", str(tmp_path))
    state, start = build("dummy").state_dict(), {}
    for tag, steps, total in (("a", 10, 0), ("b", 20, 10), ("c", 30, 30)):
        card = dataclasses.replace(CARD, tag=tag, recipe={"steps": steps}, made_from=start)
        state["conv.bias"] += 1
        card = save_weights(tmp_path / "dummy" / f"{tag}.safetensors", state, card)
        assert steps_before(card) == total
        start = {"start": card.sha256}
    (tmp_path / "dummy" / "0.safetensors").write_bytes(b"broken")
    assert steps_before(card) == 30, "a neighbour without a card stops nothing"
    (tmp_path / "dummy" / "a.safetensors").unlink()
    assert steps_before(card) == 20, "what is not there is not counted"
