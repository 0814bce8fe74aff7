"""A method that somebody else installed is found, listed and run; a name taken twice is not."""

from pathlib import Path

import pytest

from fvsr_bench.errors import ModelError
from fvsr_bench.registry import methods

METHOD = '''
"""Nearest: repeats every pixel."""
from torch import nn
from fvsr_bench.spec import ModelSpec


class Nearest(nn.Module):
    """Repeat every pixel."""

    scale = 4

    def forward(self, lr):
        return lr.repeat_interleave(4, -1).repeat_interleave(4, -2)


SPEC = ModelSpec(build=Nearest, title="Nearest", reference="-", licence="MIT", lookahead=0,
                 trainable=False)
'''


def install(site: Path, package: str, method: str, source: str = METHOD) -> None:
    """Lay a package out as pip would: its code, and a dist-info that names the entry point."""
    (site / package).mkdir(parents=True)
    (site / package / "__init__.py").write_text('"""Methods of somebody else."""\n')
    (site / package / f"{method}.py").write_text(source)
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[fvsr_bench.methods]\n{package} = {package}\n")


def test_a_third_partys_method_is_found_and_run(
    tiny: Path, tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "their_methods", "nearest")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert methods()["nearest"].module == "their_methods.nearest"
    assert "nearest" in cli("models").out
    answer = cli("run", "-m", "nearest", "-d", tiny, "-o", tmp_path / "out", "--limit", 1)
    assert answer.code == 0, answer.err
    assert "| Nearest |" in (tmp_path / "out" / "table2.md").read_text()


def test_two_packages_with_one_name_are_both_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "their_baselines", "bicubic")
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ModelError, match=r"fvsr_baselines\.bicubic and their_baselines\.bicubic"):
        methods()


def test_a_package_that_fails_to_import_is_listed_with_its_reason(
    tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "their_broken", "broken", "import nothing_of_this_name\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert "broken" in methods()  # listing imports nothing
    answer = cli("models")
    assert answer.code == 0
    assert "nothing_of_this_name" in answer.out
