"""What bad input gets: one line that names the matter and the way out; nothing half-written."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fvsr_bench import evaluate, records, registry, report
from fvsr_bench.cli import report as pages
from fvsr_bench.cli import run
from fvsr_bench.faces.judge import face_distance


@dataclasses.dataclass
class Place:
    """Where a case happens: a good dataset, an output folder, ways to make things bad."""

    root: Path
    data: Path
    out: Path
    method_file: Callable[..., Path]
    save_dummy: Callable[..., Path]

    def text(self, name: str, content: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def edit_json(self, path: Path, **changes: Any) -> None:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def run(self, *extra: object, models: object = "bicubic") -> list[object]:
        return ["run", "-m", models, "-d", self.data, "-o", self.out, *extra]

    def results(self) -> Path:
        """Return a finished results folder."""
        assert run([str(word) for word in self.run()]) == 0
        return self.out


@pytest.fixture(scope="module")
def judge():
    return face_distance()


@pytest.fixture
def place(tmp_path, tiny, method_file, save_dummy, monkeypatch, judge) -> Place:
    monkeypatch.setattr(evaluate, "face_distance", lambda device, box: judge)
    real = report.render_figure5  # left out where there is something to draw: it takes seconds
    quick = lambda results, protocol: {} if results.complete else real(results, protocol)  # noqa: E731
    monkeypatch.setattr(report, "render_figure5", quick)
    monkeypatch.setattr(pages, "keep_again", lambda *_: None)
    monkeypatch.setattr(pages, "write_html", lambda out, *_: out / "index.html")
    return Place(tmp_path, tiny, tmp_path / "out", method_file, save_dummy)


CASES: dict[str, tuple[int, tuple[str, ...], Callable[[Place], list[object]]]] = {}


def case(code: int, *expected: str) -> Callable:
    """Add a case: the exit code and what its one line must contain."""

    def add(function: Callable[[Place], list[object]]) -> Callable:
        CASES[function.__name__] = (code, expected, function)
        return function

    return add


# --- the command line itself


@case(2, "rnu", "mean", "run")
def unknown_command(p):
    return ["rnu"]


@case(2, "--modles", "--models")
def unknown_option(p):
    return ["run", "--modles", "all"]


@case(2, "per-frame-pnsr", "per-frame-psnr")
def unknown_plot(p):
    return ["plot", "per-frame-pnsr"]


@case(2, "--limit", "valid integer")
def text_for_a_number(p):
    return p.run("--limit", "many")


@case(2, "--limit", "greater than or equal to 0")
def negative_limit(p):
    return p.run("--limit", "-1")


@case(2, "unknown method 'fanp'", "Did you mean 'fapn'?")
def misspelt_method(p):
    return p.run(models="fanp")


@case(2, "unknown method 'xyzzy'", "Known: ", "bicubic")
def unknown_method(p):
    return p.run(models="bicubic,xyzzy")


@case(2, "--models is empty", "all")
def no_method(p):
    return p.run(models=" , ")


@case(2, "unknown protocol 'fpan'", "fapn")
def unknown_protocol(p):
    return p.run("--protocol", "fpan")


@case(2, "unknown metric 'psn'", "Did you mean 'psnr'?")
def unknown_metric(p):
    demo = Path(__file__).parents[2] / "results" / "demo"
    return ["compare", "fapn", "frvsr", "--metric", "psn", "--results", demo]


@case(2, "unknown split 'tset'", "test")
def unknown_split(p):
    return p.run("--split", "tset")


@case(2, "no clips in split 'val'", "test (3)", "--split")
def empty_split(p):
    return p.run("--split", "val")


@case(2, "device 'cuda:99' is not available", "cpu")
def missing_device(p):
    return p.run("--device", "cuda:99")


@case(2, "unknown device 'gpu'", "auto")
def unknown_device(p):
    return p.run("--device", "gpu")


@case(2, "unknown precision 'fp16'", "bf16")
def unknown_precision(p):
    return p.run("--precision", "fp16")


# --- method files


@case(2, "nowhere.py", "no such file", "SPEC")
def method_file_missing(p):
    return p.run(models=p.root / "nowhere.py")


@case(1, "raiser", "failed to import", "RuntimeError: not on Tuesdays")
def method_raises_on_import(p):
    return p.run(models=p.text("raiser.py", "raise RuntimeError('not on Tuesdays')"))


@case(1, "typo.py", "failed to import", "SyntaxError")
def method_is_no_python(p):
    return p.run(models=p.text("typo.py", "def forward(:"))


@case(1, "specless", "no SPEC", "SPEC = ModelSpec(")
def method_without_spec(p):
    return p.run(models=p.text("specless.py", "x = 1"))


@case(1, "failed to build", "TypeError", "width")
def method_does_not_build(p):
    text = p.method_file("narrow").read_text()
    text = text.replace("trainable=False)", "trainable=False, options={'width': 3})")
    return p.run(models=p.text("narrow.py", text))


@case(1, "dict", "torch.nn.Module")
def method_builds_no_module(p):
    text = p.method_file("builder").read_text().replace("build=Net", "build=dict")
    return p.run(models=p.text("builder.py", text))


@case(1, "clip0", "NaN")
def model_returns_nan(p):
    return p.run(models=p.method_file("nan", "sr[:, 3] = float('nan')"))


@case(1, "shape (1, 5, 3, 80, 80)", "expected (1, 5, 3, 160, 160)")
def model_returns_small_frames(p):
    return p.run(models=p.method_file("small", "sr = sr[..., ::2, ::2]"))


@case(1, "shape (1, 4, 3, 160, 160)", "expected (1, 5, 3, 160, 160)")
def model_loses_a_frame(p):
    return p.run(models=p.method_file("fewer", "sr = sr[:, 1:]"))


@case(1, "returned a tuple", "expected a tensor")
def model_returns_a_tuple(p):
    return p.run(models=p.method_file("pair", "sr = (sr, sr)"))


@case(1, "RuntimeError", "no room on channel 64")
def model_raises(p):
    body = "raise RuntimeError('no room\\n on channel 64')"
    return p.run(models=p.method_file("raising", body))


# --- weights


@case(1, "no weights", "bare.py --data DIR")
def weights_missing(p):
    return p.run(models=p.method_file("bare", trainable=True))


@case(1, "no weights tagged 'bdd'", "has: bi")
def weights_tag_unknown(p):
    p.save_dummy()
    return p.run(models="dummy@bdd")


@case(1, "bi.safetensors is corrupt", "SHA-256", "fetch the file again")
def weights_corrupt(p):
    path = p.save_dummy()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    return p.run(models="dummy")


@case(1, "cut.safetensors", "cannot read", "header")
def weights_truncated(p):
    path = p.save_dummy("cut")
    path.with_suffix(".json").unlink()
    path.write_bytes(path.read_bytes()[:100])
    return p.run(models=f"dummy@{path}")


@case(1, "holds weights of 'fapn'", "not of 'dummy'")
def weights_of_another_method(p):
    p.save_dummy(method="fapn")
    return p.run(models="dummy")


@case(1, "does not fit the network", "missing, e.g. conv.bias")
def weights_of_another_layout(p):
    path = p.save_dummy()
    card = registry.read_card(path)
    state = {"conv.weight": registry.read_weights(path)["conv.weight"]}
    registry.save_weights(path, state, card)
    return p.run(models="dummy")


@case(1, "card", "format 99", "update fvsr-bench")
def weights_of_a_newer_version(p):
    p.edit_json(p.save_dummy().with_suffix(".json"), format=99)
    return p.run(models="dummy")


@case(1, "the card of", "incomplete", "licence")
def weights_card_incomplete(p):
    path = p.save_dummy().with_suffix(".json")
    card = json.loads(path.read_text())
    del card["licence"]
    path.write_text(json.dumps(card))
    return p.run(models="dummy")


@case(1, "trained for bd16 (corner phase)", "bi (centre phase)", "--allow-mismatch")
def weights_for_other_frames(p):
    p.save_dummy(degradation="bd16", phase="corner")
    return p.run(models="dummy")


@case(1, "no such file", "theirs.safetensors")
def weights_path_missing(p):
    return p.run(models=f"dummy@{p.root / 'theirs.safetensors'}")


# --- datasets


@case(1, "nowhere", "not a folder", "data prepare")
def dataset_missing(p):
    p.data = p.root / "nowhere"
    return p.run()


@case(1, "not a dataset", "dataset.json", "data prepare")
def dataset_empty(p):
    p.data = p.root / "empty"
    p.data.mkdir()
    return p.run()


@case(1, "half-prepared", "again")
def dataset_half_prepared(p):
    (p.data / "dataset.json").unlink()
    return p.run()


@case(1, "dataset.json", "damaged")
def dataset_json_damaged(p):
    (p.data / "dataset.json").write_text('{"format": 1, ')
    return p.run()


@case(1, "dataset.json", "format 7", "update fvsr-bench")
def dataset_of_a_newer_version(p):
    p.edit_json(p.data / "dataset.json", format=7)
    return p.run()


@case(1, "index.csv", "lacks the column", "subject")
def dataset_index_without_a_column(p):
    path = p.data / "index.csv"
    path.write_text(path.read_text().replace("subject", "person", 1))
    return p.run()


@case(1, "index.csv")
def dataset_index_missing(p):
    (p.data / "index.csv").unlink()
    return p.run()


@case(1, "0002.png", "128", "160")
def png_of_another_size(p):
    cv2.imwrite(str(p.data / "hr/clip0/0002.png"), np.zeros((128, 128, 3), np.uint8))
    return p.run()


@case(1, "0003.png", "clip1")
def png_missing(p):
    (p.data / "lr/clip1/0003.png").unlink()
    return p.run()


@case(1, "0001.png", "clip2")
def png_truncated(p):
    path = p.data / "hr/clip2/0001.png"
    path.write_bytes(path.read_bytes()[:200])
    return p.run()


# --- output folders and results


@case(1, "taken", "a file")
def out_is_a_file(p):
    p.out = p.text("taken", "my notes")
    return p.run()


@case(1, "/proc/results")
def out_is_not_writable(p):
    p.out = Path("/proc/results")
    return p.run()


@case(2, "holds results of dataset 'tiny'", "choose another --out")
def out_holds_results_of_other_clips(p):
    p.results()
    return p.run("--split", "train")


@case(1, "not a results folder", "fvsr-bench run --models all")
def report_without_results(p):
    return ["report", "-r", p.data]


@case(1, "nothing to plot", "out")
def plot_without_records(p):
    run([str(w) for w in p.run(models=p.method_file("bare", trainable=True))])
    return ["plot", "per-frame-psnr", "-r", p.out]


def _training(p, method, tag, row):
    return p.text(f"runs/{method}-{tag}-0123456789ab/log.jsonl", json.dumps(row) + "\n").parent


@case(1, "none of these 2 trainings", "finished", "fvsr-bench train")
def plot_of_unfinished_trainings(p):
    runs = [_training(p, "dummy", f"never{n}", {"step": 1, "mse": 0.1}) for n in (1, 2)]
    return ["plot", "training", *runs, "--out", p.out]


@case(1, "none of these 2 trainings", "finished")
def plot_of_trainings_without_validation(p):
    tags = ("bi", "bi-seed1")
    for tag in tags:  # of an earlier training
        p.save_dummy(tag, recipe={"frames": 2, "batch": 1, "patch": 24})
    runs = [_training(p, "dummy", tag, {"step": 1, "mse": 0.1}) for tag in tags]
    return ["plot", "training", *runs, "--out", p.out]


@case(1, "manifest", "damaged JSON", "run again")
def manifest_damaged(p):
    next((p.results() / "manifests").glob("bicubic-*")).write_text("{")
    return ["report", "-r", p.out]


@case(1, "newer fvsr-bench", "format 12", "update")
def manifest_of_a_newer_version(p):
    p.edit_json(next((p.results() / "manifests").glob("bicubic-*")), format=12)
    return ["report", "-r", p.out]


@case(1, "damaged records file", "run the same command again")
def records_damaged(p):
    path = next((p.results() / "records").glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:500])
    return ["report", "-r", p.out]


@case(1, "no such records file", "bicubic-")
def records_missing(p):
    shutil.rmtree(p.results() / "records")
    return ["report", "-r", p.out]


@case(1, "1 records occur twice", "keep one")
def records_doubled(p):
    path = next((p.results() / "records").glob("*.parquet"))
    table = records.read_table(path)
    records.write_table(table.take([*range(len(table)), 0]), path)
    return ["report", "-r", p.out]


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_line_and_leaves_nothing_half_written(name, place, capsys):
    code, expected, make = CASES[name]
    args = [str(word) for word in make(place)]
    before = {p for p in place.root.rglob("*") if p.suffix == ".parquet"}
    capsys.readouterr()
    assert run(args) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    for text in expected:
        assert text in lines[0]
    assert "Traceback" not in lines[0]
    assert len(lines[0]) < 600
    assert not list(place.root.rglob("*.tmp"))
    after = {p for p in place.root.rglob("*") if p.suffix == ".parquet"}
    assert {p for p in after - before if ".parts" not in p.parts} == set()


def test_the_table_has_at_least_thirty_cases():
    assert len(CASES) >= 30


def test_a_full_disk_is_one_line_and_the_run_resumes(place, capsys, monkeypatch):
    import errno

    import pyarrow.parquet as pq

    real, written = pq.write_table, []

    def full(table, where, **options):
        if len(written) == 2:
            Path(where).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(where))
        written.append(where)
        return real(table, where, **options)

    args = [str(word) for word in place.run()]
    monkeypatch.setattr(pq, "write_table", full)
    assert run(args) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "the disk is full" in lines[0]
    assert "same command again" in lines[0]
    assert not list(place.root.rglob("*.tmp"))
    monkeypatch.setattr(pq, "write_table", real)
    assert run(args) == 0
    assert len(set(records.read_records(place.out / "records")["clip"])) == 3


def test_an_unexpected_error_is_one_line_without_a_traceback(place, capsys, monkeypatch):
    def broken(*_):
        raise KeyError("our own bug")

    monkeypatch.setattr(evaluate, "clip_table", broken)
    assert run([str(word) for word in place.run()]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "unexpected KeyError at test_bad_input.py:" in lines[0]
    assert "FVSR_BENCH_DEBUG=1" in lines[0]
