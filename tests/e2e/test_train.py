"""Training: learns, stops in time, resumes bit for bit after a kill, and stops at NaN."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from fvsr_bench.data.store import ClipInfo, Dataset, DatasetMeta, DatasetWriter, open_dataset
from fvsr_bench.errors import ModelError, UsageError, WeightsError
from fvsr_bench.registry import load_card, load_model, load_spec
from fvsr_bench.spec import TrainRecipe
from fvsr_bench.train import Event, TrainJob, train

RECIPE = TrainRecipe(steps=7, batch=2, frames=3, warmup=2, precision="fp32", losses={"mse": 1.0})


def pattern(seed: int, frames: int, size: int) -> np.ndarray:
    """Return uint8 frames [T, size, size, 3]: a few drifting waves, different for every seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    total = np.zeros((frames, size, size, 3))
    for _ in range(6):
        frequency, phase = rng.uniform(1, 6, 2), rng.uniform(0, 6.28, 3)
        speed, weight = rng.uniform(-0.4, 0.4), rng.uniform(0.3, 1.0, 3)
        for t in range(frames):
            wave = frequency[0] * x + frequency[1] * y + speed * t
            total[t] += weight * np.sin(6.28 * wave[..., None] + phase)
    return np.round(255 * (0.5 + total / 10).clip(0, 1)).astype(np.uint8)


def make_tiny_dataset(root: Path, *, frames: int = 12, size: int = 64) -> Dataset:
    """Write four training clips, one validation and one test clip."""
    meta = DatasetMeta(name="tiny", kind="faces", size=size, frames=frames)
    writer = DatasetWriter(root, meta)
    face = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]]) * size
    for i, split in enumerate(("train", "train", "train", "train", "val", "test")):
        info = ClipInfo(
            clip=f"c{i}",
            source=f"c{i}.avi",
            subject=f"s{i}",
            split=split,
            fps=25.0,
            first_frame=0,
            frames=frames,
            boxes=[[0.0, 0.0, float(size), float(size)]] * frames,
            landmarks=[face.tolist()] * frames,
        )
        writer.add(info, pattern(i, frames, size))
    return writer.finish()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tiny")
    return make_tiny_dataset(root).root


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def go(
    tiny: Path, where: Path, method: str = "frvsr", stop_after: int = 0, **changes
) -> list[Event]:
    """Train to the end, or leave the loop after some steps as a killed process would."""
    job = TrainJob(method=method, recipe=dataclasses.replace(RECIPE, **changes))
    events = []
    for event in train(
        job,
        open_dataset(tiny),
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
    tiny: Path, tmp_path: Path
) -> None:
    events = go(tiny, tmp_path, method="dummy")
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
def test_resuming_is_exact(tiny: Path, tmp_path: Path, stop_after: int) -> None:
    go(tiny, tmp_path / "whole")
    go(tiny, tmp_path / "cut", stop_after=stop_after)
    go(tiny, tmp_path / "cut")
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    path = tmp_path / "whole" / "weights" / "frvsr" / "bi.safetensors"
    assert len(whole) == len(cut) == path.stat().st_size
    a = load_model("frvsr", path).state_dict()
    b = load_model("frvsr", tmp_path / "cut" / "weights" / "frvsr" / "bi.safetensors").state_dict()
    assert all(torch.equal(a[key], b[key]) for key in a)


def command(tiny: Path, where: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "fvsr_bench", "train", "dummy", "--data", str(tiny)),
        *("--out", str(where / "weights"), "--runs", str(where / "runs"), "--device", "cpu"),
        *("--steps", "140", "--validate-every", "140", *more),
    ]


def test_kill_minus_nine_and_again(tiny: Path, tmp_path: Path) -> None:
    subprocess.run(command(tiny, tmp_path / "whole"), check=True, capture_output=True)
    process = subprocess.Popen(
        command(tiny, tmp_path / "cut"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
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
    subprocess.run(command(tiny, tmp_path / "cut"), check=True, capture_output=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_a_time_limit_ends_cleanly_and_the_next_call_goes_on(tiny: Path, tmp_path: Path) -> None:
    job = TrainJob(method="dummy", recipe=RECIPE)
    where = {"out": tmp_path / "weights", "runs": tmp_path / "runs", "fabric": fabric()}
    first = list(train(job, open_dataset(tiny), minutes=1e-9, **where))
    assert "goes on from there" in first[-1].note
    assert first[-1].step == 1
    assert list(train(job, open_dataset(tiny), **where))[-1].finished is not None


def test_it_learns(tiny: Path, tmp_path: Path) -> None:
    go(tiny, tmp_path, method="dummy", steps=60, learning_rate=2e-2, schedule="flat", ema=0.0)
    rows = losses(tmp_path)
    mean = [sum(row["mse"] for row in part) / len(part) for part in (rows[:10], rows[-10:])]
    assert mean[1] < 0.8 * mean[0]


def test_nan_stops_with_step_clips_and_checkpoint(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    from fvsr_bench import losses

    calls, original = iter(range(100)), losses.mse
    poison = [0.0] * 4 + [float("nan")]
    monkeypatch.setattr(losses, "mse", lambda sr, hr: original(sr, hr) + poison[next(calls)])
    with pytest.raises(ModelError, match=r"nan at step 5 on clips c\d, c\d; the last good state"):
        go(tiny, tmp_path)
    monkeypatch.undo()
    assert go(tiny, tmp_path)[0].step == 5  # goes on from the checkpoint of step 4


def test_an_unknown_loss_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown loss 'mes'. Did you mean 'mse'\?"):
        go(tiny, tmp_path, losses={"mes": 1.0})


def test_a_broken_checkpoint_is_refused(tiny: Path, tmp_path: Path) -> None:
    go(tiny, tmp_path, stop_after=3)
    (path,) = (tmp_path / "runs").glob("*/checkpoint.pt")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(WeightsError, match="cannot be read"):
        go(tiny, tmp_path)


def test_a_method_without_parameters_is_refused(tiny: Path, tmp_path: Path) -> None:
    assert not load_spec("bicubic").trainable
    with pytest.raises(UsageError, match="nothing to train"):
        go(tiny, tmp_path, method="bicubic")
