"""`run` end to end on a tiny dataset: complete, resumable, idempotent, fair to broken methods."""

import dataclasses
import gc
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fvsr_bench import evaluate, records, report
from fvsr_bench.cli import report as pages
from fvsr_bench.color import to_uint8
from fvsr_bench.data.store import Dataset, open_dataset
from fvsr_bench.evaluate.plan import built_in_weights, source_digest
from fvsr_bench.faces.judge import face_distance
from fvsr_bench.infer import super_resolve
from fvsr_bench.metrics import temporal
from fvsr_bench.protocols import grid
from fvsr_bench.registry import load_model
from fvsr_bench.spec import DEGRADATIONS


def hashes(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def values(root: Path) -> pd.DataFrame:
    frame = records.read_records(root / "records")
    names = ["model", "clip", "frame", "metric", "protocol"]
    frame[names] = frame[names].astype({n: str for n in names if n != "frame"})
    return frame.set_index(names)["value"].sort_index()


@pytest.fixture(scope="module")
def judge():
    """Return the real judge of face distance; its detector takes a second to load."""
    return face_distance()


@pytest.fixture
def figures():
    """Ask for real figures; without it they and the page are left out, to save time."""


@pytest.fixture(autouse=True)
def quick(request, monkeypatch, judge):
    monkeypatch.setattr(evaluate, "face_distance", lambda device, box: judge)
    if "figures" not in request.fixturenames:
        monkeypatch.setattr(report, "render_figure5", lambda *_: {})
        monkeypatch.setattr(pages, "keep_again", lambda *_: None)
        monkeypatch.setattr(pages, "write_html", lambda out, *_: out / "index.html")


@pytest.fixture
def finished(cli, tiny, tmp_path, method_file):
    out = tmp_path / "out"
    answer = cli("run", "-m", f"bicubic,{method_file('near')}", "-d", tiny, "-o", out)
    assert answer.code == 0, answer.err
    return answer, out


def test_every_clip_frame_and_measure_has_exactly_one_record(finished):
    _, out = finished
    frame = records.read_records(out / "records")
    psnr = {cell.measure_key() for cell in grid()}
    ssim = {cell.ssim_key() for cell in grid()}
    measures = len(psnr) + len(ssim) + 3  # and face, face-found, identity-jitter
    assert len(frame) == 2 * 3 * (5 * measures + 4)  # the shift and its price: once per clip
    assert not frame.duplicated(records.KEY).any()
    nothing = frame[frame["value"].isna()]  # only the jitter of a frame that has none before it
    assert set(zip(nothing["metric"], nothing["frame"], strict=True)) == {("identity-jitter", 0)}
    assert set(frame["clip"]) == {"clip0", "clip1", "clip2"}  # not the train clip


def test_stored_psnr_is_that_of_the_frames_on_disk(finished, tiny):
    _, out = finished
    found = values(out)
    clip = open_dataset(tiny).load("clip1")
    near = clip.lr.repeat(4, axis=1).repeat(4, axis=2).astype(float)
    mse = ((near - clip.hr) ** 2).mean(axis=(1, 2, 3))
    expected = 10 * np.log10(255**2 / mse)
    stored = found["near", "clip1", :, "psnr", "rgb-c0"].to_numpy()
    np.testing.assert_allclose(stored, expected, atol=1e-6)


def test_the_end_is_a_table_and_paths(figures, finished):
    answer, out = finished
    assert "Table 2" in answer.out
    assert "demo: animated photographs, not 300-VW" in answer.out
    for name in ("table2.md", "fig5.png"):
        assert str(out / name) in answer.out
    names = {"table1.csv", "table1.md", "table2.csv", "table2.md"}
    names |= {f"fig5{part}.{kind}" for part in ("", "-all") for kind in ("png", "svg", "csv")}
    assert names <= {path.name for path in out.iterdir()}
    assert not list(out.rglob(".parts"))


def test_a_second_run_says_nothing_to_do_and_changes_no_byte(
    figures, finished, cli, tiny, tmp_path
):
    _, out = finished
    before = hashes(out)
    answer = cli("run", "-m", f"bicubic,{tmp_path / 'near.py'}", "-d", tiny, "-o", out)
    assert answer.code == 0
    assert "nothing to do" in answer.out
    assert hashes(out) == before


def test_another_protocol_runs_no_network(finished, cli, tiny, tmp_path, monkeypatch):
    _, out = finished
    monkeypatch.setattr(evaluate, "run_clip", None)  # would raise if called
    answer = cli("run", "-m", "bicubic", "-d", tiny, "-o", out, "--protocol", "duf")
    assert answer.code == 0, answer.err
    assert "nothing to do" in answer.out
    assert "y-studio" in (out / "table2-duf.md").read_text()


def test_an_edited_method_is_measured_again_and_replaces_its_old_run(
    finished, cli, tiny, method_file
):
    _, out = finished
    old = values(out)["near", "clip0", 0, "psnr", "rgb-c0"]
    path = method_file("near", "sr = sr * 0.9")
    sys.modules.pop("fvsr_file_near")  # a new process would not have it
    answer = cli("run", "-m", path, "-d", tiny, "-o", out)
    assert answer.code == 0, answer.err
    assert "replaced the older run near-" in answer.out
    assert len(list((out / "records").glob("near-*.parquet"))) == 1
    assert values(out)["near", "clip0", 0, "psnr", "rgb-c0"] < old


def test_edited_shared_layers_are_measured_again_but_older_runs_are_believed(
    finished, cli, tiny, monkeypatch
):
    _, out = finished
    again = ("run", "-m", "bicubic", "-d", tiny, "-o", out)
    (path,) = (out / "manifests").glob("bicubic-*.json")
    before, manifest = path.read_bytes(), json.loads(path.read_text())
    planner = sys.modules["fvsr_bench.evaluate.plan"]  # the package has a function of that name
    monkeypatch.setattr(planner, "blocks_digest", lambda: "another")
    manifest["identity"].pop("blocks")  # of a version that did not write it down
    path.write_text(json.dumps(manifest))
    assert "nothing to do" in cli(*again).out
    path.write_bytes(before)
    assert "replaced the older run bicubic-" in cli(*again).out
    (path,) = (out / "manifests").glob("bicubic-*.json")
    assert json.loads(path.read_text())["identity"]["blocks"] == "another"


BROKEN = {
    "nan": ("sr[:, 2, 0, 5, 5] = float('nan')", "NaN"),
    "small": ("sr = sr[..., ::2, ::2]", "expected"),
    "none": ("sr = None", "returned a NoneType"),
    "boom": ("raise ValueError('no such layer')", "ValueError: no such layer"),
}


def test_broken_methods_do_not_stop_the_others(cli, tiny, tmp_path, method_file):
    files = {name: method_file(name, body) for name, (body, _) in BROKEN.items()}
    files["importer"] = tmp_path / "importer.py"
    files["importer"].write_text("import no_such_package\n")
    models = ",".join(map(str, [*files.values(), "bicubic"]))
    out = tmp_path / "out"
    answer = cli("run", "-m", models, "-d", tiny, "-o", out)
    assert answer.code == 0, answer.err
    table = (out / "table2.md").read_text()
    for name, reason in [(n, r) for n, (_, r) in BROKEN.items()] + [
        ("importer", "no_such_package")
    ]:
        line = next(x for x in table.splitlines() if name in x.lower() and x.startswith("|"))
        assert reason in line
        assert reason in answer.out
    assert set(records.read_records(out / "records")["model"]) == {"bicubic"}


def test_clips_of_one_subject_have_no_intervals(cli, tiny, tmp_path, method_file, figures):
    def strict(text):
        return json.loads(text, parse_constant=pytest.fail)  # NaN is no JSON

    out, models = tmp_path / "out", f"bicubic,{method_file('near')}"
    answer = cli("run", "-m", models, "-d", tiny, "-o", out, "--limit", 2, "--json")
    assert answer.code == 0, answer.err
    strict(answer.out)
    table = (out / "table2.md").read_text(encoding="utf-8")
    assert "All clips are of one subject: there are no intervals" in table
    assert "±" not in table.partition("- Data:")[0]
    assert "nan" not in table + (out / "table2.csv").read_text() + (out / "judges.csv").read_text()
    assert "its lead over" in (out / "index.html").read_text(encoding="utf-8")
    assert cli("report", "-r", out, "--protocol-grid").code == 0
    strict(cli("compare", "bicubic", "near", "-r", out, "--json").out)
    assert "no difference" in cli("compare", "bicubic", "near", "-r", out).out
    assert cli("claims", "-r", out).code == 0


def test_a_method_that_failed_is_not_called_done(cli, tiny, tmp_path, method_file):
    out, path = tmp_path / "out", method_file("half", "raise ValueError('half done')")
    assert cli("run", "-m", "bicubic", "-d", tiny, "-o", out).code == 0
    answer = cli("run", "-m", path, "-d", tiny, "-o", out)
    assert answer.code == 1
    assert "nothing to do" not in answer.out
    assert "nothing to do" not in cli("run", "-m", f"bicubic,{path}", "-d", tiny, "-o", out).out


def test_a_repaired_method_loses_its_reason(cli, tiny, tmp_path, method_file):
    out = tmp_path / "out"
    path = method_file("fix", "raise ValueError('half done')")
    assert cli("run", "-m", f"bicubic,{path}", "-d", tiny, "-o", out).code == 0
    method_file("fix")
    sys.modules.pop("fvsr_file_fix", None)  # a new process would not have it
    assert cli("run", "-m", f"bicubic,{path}", "-d", tiny, "-o", out).code == 0
    table = (out / "table2.md").read_text()
    assert "half done" not in table
    assert set(records.read_records(out / "records")["model"]) == {"bicubic", "fix"}


def test_ctrl_c_loses_nothing_and_doubles_nothing(
    finished, cli, tiny, tmp_path, monkeypatch, method_file
):
    _, whole = finished
    out, calls, real = tmp_path / "again", [], evaluate.run_clip

    def interrupted(*args, **options):
        calls.append(args[1].id)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args, **options)

    args = ("run", "-m", f"bicubic,{tmp_path / 'near.py'}", "-d", tiny, "-o", out)
    monkeypatch.setattr(evaluate, "run_clip", interrupted)
    answer = cli(*args)
    assert answer.code == 130
    assert "the same command continues where it stopped" in answer.err
    assert not list((out / "records").glob("*.parquet"))
    assert cli(*args).code == 0
    assert len(calls) == 4 + 3  # 3 kept, 1 interrupted, 3 left of 2 x 3
    pd.testing.assert_series_equal(values(out), values(whole))


SLOW = "import time; time.sleep(0.4)"


def test_kill_9_loses_nothing_and_doubles_nothing(cli, tiny, tmp_path, method_file):
    out = tmp_path / "out"
    args = ["run", "-m", f"bicubic,{method_file('slow', SLOW)}", "-d", str(tiny), "-o", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "fvsr_bench", *args],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    parts = out / "records" / ".parts"
    for _ in range(1200):  # until the first rows are on disk
        if list(parts.rglob("*.parquet")) or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in parts.rglob("*.parquet")}
    assert kept
    assert cli(*args).code == 0
    frame = records.read_records(out / "records")
    assert not frame.duplicated(records.KEY).any()
    assert frame.groupby("model", observed=True).size().nunique() == 1
    assert set(frame["model"]) == {"bicubic", "slow"}


def test_only_one_clip_is_in_memory_at_a_time(cli, tiny, tmp_path, monkeypatch):
    alive, most, real = [], [], Dataset.load

    def counted(self, clip_id):
        gc.collect()
        most.append(sum(ref() is not None for ref in alive))
        clip = real(self, clip_id)
        alive.append(weakref.ref(clip))
        return clip

    monkeypatch.setattr(Dataset, "load", counted)
    assert cli("run", "-m", "bicubic", "-d", tiny, "-o", tmp_path / "out").code == 0
    assert len(most) == 3
    assert max(most) <= 1


def test_weights_for_other_frames_are_refused_or_marked(cli, tiny, tmp_path, save_dummy):
    save_dummy(degradation="bd15", phase="corner")
    args = ("run", "-m", "bicubic,dummy", "-d", tiny, "-o", tmp_path / "out")
    assert cli(*args).code == 0
    table = (tmp_path / "out" / "table2.md").read_text()
    assert "trained for bd15 (corner phase)" in table
    assert "--allow-mismatch" in table
    assert cli(*args, "--allow-mismatch").code == 0
    table = (tmp_path / "out" / "table2.md").read_text()
    assert "| Dummy † " in table
    assert "- † Dummy: weights 'bi' were trained for bd15 (corner phase)" in table


def test_weights_made_for_the_data_are_taken_first(cli, make_tiny, tmp_path, save_dummy):
    save_dummy("bi")
    save_dummy("bd15", degradation="bd15", phase="corner")
    data = make_tiny(tmp_path / "blurred", degradation=DEGRADATIONS["bd15"])
    assert cli("run", "-m", "dummy", "-d", data, "-o", tmp_path / "out").code == 0
    assert set(records.read_records(tmp_path / "out" / "records")["weights"]) == {"bd15"}


def test_a_method_without_weights_is_never_run_with_random_ones(cli, tiny, tmp_path, method_file):
    path = method_file("untrained", trainable=True)
    out = tmp_path / "out"
    assert cli("run", "-m", f"bicubic,{path}", "-d", tiny, "-o", out).code == 0
    table = (out / "table2.md").read_text()
    assert f"no weights: run `fvsr-bench train {path} --data DIR`" in table
    assert "untrained" not in set(records.read_records(out / "records")["model"])


def test_json_is_the_table(finished, cli, tiny, tmp_path):
    _, out = finished
    answer = cli("report", "-r", out, "--json")
    value = json.loads(answer.out)
    rows = {(row["method"], row["metric"]): row for row in value["rows"]}
    expected = values(out)["bicubic", :, :, "psnr", "rgb-c0"].groupby("clip").mean().mean()
    assert rows["bicubic", "psnr"]["ours"] == pytest.approx(expected, abs=1e-6)
    assert rows["bicubic", "psnr"]["frames"] == 15


def test_manifest_says_what_the_numbers_were_made_from(finished, tiny):
    _, out = finished
    path = next((out / "manifests").glob("bicubic-*.json"))
    manifest = json.loads(path.read_text())
    assert manifest["identity"]["dataset"] == open_dataset(tiny).id
    assert manifest["circumstance"]["packages"]["torch"][0].isdigit()
    assert manifest["circumstance"]["peak_memory_mb"] > 50
    assert path.stem.endswith(manifest["run_id"])


def test_plot_draws_from_the_records_alone(figures, finished, cli, tiny, tmp_path):
    _, out = finished
    before = {kind: (out / f"fig5.{kind}").read_bytes() for kind in ("png", "svg", "csv")}
    shutil.rmtree(tiny)
    answer = cli("plot", "per-frame-psnr", "-r", out, "-o", tmp_path / "figures")
    assert answer.code == 0
    assert {k: (tmp_path / "figures" / f"fig5.{k}").read_bytes() for k in before} == before


def test_limit_and_split_choose_clips_and_their_own_folder(cli, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("run", "-m", "bicubic", "-d", tiny, "--limit", 1).code == 0
    assert cli("run", "-m", "bicubic", "-d", tiny, "--split", "train").code == 0
    first = records.read_records(Path("results/tiny-first1/records"))
    assert set(first["clip"]) == {"clip0"}
    assert set(records.read_records(Path("results/tiny-train/records"))["clip"]) == {"clip3"}


def test_models_counts_what_arithmetic_says():
    from fvsr_bench.cli.models import gmac_per_frame
    from fvsr_bench.registry import build

    dummy = build("dummy")
    assert gmac_per_frame(dummy) == pytest.approx(40 * 40 * 27 * 48 / 1e9, rel=1e-9)


def test_numbers_stay_when_a_later_run_cannot_be_made(cli, tiny, tmp_path, save_dummy):
    path = save_dummy()
    args = ("run", "-m", "bicubic,dummy", "-d", tiny, "-o", tmp_path / "out")
    assert cli(*args).code == 0
    path.unlink()
    answer = cli(*args)
    assert answer.code == 0
    assert "Dummy: no weights" in answer.out
    assert "keeps its older numbers" in answer.out
    lines = (tmp_path / "out" / "table2.md").read_text().splitlines()
    assert len([line for line in lines if line.startswith("| Dummy")]) == 2  # here and in "paired"


def test_an_ablated_network_is_called_that(cli, tiny, tmp_path, save_dummy):
    from fvsr_bench import registry

    name, changes = next(iter(registry.load_spec("dummy").ablations.items()))
    state = registry.build("dummy", changes).state_dict()
    path = save_dummy("less")
    card = dataclasses.replace(registry.read_card(path), options=dict(changes))
    registry.save_weights(path, state, card)
    args = ("run", "-m", "dummy,dummy@less", "-d", tiny, "-o", tmp_path / "out")
    save_dummy()
    assert cli(*args).code == 0
    table = (tmp_path / "out" / "table2.md").read_text()
    assert f"| Dummy −{name} " in table
    assert "| Dummy " in table


def test_other_judges_are_measured_when_asked_for(tiny: Path, tmp_path: Path, cli) -> None:
    """tOF of a method equals the metric's own value; the table names what was measured."""
    out = tmp_path / "out"
    arguments = ("run", "-m", "bicubic", "-d", tiny, "-o", out)
    assert cli(*arguments, "--judge", "temporal").code == 0
    records = pd.read_parquet(next((out / "records").glob("*.parquet")))
    tof = records[(records["metric"] == "tof") & (records["protocol"] == "farneback-c0")]
    clip = open_dataset(tiny).load("clip0")
    assert sorted(tof["frame"].unique()) == list(range(len(clip.hr)))
    assert tof.loc[tof["frame"] == 0, "value"].isna().all()
    sr = to_uint8(super_resolve(load_model("bicubic"), clip.lr)).movedim(1, -1).numpy()
    expected = temporal.tof(np.ascontiguousarray(sr), temporal.ground_truth_motion(clip.hr))
    stored = tof[tof["clip"] == "clip0"].sort_values("frame")["value"].to_numpy()
    np.testing.assert_allclose(stored[1:], expected[1:], rtol=1e-5)
    table = (out / "judges.md").read_text()
    assert "tOF" in table
    assert "Identity jitter" in table
    assert "nothing to do" in cli(*arguments, "--judge", "temporal").out
    assert "nothing to do" in cli(*arguments).out  # without the judge, too: it is all there
    assert (out / "judges.md").read_text() == table


def test_another_seed_alone_is_measured_and_shown(figures, cli, tiny, tmp_path, save_dummy):
    save_dummy("bi-seed1")
    answer = cli("run", "-m", "dummy@bi-seed1", "-d", tiny, "-o", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert (tmp_path / "out" / "index.html").exists()


@pytest.mark.parametrize(
    ("judge", "code", "message"),
    [
        ("temporl", 2, "unknown judge 'temporl'. Did you mean 'temporal'?"),
        ("niqe", 2, "NIQE is not defined for 160x160 px"),
        ("lpips", 2, "--judge lpips needs a path"),
        ("arcface:/nowhere.onnx", 1, "/nowhere.onnx was not found"),
    ],
)
def test_judges_that_cannot_be_had_are_explained(
    tiny: Path, cli, judge: str, code: int, message: str
) -> None:
    answer = cli("run", "-m", "bicubic", "-d", tiny, "--judge", judge)
    assert answer.code == code
    assert message in answer.err
    assert answer.err.count("\n") == 1


def test_weights_of_another_seed_are_a_variant_of_their_own(
    patterns: Path, tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, tag in ((0, "bi"), (1, "bi-seed1")):
        words = ("train", "dummy", "--data", patterns, "--steps", 1, "--device", "cpu")
        assert cli(*words, "--seed", seed, "--tag", tag).code == 0
    words = ("run", "-m", "dummy@bi,dummy@bi-seed1", "-d", patterns, "-o", tmp_path / "out")
    assert cli(*words).code == 0
    assert (tmp_path / "out" / "table2.md").read_text().count("| Dummy") == 1
    assert re.search(r"\| Dummy +\| +1 \|", (tmp_path / "out" / "seeds.md").read_text())


def test_code_beside_a_method_and_weights_inside_it_count_as_the_method(tmp_path, method_file):
    """Edited code, or another checkpoint, must not pass for what was measured."""
    method = method_file("mine")
    alone = source_digest(str(method))
    (tmp_path / "other.py").write_text("x = 1")
    assert source_digest(str(method)) == alone
    (tmp_path / "_blocks.py").write_text("x = 1")
    assert source_digest(str(method)) != alone
    assert built_in_weights(str(method)) == ""
    holder = method_file("holder")
    source = holder.read_text().replace(
        "class Net(nn.Module):",
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.gain = nn.Parameter(torch.load(PATH))\n",
    )
    holder.write_text(source.replace("PATH", repr(str(tmp_path / "gain.pt"))))
    torch.save(torch.ones(1), tmp_path / "gain.pt")
    first = built_in_weights(str(holder))
    torch.save(torch.full((1,), 2.0), tmp_path / "gain.pt")
    assert first
    assert built_in_weights(str(holder)) != first
