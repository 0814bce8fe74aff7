"""Frames to look at: those that were measured, made again on request, none that must not go on."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fvsr_bench import evaluate, report
from fvsr_bench.data.store import open_dataset
from fvsr_bench.faces.judge import face_distance
from fvsr_bench.report import html
from fvsr_bench.strips import Choice, read_choice, read_shown

FORBIDDEN = "0001_celebvtext_1.mp4"  # of the pinned public videos: no licence found


@pytest.fixture(scope="module")
def judge():
    """Return the real judge of face distance; its detector takes a second to load."""
    return face_distance()


@pytest.fixture(autouse=True)
def quick(monkeypatch, judge):
    monkeypatch.setattr(evaluate, "face_distance", lambda device, box: judge)
    monkeypatch.setattr(report, "render_figure5", lambda *_: {})


@pytest.fixture
def finished(cli, tiny, tmp_path, method_file) -> Path:
    out = tmp_path / "out"
    answer = cli("run", "-m", f"bicubic,{method_file('near')}", "-d", tiny, "-o", out)
    assert answer.code == 0, answer.err
    return out


def stem(out: Path, method: str) -> str:
    return next((out / "manifests").glob(f"{method}-*.json")).stem


def test_run_keeps_the_very_frames_that_were_measured(finished, tiny, cli):
    kept = read_shown(finished)
    assert sorted(clip.clip for clip in kept) == ["clip0", "clip1", "clip2"]
    data = open_dataset(tiny)
    for clip in kept:
        truth = data.load(clip.clip)
        near = truth.lr.repeat(4, axis=1).repeat(4, axis=2)
        assert (clip.read(stem(finished, "near")) == near).all()
        assert (clip.read("gt") == truth.hr).all()
        assert (clip.read("lr") == truth.lr).all()
        np.testing.assert_allclose(clip.landmarks, truth.landmarks, atol=0.01)
    text = (finished / "index.html").read_text(encoding="utf-8")
    assert 'id="claims"' in text
    before = (finished / "index.html").read_bytes()
    shutil.rmtree(tiny)  # plain `report` needs no dataset
    assert cli("report", "-r", finished).code == 0
    assert (finished / "index.html").read_bytes() == before


def test_report_imports_no_torch(finished):
    code = (
        "import sys; from fvsr_bench.cli import run;"
        f"code = run(['report', '-r', {str(finished)!r}]); sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_clips_are_chosen_and_missing_frames_made_again(finished, tiny, cli):
    shutil.rmtree(finished / "frames")
    args = ("report", "-r", finished, "-d", tiny, "--clips")
    assert cli(*args, "clip1").code == 0
    (clip,) = read_shown(finished)
    assert clip.clip == "clip1"
    assert clip.runs() == {stem(finished, "bicubic")}  # near.py is not installed: said below
    assert read_choice(finished).words == "clip1"
    answer = cli(*args, "none")
    assert answer.code == 0
    assert read_shown(finished) == []
    assert "nothing to look at" in (finished / "index.html").read_text(encoding="utf-8")


def test_pictures_beside_the_page_stay_there_in_later_runs(
    finished, tiny, cli, method_file, monkeypatch
):
    monkeypatch.setattr(html, "BUDGET", 10_000)  # bytes: nothing fits into a page
    report_again = ("report", "-r", finished, "-d", tiny)
    run_again = ("run", "-m", f"bicubic,{method_file('far')}", "-d", tiny, "-o", finished)
    assert cli(*report_again, "--clips", "all", "--assets").code == 0
    answer = cli(*run_again)
    assert answer.code == 0, answer.err
    assert "Far" in answer.out
    assert len(list((finished / "index-files").glob(f"*{stem(finished, 'far')}*"))) == 3
    assert cli(*report_again).code == 0
    answer = cli(*report_again, "--clips", "all")  # a new choice: inside the page again
    assert answer.code == 2
    assert "fvsr-bench report" in answer.err
    assert cli("report", "-r", finished, "--assets").code == 0  # the choice stays, the place moves
    assert read_choice(finished) == Choice(words="all", assets=True)
    assert cli(*run_again).code == 0


def test_frames_of_changed_code_are_left_out_and_said(finished, tiny, cli):
    shutil.rmtree(finished / "frames")
    path = finished / "manifests" / f"{stem(finished, 'bicubic')}.json"
    manifest = json.loads(path.read_text())
    manifest["identity"]["source"] = "0" * 12
    path.write_text(json.dumps(manifest))
    answer = cli("report", "-r", finished, "-d", tiny, "--clips", "worst")
    assert answer.code == 0
    assert "no frames of Bicubic: its source changed since it was measured" in answer.err
    assert "no frames of Near: 'near' is not an installed method" in answer.err
    assert read_shown(finished)[0].runs() == set()


def test_another_dataset_is_refused(finished, cli, make_tiny, tmp_path):
    other = make_tiny(tmp_path / "other", seed=7)
    meta = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps({**meta, "id": "f" * 12}))
    answer = cli("report", "-r", finished, "-d", other, "--clips", "worst")
    assert answer.code == 2
    assert "was measured on 'tiny'" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [("wrost", "Did you mean 'worst'"), ("clip3", "unknown clip 'clip3'")],  # clip3: not measured
)
def test_an_unknown_clip_is_a_usage_error(finished, tiny, cli, words, said):
    answer = cli("report", "-r", finished, "-d", tiny, "--clips", words)
    assert answer.code == 2
    assert said in answer.err


def test_videos_that_must_not_be_passed_on_are_not_shown(cli, tiny, tmp_path):
    index = tiny / "index.csv"
    index.write_text(index.read_text().replace("a.mp4", FORBIDDEN))
    out = tmp_path / "out"
    answer = cli("run", "-m", "bicubic", "-d", tiny, "-o", out)
    assert answer.code == 0
    assert "no clip's licence allows it" in answer.err
    assert not list(out.rglob("*.webp"))
    answer = cli("report", "-r", out, "-d", tiny, "--clips", "worst", "--private")
    assert answer.code == 0
    assert len(read_shown(out)) == 1
    assert "keep this page to yourself" in (out / "index.html").read_text(encoding="utf-8")


def test_plot_makes_the_frames_it_needs(finished, tiny, cli, tmp_path):
    shutil.rmtree(finished / "frames")
    answer = cli("plot", "fig7", "-r", finished, "-d", tiny, "--clip", "best", "-o", tmp_path / "p")
    assert answer.code == 0, answer.err
    assert (tmp_path / "p" / "fig7.pdf").read_bytes().startswith(b"%PDF")
    assert read_shown(finished) == []  # the page's own choice is untouched
