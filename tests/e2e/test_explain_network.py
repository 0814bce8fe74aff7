"""What a network makes of its parts: planted memories and flows are found, real ones are shown."""

import csv
import dataclasses
import gc
import re
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fvsr_bench.cli import data_sources
from fvsr_bench.cli.explain import network
from fvsr_bench.data.store import Dataset, open_dataset
from fvsr_bench.explain.network import _flow_gain, _stream, portray
from fvsr_bench.nn import upsample
from fvsr_bench.registry import load_card, read_weights, save_weights
from fvsr_bench.spec import Clip


class Rememberer:
    """Adds what it remembers to bicubic: a constant in `hidden`, the frame before in `lr`."""

    scale = 4

    def step(self, frame: Tensor, state: dict | None = None, future: Tensor | None = None):
        state = {"lr": frame, "hidden": torch.ones(1)} if state is None else state
        sr = upsample(frame, 4, "nearest") + 0.1 * state["hidden"]
        moved = upsample(state["lr"] - frame, 4, "nearest")
        return sr + moved, {"lr": frame, "hidden": torch.ones(1)}

    def hr_flows(self, lr: Tensor) -> Tensor:
        flow = torch.zeros(len(lr), lr.shape[1] - 1, 2, 32, 32)
        flow[:, :, 0] = -4
        return flow


@pytest.fixture
def moving() -> tuple[Tensor, Tensor]:
    """A picture that moves to the right by one LR px a frame, all of it dark; HR is made of it."""
    torch.manual_seed(0)
    wide = 0.5 * torch.rand(1, 3, 8, 12)
    lr = torch.stack([wide[..., 3 - t : 11 - t] for t in range(4)], 1)
    hr = upsample(lr.flatten(0, 1), 4, "nearest").unflatten(0, (1, 4))
    return lr, hr


def test_what_is_taken_away_is_missed(moving: tuple[Tensor, Tensor]) -> None:
    lr, hr = moving
    target = torch.stack([Rememberer().step(lr[:, 0])[0]], 1)
    sr = _stream(Rememberer(), lr, hr, 0)[1]
    assert torch.allclose(sr[:, 0], target[:, 0])
    as_it_is, _, keys = _stream(Rememberer(), lr, sr, 0)
    assert keys == {"lr", "hidden"}
    assert (as_it_is > 50).all()  # its own output is the target; rounding is all that differs
    emptied = _stream(Rememberer(), lr, sr, 0, empty="hidden")[0]
    assert emptied[0, 0] > 50  # nothing was remembered yet
    assert emptied[0, 1:].tolist() == pytest.approx([20.0] * 3, abs=0.6)  # 0.1 of full range
    still = _stream(Rememberer(), lr, sr, 0, still=True)[0]
    motion = (lr[:, :-1] - lr[:, 1:]).square().mean((0, 2, 3, 4))
    assert still[0, 1:].tolist() == pytest.approx((-10 * motion.log10()).tolist(), abs=0.3)


def test_a_flow_that_aligns_is_seen_to_align(moving: tuple[Tensor, Tensor]) -> None:
    lr, hr = moving
    assert _flow_gain(Rememberer(), lr, hr) > 3
    assert _flow_gain(object(), lr, hr) is None


def test_the_command_shows_real_networks(
    cli: Callable, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    words = ("explain", "network", "fapn", "vespcn@bi", "--data", tiny, "--split", "test")
    answer = cli(*words, "--limit", 1, "--out", out)
    assert answer.code == 0, answer.err
    rows = {row["method"]: row for row in _read(out / "network.csv")}
    assert float(rows["fapn"]["lost_hidden"]) != 0
    assert rows["vespcn"]["lost_hidden"] == ""
    assert 0 <= float(rows["fapn"]["dead"]) < 0.5
    assert float(rows["fapn"]["flow_gradient"]) > 0
    assert "| fapn bi" in (out / "network.md").read_text()
    monkeypatch.setattr("fvsr_bench.explain.network.portray", None)  # nothing is begun
    answer = cli("explain", "network", "fapn", "fapn@b1", "--data", tiny, "--split", "test")
    assert answer.code == 1
    assert "no weights tagged 'b1'" in answer.err


def test_converted_weights_are_looked_at_like_our_own(
    tiny: Path, weights_dir: Path, project_root: Path
) -> None:
    own = project_root / "weights" / "frvsr" / "bi.safetensors"
    card = dataclasses.replace(load_card("frvsr", own), recipe={"name": "the authors'"}, tag="port")
    save_weights(weights_dir / "frvsr" / "port.safetensors", read_weights(own), card)
    found = portray("frvsr", "port", open_dataset(tiny), ("clip0",), torch.device("cpu"))
    assert found.flow_gradient is not None
    assert found.flow_gradient > 0


def test_a_method_that_cannot_stream_is_refused(
    cli: Callable, tiny: Path, method_file: Callable, weights_dir: Path, save_dummy: Callable
) -> None:
    card = dataclasses.replace(load_card("dummy", save_dummy()), method="whole")
    save_weights(weights_dir / "whole" / "bi.safetensors", {}, card)
    answer = cli("explain", "network", method_file("whole"), "--data", tiny, "--split", "test")
    assert answer.code == 2
    assert "needs the whole clip at once" in answer.err
    assert "choose one with look-ahead 0 or 1" in answer.err


def test_clips_are_looked_at_one_by_one_whatever_their_length(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref] = []
    most, real = [], Dataset.load

    def cut(self: Dataset, clip_id: str) -> Clip:
        gc.collect()
        most.append(sum(ref() is not None for ref in alive))
        clip = real(self, clip_id)
        count = {"clip1": 3}.get(clip_id, 5)
        clip = dataclasses.replace(clip, lr=clip.lr[:count], hr=clip.hr[:count])
        alive.append(weakref.ref(clip))
        return clip

    dataset, cpu = open_dataset(tiny), torch.device("cpu")
    single = [portray("fapn", "bi", dataset, (f"clip{k}",), cpu) for k in (0, 2)]
    both = portray("fapn", "bi", dataset, ("clip0", "clip2"), cpu)
    for name in ("psnr", "first", "last", "still", "flow_gain"):
        mean = sum(getattr(p, name) for p in single) / 2
        assert getattr(both, name) == pytest.approx(mean, abs=1e-4), name
    for name in ("hidden state", "SR fed back"):
        mean = sum(p.lost[name] for p in single) / 2
        assert both.lost[name] == pytest.approx(mean, abs=1e-4), name
    assert both.dead == single[0].dead
    assert both.residual == pytest.approx(single[0].residual, abs=1e-4)
    monkeypatch.setattr(Dataset, "load", cut)
    portrait = portray("fapn", "bi", dataset, ("clip0", "clip1", "clip2"), cpu)
    assert portrait.psnr > 10
    assert max(most) <= 1


def test_the_example_in_the_help_works_on_the_demo(
    cli: Callable, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"fvsr-bench (explain network .*demo.*)", network.__doc__ or "")
    monkeypatch.setattr(data_sources, "open_data", lambda name: open_dataset(tiny))  # as the demo:
    assert set(open_dataset(tiny).index["split"]) == {"test", "train"}  # no validation clips
    answer = cli(*example.split(), "--out", tmp_path / "out")
    assert answer.code == 0, answer.err


def _read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))
