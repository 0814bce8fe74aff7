"""`data demo` as a user meets it: made once, kept, remade when asked for, refused with one line."""

import dataclasses

import pytest

from fvsr_bench.cli import run
from fvsr_bench.data import demo


@pytest.fixture
def small_demo(tmp_path, monkeypatch):
    """Let the demo set have one clip, in a cache folder of its own."""
    monkeypatch.setattr(demo, "CLIPS", 1)
    monkeypatch.setenv("FVSR_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / f"demo-v{demo.RECIPE}"


def test_the_demo_set_is_made_kept_and_remade(small_demo, capsys):
    assert run(["data", "demo"]) == 0
    first = capsys.readouterr()
    assert first.out.startswith(f"made {small_demo} (")
    assert "1 clips of 1 people" in first.out
    assert "note: demo: animated photographs, not 300-VW" in first.out
    assert first.err == ""  # no bar when standard error is no terminal

    made = (small_demo / "dataset.json").stat().st_mtime_ns
    assert run(["data", "demo"]) == 0
    assert capsys.readouterr().out.startswith("nothing to do:")
    assert (small_demo / "dataset.json").stat().st_mtime_ns == made
    assert run(["data", "demo", "--again"]) == 0
    assert capsys.readouterr().out.startswith("made ")
    assert (small_demo / "dataset.json").stat().st_mtime_ns > made


def test_a_missing_photograph_and_a_bad_cache_folder_are_one_line(small_demo, capsys, monkeypatch):
    small_demo.parent.write_text("a file where the cache folder should be")
    assert run(["data", "demo"]) == 1
    assert "cannot write to" in capsys.readouterr().err
    small_demo.parent.unlink()
    changed = dataclasses.replace(demo.PHOTOS["t1"], path="data/images/gone.jpg")
    monkeypatch.setitem(demo.PHOTOS, "t1", changed)
    assert run(["data", "demo"]) == 1
    err = capsys.readouterr().err
    assert "pip install --force-reinstall insightface" in err
    assert err.count("\n") == 1
    assert list(small_demo.parent.iterdir()) == []
