"""docs/add-a-method.md is followed word by word: its file runs, beats bicubic, can be shipped."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fvsr_bench.registry import methods as methods_here

COMMAND = [sys.executable, "-m", "fvsr_bench"]


@pytest.fixture(scope="module")
def page(project_root: Path) -> str:
    return (project_root / "docs" / "add-a-method.md").read_text(encoding="utf-8")


def block(page: str, language: str, number: int = 0) -> str:
    """Return a code block of the page in a language, the first unless said so."""
    found = re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    return str(found[number])


def call(command: list[str], cwd: Path, extra_path: Path | None = None) -> str:
    """Run a command in a folder; return what it prints, or fail with all it said."""
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"}
    if extra_path:
        environment["PYTHONPATH"] = str(extra_path)
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.usefixtures("demo_dataset")
def test_the_file_runs_and_beats_bicubic(page: str, tmp_path: Path) -> None:
    name = re.search(r"Save this as `(\w+\.py)`", page)
    assert name, "the page says what to call the file"
    (tmp_path / name[1]).write_text(block(page, "python"), encoding="utf-8")
    program, *arguments = shlex.split(block(page, "sh"))
    assert program == "fvsr-bench"
    printed = call([*COMMAND, *arguments], tmp_path)
    assert "Back-projection" in printed
    check = shlex.split(block(page, "sh", 1))
    assert check[:2] == ["fvsr-bench", "check"]
    kept = call([*COMMAND, *check[1:]], tmp_path).count("kept")
    assert kept == 4, "all but the optional step"
    records = pd.concat(map(pd.read_parquet, (tmp_path / "first-try/records").glob("*.parquet")))
    assert records["clip"].nunique() == 2
    psnr = records[(records["metric"] == "psnr") & (records["protocol"] == "rgb-c0")]
    mean = psnr.groupby("model", observed=True)["value"].mean()
    assert mean["back_projection"] > mean["bicubic"] + 0.1


def test_a_package_brings_its_methods(page: str, tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    package = source / "my_vsr_methods"
    package.mkdir(parents=True)
    (source / "pyproject.toml").write_text(block(page, "toml"), encoding="utf-8")
    (package / "__init__.py").write_text('"""My methods."""\n')
    (package / "back_projection.py").write_text(block(page, "python"), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    call([*pip, "--no-deps", "--no-build-isolation", "--target", str(site), "."], source)
    assert "back_projection" not in methods_here()
    assert "back_projection" in call([*COMMAND, "models"], tmp_path, extra_path=site)


LIAR = '''
import torch
from torch import nn
from fvsr_bench.spec import ModelSpec

class Net(nn.Module):
    """Says that it is causal, and subtracts the mean of the whole batch."""
    scale = 4
    def forward(self, lr):
        return (lr - lr.mean()).repeat_interleave(4, -1).repeat_interleave(4, -2)
    def step(self, frame, state=None, future=None):
        return frame.repeat_interleave(4, -1).repeat_interleave(4, -2), {}

SPEC = ModelSpec(build=Net, title="Liar", reference="-", licence="MIT", lookahead=0,
                 trainable=False)
'''


def test_check_says_which_promises_are_kept(tmp_path: Path, cli) -> None:
    path = tmp_path / "liar.py"
    path.write_text(LIAR)
    answer = cli("check", path)
    assert answer.code == 1
    assert "does not keep 3 of 5 promises" in answer.err
    lines = [line.split()[0] for line in answer.out.splitlines()]
    assert lines == ["kept", "BROKEN", "BROKEN", "kept", "BROKEN"]
    assert "the look-ahead is not 0" in answer.out
    honest = cli("check", "bicubic", "--json")
    assert honest.code == 0
    assert [row["kept"] for row in json.loads(honest.out)] == [True] * 5
