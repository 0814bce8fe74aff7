"""Training: learns, stops in time, resumes bit for bit after a kill, and stops at NaN."""

import dataclasses
import json
import math
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric
from onnx import TensorProto, helper

from fvsr_bench.data.loader import TrainSampler
from fvsr_bench.data.store import open_dataset
from fvsr_bench.errors import DataError, ModelError, UsageError, WeightsError
from fvsr_bench.files import sha256
from fvsr_bench.health import DeadChannels, residual_size
from fvsr_bench.judges import Judges
from fvsr_bench.objective import Objective
from fvsr_bench.recipes import LOSSES
from fvsr_bench.registry import build, load_card, load_model, load_spec
from fvsr_bench.report.training import curves_markdown, spent_before
from fvsr_bench.spec import TrainRecipe
from fvsr_bench.train import (
    Event,
    Learner,
    TrainJob,
    _mean_of_clips,
    launch,
    learning_rate,
    train,
    update_average,
)

RECIPE = TrainRecipe(steps=7, batch=2, frames=3, warmup=2, precision="fp32", losses={"mse": 1.0})


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def go(
    patterns: Path,
    where: Path,
    method: str = "frvsr",
    stop_after: int = 0,
    tag: str = "bi",
    seed: int = 0,
    **changes,
) -> list[Event]:
    """Train to the end, or leave the loop after some steps as a killed process would."""
    recipe = dataclasses.replace(RECIPE, **changes)
    job = TrainJob(method=method, recipe=recipe, tag=tag, seed=seed)
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


TECOGAN = {"mse": 1.0, "flow": 1.0, **LOSSES["tecogan"]}


@pytest.mark.parametrize(("stop_after", "changes"), [(1, {}), (5, {}), (5, {"losses": TECOGAN})])
def test_resuming_is_exact(patterns: Path, tmp_path: Path, stop_after: int, changes: dict) -> None:
    go(patterns, tmp_path / "whole", **changes)
    go(patterns, tmp_path / "cut", stop_after=stop_after, **changes)
    go(patterns, tmp_path / "cut", **changes)
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
        *("--steps", "400", "--validate-every", "400", *more),
    ]


def test_kill_minus_nine_at_any_step_and_again(patterns: Path, tmp_path: Path) -> None:
    """Twice: before the first checkpoint (step 100) and after it, at steps that nobody chose."""
    subprocess.run(command(patterns, tmp_path / "whole"), check=True, capture_output=True)
    for step in (random.randrange(1, 90), random.randrange(101, 300)):
        process = subprocess.Popen(
            command(patterns, tmp_path / "cut"),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            logs = list((tmp_path / "cut" / "runs").glob("*/log.jsonl"))
            if logs and len(logs[0].read_text().splitlines()) >= step:
                break
            time.sleep(0.01)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert step <= len(losses(tmp_path / "cut")) < 400, f"killed after step {step}"
    subprocess.run(command(patterns, tmp_path / "cut"), check=True, capture_output=True)
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    whole, cut = kept(tmp_path / "whole"), kept(tmp_path / "cut")
    for part in ("network", "average"):
        assert all(torch.equal(cut[part][key], value) for key, value in whole[part].items())
    moments = [part["optimiser"]["state"][0]["exp_avg"] for part in (whole, cut)]
    assert torch.equal(*moments)


def test_a_time_limit_ends_cleanly_and_the_next_call_goes_on(
    patterns: Path, tmp_path: Path
) -> None:
    job = TrainJob(method="dummy", recipe=RECIPE)
    where = {"out": tmp_path / "weights", "runs": tmp_path / "runs", "fabric": fabric()}
    first = list(train(job, open_dataset(patterns), minutes=1e-9, **where))
    assert "goes on from there" in first[-1].note
    assert first[-1].step == 1
    assert list(train(job, open_dataset(patterns), **where))[-1].finished is not None


def test_the_rate_warms_up_and_follows_half_a_cosine() -> None:
    recipe = TrainRecipe(steps=100, warmup=20, learning_rate=1.0, schedule="cosine")
    assert learning_rate(recipe, 0) == pytest.approx(1 / 20)
    assert learning_rate(recipe, 9) == pytest.approx(
        0.5 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * 0.09)))
    )
    assert learning_rate(recipe, 50) == pytest.approx(0.01 + 0.99 / 2)
    assert 0.01 < learning_rate(recipe, 99) < 0.011
    flat = dataclasses.replace(recipe, schedule="flat", warmup=0)
    assert {learning_rate(flat, step) for step in range(100)} == {1.0}


def test_a_step_works_on_channels_last_weights_and_clipped_gradients(patterns: Path) -> None:
    recipe = dataclasses.replace(RECIPE, clip_grad=1e-4)
    learner = Learner(
        TrainJob(method="dummy", recipe=recipe), open_dataset(patterns), fabric(), Judges()
    )
    learner.step(TrainSampler(open_dataset(patterns), recipe, seed=0).batch(0), 0)
    weights = list(learner.network.parameters())
    assert weights[0].is_contiguous(memory_format=torch.channels_last)
    norm = torch.cat([p.grad.flatten() for p in weights if p.grad is not None]).norm()
    assert norm == pytest.approx(1e-4, rel=1e-3)


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
    with pytest.raises(
        ModelError,
        match=r"nan at step 5 on clips c\d, c\d; the last good state is .*checkpoint\.pt\.",
    ):
        go(patterns, tmp_path)
    monkeypatch.undo()
    assert go(patterns, tmp_path)[0].step == 5  # goes on from the checkpoint of step 4


def kept(where: Path) -> dict:
    """Return the checkpoint of the only run."""
    (path,) = (where / "runs").glob("*/checkpoint.pt")
    return torch.load(path, weights_only=True)


def test_a_gradient_that_is_not_finite_changes_no_weight(
    patterns: Path, tmp_path: Path, monkeypatch
) -> None:
    """The loss itself is fine, and nothing clips gradients in this recipe."""
    from fvsr_bench import losses

    calls, original = iter(range(100)), losses.mse

    def steep(sr, hr):  # the root's slope at 0 is infinite
        return original(sr, hr) + (torch.sqrt(0 * sr.sum()) if next(calls) == 4 else 0)

    monkeypatch.setattr(losses, "mse", steep)
    with pytest.raises(ModelError, match="a gradient that is not finite at step 5"):
        go(patterns, tmp_path, method="dummy", clip_grad=0.0)
    state = kept(tmp_path)
    assert state["progress"]["step"] == 4
    assert all(torch.isfinite(value).all() for value in state["network"].values())


def test_an_explosion_stops(patterns: Path, tmp_path: Path, monkeypatch) -> None:
    from fvsr_bench import losses

    calls, original = iter(range(100)), losses.mse
    factor = [1.0] * 24 + [1e4]
    monkeypatch.setattr(losses, "mse", lambda sr, hr: original(sr, hr) * factor[next(calls)])
    with pytest.raises(ModelError, match=r"gave a loss of \d+.* at step 25 on clips"):
        go(patterns, tmp_path, method="dummy", steps=30)


def test_a_discriminator_that_fails_stops(patterns: Path, tmp_path: Path, monkeypatch) -> None:
    from fvsr_bench import losses

    calls, original = iter(range(100)), losses.discriminator_loss
    poison = [0.0] * 2 + [float("nan")]
    monkeypatch.setattr(
        losses, "discriminator_loss", lambda *pair: original(*pair) + poison[next(calls)]
    )
    with pytest.raises(ModelError, match="a loss of the discriminator of nan at step 3"):
        go(patterns, tmp_path, method="dummy", losses={"mse": 1.0, "gan": 1e-3})
    critic = kept(tmp_path)["objective"]["critic"]
    assert all(torch.isfinite(value).all() for value in critic.values())


def test_an_unknown_loss_is_named(patterns: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown loss 'mes'. Did you mean 'mse'\?"):
        go(patterns, tmp_path, losses={"mes": 1.0})


def test_the_papers_losses_train_with_a_recogniser_and_name_it(
    patterns: Path, tmp_path: Path, cli
) -> None:
    """Crops, organs and identity vectors by an ONNX file; another file is another training."""
    arguments = command(patterns, tmp_path, "--recipe", "quick+face", "--steps", "2", "--tag", "f")
    files = []
    for number in (1, 2):
        files.append(write_recogniser(tmp_path / f"{number}.onnx", seed=number))
        out = ("--out", tmp_path / f"weights{number}")
        done = cli(*arguments[3:], "--encoder", f"onnx:{files[-1]}", *out)
        assert done.code == 0, done.err
    cards = [
        load_card("dummy", tmp_path / f"weights{number}" / "dummy" / "f.safetensors")
        for number in (1, 2)
    ]
    assert [card.made_from["encoder"] for card in cards] == [sha256(file) for file in files]
    logs = sorted((tmp_path / "runs").glob("*/log.jsonl"))
    assert len(logs) == 2
    for log in logs:
        rows = [json.loads(row) for row in log.read_text().splitlines()]
        assert all(row["organ"] > 0 and row["face"] > 0 for row in rows)


def write_recogniser(path: Path, seed: int) -> Path:
    """Write a random recogniser as ONNX: one convolution, pooled to a vector of 8."""
    weight = np.random.default_rng(seed).normal(size=(8, 3, 5, 5)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "weight"], ["maps"], strides=[4, 4]),
            helper.make_node("Relu", ["maps"], ["active"]),
            helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["y"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.flatten())],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


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


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gradients(patterns: Path, method: str, count: int, precision: str) -> list[torch.Tensor | None]:
    """Make two steps on `count` threads; return the gradients of the second."""
    recipe = dataclasses.replace(RECIPE, batch=3, precision=precision, losses=METHOD_LOSSES)
    dataset = open_dataset(patterns)
    learner = Learner(TrainJob(method=method, recipe=recipe), dataset, fabric(), Judges())
    sampler = TrainSampler(dataset, recipe, seed=0)
    with threads(count):
        for number in range(2):
            learner.step(sampler.batch(number), number)
        assert torch.get_num_threads() == count
    return [parameter.grad for parameter in learner.network.parameters()]


METHOD_LOSSES = {"mse": 1.0, "flow": 0.01}


@pytest.mark.parametrize("method", ["fapn", "frvsr"])
def test_threads_that_share_the_clips_make_the_same_step(patterns: Path, method: str) -> None:
    """Three clips on one, two (two clips and one) and eight threads."""
    one, two, many = (gradients(patterns, method, count, "fp32") for count in (1, 2, 8))
    scale = max(float(g.abs().max()) for g in one if g is not None)
    for expected, *others in zip(one, two, many, strict=True):
        for found in others:
            assert (found is None) == (expected is None)
            if found is not None:
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * scale)
                if found.dim() == 4:  # as its weight: Adam is slow on mixed layouts
                    assert found.is_contiguous(memory_format=torch.channels_last)


def test_the_pace_of_threads_changes_no_bit(patterns: Path) -> None:
    first = gradients(patterns, "fapn", 3, "bf16")
    for _ in range(2):
        again = gradients(patterns, "fapn", 3, "bf16")
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True) if a is not None)


@pytest.mark.parametrize("layer", [torch.nn.BatchNorm2d(4), torch.nn.Dropout2d(0.5)])
def test_threads_share_nothing_that_sees_the_whole_batch(patterns: Path, layer) -> None:
    recipe, dataset = dataclasses.replace(RECIPE, batch=2), open_dataset(patterns)

    def divisible(network: torch.nn.Module, **terms: float) -> bool:
        chosen = dataclasses.replace(recipe, losses={"mse": 1.0, **terms})
        objective = Objective(chosen, Judges(), face_size=160, device="cpu")
        return _mean_of_clips(network, objective)

    network = build("frvsr")
    assert divisible(network, flow=1.0)
    assert not divisible(network, organ=0.05)
    assert not divisible(network, gan=1e-3)
    assert not divisible(torch.nn.Sequential(network, layer))
    assert Learner(TrainJob(method="dummy", recipe=recipe), dataset, fabric(), Judges()).divisible


def test_nan_in_one_thread_stops_before_any_weight_changes(patterns: Path, monkeypatch) -> None:
    from fvsr_bench import losses

    recipe, dataset = dataclasses.replace(RECIPE, batch=2), open_dataset(patterns)
    learner = Learner(TrainJob(method="dummy", recipe=recipe), dataset, fabric(), Judges())
    before = {k: v.clone() for k, v in learner.network.state_dict().items()}
    batch, mse = TrainSampler(dataset, recipe, seed=0).batch(0), losses.mse
    poisoned = batch.hr[1, 0, 0, 0, 0]
    monkeypatch.setattr(
        losses, "mse", lambda sr, hr: mse(sr, hr) * (math.nan if poisoned in hr[:, 0] else 1)
    )
    with threads(2), pytest.raises(FloatingPointError, match="a loss of nan"):
        learner.step(batch, 0)
    assert all(torch.equal(before[k], v) for k, v in learner.network.state_dict().items())


def one_step(patterns: Path, method: str, micro_batch: int, **changes) -> tuple[dict, dict, int]:
    """Make one step; returns the losses, the new weights, and the peak of saved activations."""
    recipe = dataclasses.replace(RECIPE, batch=4, warmup=0, **changes)
    dataset, alive, peak = open_dataset(patterns), 0, 0

    class Kept:
        def __init__(self, tensor: torch.Tensor) -> None:
            nonlocal alive, peak
            self.tensor = tensor
            alive += tensor.nbytes
            peak = max(peak, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= self.tensor.nbytes

    job = TrainJob(method=method, recipe=recipe)
    learner = Learner(job, dataset, fabric(), Judges(), micro_batch)
    before = {k: v.clone() for k, v in learner.network.state_dict().items()}
    with threads(1), torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
        found = learner.step(TrainSampler(dataset, recipe, seed=0).batch(0), 0)
    after = learner.network.state_dict()
    return found, {k: after[k] - before[k] for k in after}, peak


@pytest.mark.parametrize("losses", [{"mse": 1.0}, {"mse": 1.0, "gan": 1e-3}])
def test_micro_batches_make_the_same_step_with_less_memory(patterns: Path, losses: dict) -> None:
    whole, moved, memory = one_step(patterns, "frvsr", 0, losses=losses, learning_rate=1e-3)
    parts, same, less = one_step(patterns, "frvsr", 1, losses=losses, learning_rate=1e-3)
    assert parts["mse"] == pytest.approx(whole["mse"], rel=1e-5)
    # Adam's first step is the sign of the gradient: where that is not tiny, both moved alike.
    agree = [torch.isclose(moved[k], same[k], atol=1e-4).float().mean() for k in moved]
    assert min(agree) > (0.99 if "gan" not in losses else 0.5)  # its BatchNorm sees other batches
    if "gan" not in losses:
        assert less < 0.5 * memory  # a quarter of the activations, and the weights


def test_a_discriminator_has_its_say_to_the_end(patterns: Path, tmp_path: Path) -> None:
    """PSNR chooses among checkpoints; among adversarial ones it would choose the least trained."""
    adversarial = {"mse": 1.0, "gan": 1e-3}
    changes = {"learning_rate": 0.3, "schedule": "flat", "ema": 0.0}  # gets worse quickly
    plain = go(patterns, tmp_path / "mse", "dummy", **changes)[-1].finished
    gan = go(patterns, tmp_path / "gan", "dummy", losses=adversarial, **changes)[-1].finished
    assert gan.steps == gan.recipe["steps"] == 7
    values = [row["val_psnr"] for row in losses(tmp_path / "mse") if "val_psnr" in row]
    assert plain.validation["psnr"] == pytest.approx(max(values), abs=0.02)
    values = [row["val_psnr"] for row in losses(tmp_path / "gan") if "val_psnr" in row]
    assert max(values) > values[-1] + 0.05
    assert gan.validation["psnr"] == pytest.approx(values[-1], abs=0.02)


def test_the_first_steps_may_teach_the_flow_alone(patterns: Path) -> None:
    losses = {"mse": 1.0, "flow": 1.0}
    _, moved, _ = one_step(patterns, "frvsr", 0, losses=losses, flow_steps=1)
    changed = {key for key, delta in moved.items() if delta.abs().max() > 0}
    assert changed
    assert all(key.startswith("fnet.") for key in changed)
    _, moved, _ = one_step(patterns, "frvsr", 0, losses=losses)
    assert any(moved[key].abs().max() > 0 for key in moved if not key.startswith("fnet."))
    with pytest.raises(UsageError, match=r"no flow to train beforehand: the losses are mse"):
        one_step(patterns, "dummy", 0, flow_steps=1)


def test_the_end_of_the_flow_steps_is_no_explosion(patterns: Path, tmp_path: Path) -> None:
    losses = {"mse": 1.0, "motion": 1e-6}
    events = go(patterns, tmp_path, "vespcn", losses=losses, flow_steps=22, steps=24)
    assert events[-1].finished is not None


def test_the_log_says_whether_the_network_is_alive(patterns: Path, tmp_path: Path) -> None:
    go(patterns, tmp_path)
    rows = [row for row in losses(tmp_path) if "val_psnr" in row]
    assert all(0 <= row["val_dead"] < 0.9 for row in rows)
    assert rows[0]["val_residual"] < rows[-1]["val_residual"]  # the head starts at zero


def test_dead_channels_are_counted_and_the_residual_measured() -> None:
    conv = torch.nn.Conv2d(3, 8, 1)
    with torch.no_grad():
        conv.weight.abs_()
        conv.bias[:] = torch.tensor([1.0] * 5 + [-1e3] * 3)
        with DeadChannels() as watch:
            torch.nn.functional.relu(conv(torch.rand(2, 3, 4, 4)))
            torch.nn.ReLU()(conv(torch.rand(2, 3, 4, 4)))
            conv(torch.rand(2, 3, 4, 4)).sigmoid()
    assert (watch.dead, watch.channels) == (6, 16)
    lr = torch.full((1, 3, 8, 8), 0.5)
    assert float(residual_size(torch.full((1, 3, 32, 32), 0.6), lr)) == pytest.approx(
        25.5, rel=1e-4
    )


def test_curves_for_tensorboard_where_it_is_installed(patterns: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    go(patterns, tmp_path, stop_after=5)
    go(patterns, tmp_path)
    (run,) = (tmp_path / "runs").iterdir()
    events = EventAccumulator(str(run)).Reload()
    mse = {event.step: event.value for event in events.Scalars("mse")}
    expected = {row["step"]: row["mse"] for row in losses(tmp_path)}
    assert mse == pytest.approx(expected, rel=1e-6)
    assert [event.step for event in events.Scalars("val_psnr")] == [3, 6, 7]


def test_a_full_disk_loses_nothing_and_the_run_goes_on(patterns: Path, tmp_path: Path) -> None:
    go(patterns, tmp_path, stop_after=5)
    (run,) = (tmp_path / "runs").iterdir()
    kept, limits = (run / "checkpoint.pt").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(DataError, match=r"\.pt: the file is larger than the system"):
            go(patterns, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (run / "checkpoint.pt").read_bytes() == kept
    assert not list(run.glob(".*.tmp"))
    go(patterns, tmp_path)
    go(patterns, tmp_path / "whole")
    assert losses(tmp_path) == losses(tmp_path / "whole")


def test_a_checkpoint_of_another_network_or_a_newer_version_is_refused(
    patterns: Path, tmp_path: Path
) -> None:
    go(patterns, tmp_path, stop_after=3)
    (path,) = (tmp_path / "runs").glob("*/checkpoint.pt")
    state = torch.load(path, weights_only=True)
    torch.save({**state, "format": 99}, path)
    with pytest.raises(WeightsError, match="newer version; update fvsr-bench"):
        go(patterns, tmp_path)
    for broken, message in (
        ({key: state[key] for key in state if key != "progress"}, "lacks progress; delete it"),
        ([1, 2], "holds no checkpoint of a training"),
    ):
        torch.save(broken, path)
        with pytest.raises(WeightsError, match=message):
            go(patterns, tmp_path)
    other = {key: value for key, value in state["network"].items() if "blocks.9" not in key}
    torch.save({**state, "network": other}, path)
    with pytest.raises(WeightsError, match=r"blocks\.9"):
        go(patterns, tmp_path)


def test_two_processes_make_the_step_that_one_makes(patterns: Path, tmp_path: Path) -> None:
    """The same global batch of 4, divided over two gloo processes: same losses, same weights."""
    arguments = ["--steps", "3", "--validate-every", "3"]
    arguments += ["--recipe", "paper", "--learning-rate", "0.2"]  # it is in float32
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
        assert b["mse"] == pytest.approx(a["mse"], rel=1e-5)
    states = [
        load_model("dummy", tmp_path / name / "weights/dummy/bi-paper.safetensors").state_dict()
        for name in ("one", "two")
    ]
    start = build("dummy").state_dict()
    for key in start:
        apart, moved = states[1][key] - states[0][key], states[0][key] - start[key]
        assert apart.norm() < 1e-3 * moved.norm()  # stored in half precision


def test_two_processes_train_an_ablation_with_a_discriminator(
    patterns: Path, tmp_path: Path
) -> None:
    """A flow network that no loss reaches, `forward_train`, and gradients that are averaged."""
    arguments = command(patterns, tmp_path, "--recipe", "quick+gan", "--without", "hr-feedback")
    arguments += ["--steps", "3", "--validate-every", "3", "--devices", "2"]
    arguments[arguments.index("dummy")] = "frvsr"
    subprocess.run(arguments, check=True, capture_output=True, timeout=300)
    rows = losses(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all({"mse", "gan", "critic"} <= row.keys() for row in rows)


def test_another_number_of_processes_than_asked_for_is_refused(monkeypatch) -> None:
    class Alone:  # what Fabric is in a Slurm job of one task, whatever it was asked for
        world_size = 1

        def __init__(self, **_: object) -> None: ...

        def launch(self) -> None: ...

    monkeypatch.setattr("fvsr_bench.train.Fabric", Alone)
    with pytest.raises(UsageError, match="asks for 2 processes, but there is 1"):
        launch("cpu:0", devices=2)


def test_a_batch_that_cannot_be_divided_evenly_is_refused(patterns: Path, tmp_path: Path) -> None:
    sampler = TrainSampler(open_dataset(patterns), RECIPE, seed=0)
    assert len(sampler.batch(0, rank=1, world=2).clips) == 1
    with pytest.raises(UsageError, match="batch of 2 clips cannot be divided evenly among 3"):
        sampler.batch(0, rank=0, world=3)


def test_processes_that_would_train_on_their_own_are_refused(monkeypatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")  # as torchrun does
    with pytest.raises(UsageError, match="4 processes were started, but --devices 1 --nodes 1"):
        launch("cpu")


def test_a_second_process_in_the_same_run_folder_is_refused(patterns: Path, tmp_path: Path) -> None:
    job = TrainJob(method="dummy", recipe=RECIPE)
    where = {"out": tmp_path / "weights", "runs": tmp_path / "runs", "fabric": fabric()}
    first = train(job, open_dataset(patterns), **where)
    next(first)
    with pytest.raises(UsageError, match="another process is training in"):
        next(train(job, open_dataset(patterns), **where))
    first.close()
    assert next(train(job, open_dataset(patterns), **where)).step == 1


def test_counters_of_a_normalisation_are_averaged_as_they_are() -> None:
    average, model = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    model(torch.rand(2, 2, 3, 3) + 5)
    update_average(average, model, 0.5, 100)
    assert average.num_batches_tracked == 1
    assert torch.allclose(average.running_mean, model.running_mean / 2)


def test_weights_trained_otherwise_are_not_replaced(patterns: Path, tmp_path: Path, cli) -> None:
    arguments = command(patterns, tmp_path)[3:-4]
    assert cli(*arguments, "--steps", 2).code == 0
    (path,) = tmp_path.glob("weights/dummy/bi.safetensors")
    before = path.read_bytes()
    answer = cli(*arguments, "--steps", 3)
    assert answer.code == 2
    assert "holds another network (steps: 2, not 3); choose another --tag" in answer.err
    answer = cli(*arguments, "--steps", 2, "--learning-rate", 1)
    assert "learning_rate: 0.0004, not 1.0" in answer.err
    assert cli(*arguments, "--steps", 2, "--seed", 1).code == 0  # a tag of its own
    assert path.read_bytes() == before
    assert cli(*arguments, "--steps", 2).code == 0  # the same training again: finished already
    assert cli(*arguments, "--steps", 3, "--force").code == 0
    assert load_card("dummy", path).steps == 3
    tail = (*arguments, "--steps", 2, "--tag", "on")
    assert cli(*tail, "--start", path).code == 0
    assert "holds another network (start: other weights, not none)" in cli(*tail).err
    assert cli(*tail, "--start", path).code == 0


def test_the_curves_of_a_run_are_drawn(patterns: Path, tmp_path: Path, cli) -> None:
    go(patterns, tmp_path, method="dummy")
    (run,) = (tmp_path / "runs").iterdir()
    assert cli("plot", "training", run).code == 0
    assert (run / "training.png").read_bytes().startswith(b"\x89PNG")
    answer = cli("plot", "training", tmp_path)
    assert answer.code == 1
    assert "has no log.jsonl" in answer.err


def test_runs_are_compared_over_steps_and_over_arithmetic(
    patterns: Path, tmp_path: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for steps in (60, 3):
        go(patterns, tmp_path, method="dummy", steps=steps, seed=steps, tag=f"bi-seed{steps}")
    runs = sorted((tmp_path / "runs").glob("dummy-*"))
    assert cli("plot", "training", *runs, "--out", "made").code == 0
    table = pd.read_csv(tmp_path / "made" / "training.csv")
    long = table[table["network"] == "dummy bi-seed60"]
    rows = [json.loads(row) for run in runs for row in (run / "log.jsonl").read_text().splitlines()]
    known = {row["val_psnr"] for row in rows if "val_psnr" in row}
    assert set(table["val_psnr"].dropna().round(4)) == {round(value, 4) for value in known}
    first = [json.loads(row)["mse"] for row in (runs[-1] / "log.jsonl").read_text().splitlines()]
    assert long.set_index("step")["mse"][50] == pytest.approx(sum(first[:50]) / 50, abs=1e-8)
    # Dummy is one 3x3 convolution from 3 to 48 channels, forward and to its weights.
    flop = 2 * (2 * 9 * 3 * 48 * RECIPE.patch**2) * RECIPE.frames * RECIPE.batch
    assert table["gflop"].iloc[0] * 1e9 == pytest.approx(flop, rel=1e-3)
    table["start"] = table["network"].map({"dummy bi-seed3": "dummy bi-seed60"}).fillna("")
    text = curves_markdown(table, "")
    assert "| 60 + 3 |" in text, "a continuation counts what came before"
    assert spent_before(table, "dummy bi-seed3") == (60, pytest.approx(60 * flop / 1e15, rel=1e-3))
    before = {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
    assert cli("plot", "training", tmp_path / "made" / "training.csv").code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == before
    kept = pd.read_csv(tmp_path / "made" / "training.csv", keep_default_na=False)
    kept[kept["network"] == "dummy bi-seed3"].to_csv(tmp_path / "kept.csv", index=False)
    assert cli("plot", "training", "kept.csv", runs[1], "--out", "mixed").code == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "mixed").iterdir()} == before
    answer = cli("plot", "training", "made/training.csv", runs[0], "--out", "mixed")
    assert answer.code == 2
    assert "two of these runs are of dummy bi-seed3" in answer.err
    answer = cli("plot", "training", "kept.csv", "made/training.csv", "--out", "mixed")
    assert answer.code == 2
    assert "two of these hold dummy bi-seed3" in answer.err
    answer = cli("plot", "training", *runs)
    assert answer.code == 2
    assert "say where with --out" in answer.err
    go(patterns, tmp_path, method="dummy", steps=3, seed=5, tag="bi-seed3")
    runs = sorted((tmp_path / "runs").glob("dummy-*"))
    answer = cli("plot", "training", *runs, "--out", "made")
    assert answer.code == 2
    assert "two of these runs are of dummy bi-seed3" in answer.err
    go(patterns, tmp_path, method="dummy", steps=4, seed=3, tag="bi-seed3")
    answer = cli("plot", "training", *(tmp_path / "runs").glob("dummy-bi-seed3-*"), "--out", "made")
    assert answer.out.count("is not the finished training of dummy/bi-seed3") == 2
    assert set(pd.read_csv(tmp_path / "made" / "training.csv")["network"]) == {"dummy bi-seed3"}
