"""Training: learns, stops in time, resumes bit for bit after a kill, and stops at NaN."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric

from fvsr_bench.data.store import open_dataset
from fvsr_bench.errors import ModelError, UsageError, WeightsError
from fvsr_bench.registry import load_card, load_model, load_spec
from fvsr_bench.spec import TrainRecipe
from fvsr_bench.train import Event, TrainJob, train

RECIPE = TrainRecipe(steps=7, batch=2, frames=3, warmup=2, precision="fp32", losses={"mse": 1.0})


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def go(
    patterns: Path, where: Path, method: str = "frvsr", stop_after: int = 0, **changes
) -> list[Event]:
    """Train to the end, or leave the loop after some steps as a killed process would."""
    job = TrainJob(method=method, recipe=dataclasses.replace(RECIPE, **changes))
    events = []
    for event in train(
        job,
        open_dataset(patterns),
        out=where / "weights",
        runs=where / "runs",
        fabric=fabric(),
        validate_every=3,
        save_every=2,
    ):
        events.append(event)
        if stop_after and event.step == stop_after:
            break
    return events


def losses(where: Path) -> list[dict]:
    (log,) = (where / "runs").glob("*/log.jsonl")
    return [json.loads(row) for row in log.read_text().splitlines()]


def weights_of(where: Path) -> bytes:
    (path,) = (where / "weights").glob("*/bi.safetensors")
    return path.read_bytes()


def test_training_writes_weights_that_load_and_a_card_that_tells(
    patterns: Path, tmp_path: Path
) -> None:
    events = go(patterns, tmp_path, method="dummy")
    card = events[-1].finished
    assert card is not None
    path = tmp_path / "weights" / "dummy" / "bi.safetensors"
    assert load_card("dummy", path) == card
    assert card.recipe["steps"] == 7
    assert card.degradation == "bi"
    assert load_model("dummy", path)(torch.rand(1, 2, 3, 8, 8)).shape == (1, 2, 3, 32, 32)
    assert [row["step"] for row in losses(tmp_path)] == list(range(1, 8))
    assert {row["step"] for row in losses(tmp_path) if "val_psnr" in row} == {3, 6, 7}


@pytest.mark.parametrize("stop_after", [1, 5])
def test_resuming_is_exact(patterns: Path, tmp_path: Path, stop_after: int) -> None:
    go(patterns, tmp_path / "whole")
    go(patterns, tmp_path / "cut", stop_after=stop_after)
    go(patterns, tmp_path / "cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    path = tmp_path / "whole" / "weights" / "frvsr" / "bi.safetensors"
    assert len(whole) == len(cut) == path.stat().st_size
    a = load_model("frvsr", path).state_dict()
    b = load_model("frvsr", tmp_path / "cut" / "weights" / "frvsr" / "bi.safetensors").state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)


def command(patterns: Path, where: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "fvsr_bench", "train", "dummy", "--data", str(patterns)),
        *("--out", str(where / "weights"), "--runs", str(where / "runs"), "--device", "cpu"),
        *("--steps", "140", "--validate-every", "140", *more),
    ]


def test_kill_minus_nine_and_again(patterns: Path, tmp_path: Path) -> None:
    subprocess.run(command(patterns, tmp_path / "whole"), check=True, capture_output=True)
    process = subprocess.Popen(
        command(patterns, tmp_path / "cut"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # kill it in the middle, after its first checkpoint
        logs = list((tmp_path / "cut" / "runs").glob("*/log.jsonl"))
        if logs and len(logs[0].read_text().splitlines()) > 110:
            break
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = len(losses(tmp_path / "cut"))
    assert done > 100
    subprocess.run(command(patterns, tmp_path / "cut"), check=True, capture_output=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_a_time_limit_ends_cleanly_and_the_next_call_goes_on(
    patterns: Path, tmp_path: Path
) -> None:
    job = TrainJob(method="dummy", recipe=RECIPE)
    where = {"out": tmp_path / "weights", "runs": tmp_path / "runs", "fabric": fabric()}
    first = list(train(job, open_dataset(patterns), minutes=1e-9, **where))
    assert "goes on from there" in first[-1].note
    assert first[-1].step == 1
    assert list(train(job, open_dataset(patterns), **where))[-1].finished is not None


def test_it_learns(patterns: Path, tmp_path: Path) -> None:
    go(patterns, tmp_path, method="dummy", steps=60, learning_rate=2e-2, schedule="flat", ema=0.0)
    rows = losses(tmp_path)
    mean = [sum(row["mse"] for row in part) / len(part) for part in (rows[:10], rows[-10:])]
    assert mean[1] < 0.8 * mean[0]


def test_nan_stops_with_step_clips_and_checkpoint(
    patterns: Path, tmp_path: Path, monkeypatch
) -> None:
    from fvsr_bench import losses

    calls, original = iter(range(100)), losses.mse
    poison = [0.0] * 4 + [float("nan")]
    monkeypatch.setattr(losses, "mse", lambda sr, hr: original(sr, hr) + poison[next(calls)])
    with pytest.raises(ModelError, match=r"nan at step 5 on clips c\d, c\d; the last good state"):
        go(patterns, tmp_path)
    monkeypatch.undo()
    assert go(patterns, tmp_path)[0].step == 5  # goes on from the checkpoint of step 4


def test_an_unknown_loss_is_named(patterns: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown loss 'mes'. Did you mean 'mse'\?"):
        go(patterns, tmp_path, losses={"mes": 1.0})


def test_a_broken_checkpoint_is_refused(patterns: Path, tmp_path: Path) -> None:
    go(patterns, tmp_path, stop_after=3)
    (path,) = (tmp_path / "runs").glob("*/checkpoint.pt")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="cannot be read"):
        go(patterns, tmp_path)


def test_a_method_without_parameters_is_refused(patterns: Path, tmp_path: Path) -> None:
    assert not load_spec("bicubic").trainable
    with pytest.raises(UsageError, match="nothing to train"):
        go(patterns, tmp_path, method="bicubic")


def test_two_processes_make_the_step_that_one_makes(patterns: Path, tmp_path: Path) -> None:
    """The same global batch of 4, divided over two gloo processes: same losses, same weights."""
    arguments = ["--steps", "3", "--validate-every", "3"]
    for name, more in (("one", []), ("two", ["--devices", "2"])):
        subprocess.run(
            command(patterns, tmp_path / name, *arguments, *more),
            check=True,
            capture_output=True,
            timeout=300,
        )
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [row["step"] for row in two] == [1, 2, 3]
    for a, b in zip(one, two, strict=True):
        assert b["mse"] == pytest.approx(a["mse"], rel=2e-3)  # bfloat16 in the network
    states = [
        load_model("dummy", tmp_path / name / "weights" / "dummy" / "bi.safetensors").state_dict()
        for name in ("one", "two")
    ]
    for key in states[0]:
        assert torch.allclose(states[0][key], states[1][key], atol=2e-4)


def test_the_curves_of_a_run_are_drawn(patterns: Path, tmp_path: Path, cli) -> None:
    go(patterns, tmp_path, method="dummy")
    (run,) = (tmp_path / "runs").iterdir()
    assert cli("plot", "training", run).code == 0
    assert (run / "training.png").read_bytes().startswith(b"\x89PNG")
    answer = cli("plot", "training", tmp_path)
    assert answer.code == 1
    assert "has no log.jsonl" in answer.err
