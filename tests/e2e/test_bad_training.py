"""Bad input to a training: one line that names the matter and the way out; nothing half-written."""

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch


@dataclass
class Place:
    """Where a case happens: a good dataset, and a folder to put bad files into."""

    data: Path
    root: Path

    def train(self, method: str, *more: object) -> list[object]:
        where = ("--out", self.root / "weights", "--runs", self.root / "runs", "--device", "cpu")
        return ["train", method, "--data", self.data, "--steps", 2, *where, *more]

    def change_index(self, change: Callable[[dict[str, str]], None]) -> None:
        path = self.data / "index.csv"
        rows = list(csv.DictReader(path.read_text().splitlines()))
        for row in rows:
            change(row)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def recogniser(self, size: int, operation: str = "Relu") -> Path:
        """Write an ONNX file whose input is a square of `size` px."""
        import onnx
        from onnx import TensorProto, helper

        shape = [1, 3, size, size]
        graph = helper.make_graph(
            [helper.make_node(operation, ["x"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        )
        path = self.root / "recogniser.onnx"
        onnx.save(helper.make_model(graph), str(path))
        return path


CASES: dict[str, tuple[Callable[[Place], list[object]], int, tuple[str, ...]]] = {}


def case(code: int, *words: str) -> Callable:
    def add(build: Callable[[Place], list[object]]) -> None:
        CASES[build.__name__] = (build, code, words)

    return add


@case(2, "needs a recogniser", "--encoder insightface:buffalo_l or onnx:FILE")
def no_encoder(p):
    return p.train("dummy", "--recipe", "default+face")


@case(1, "nothing.onnx was not found", "w600k_r50.onnx")
def missing_encoder(p):
    return p.train("dummy", "--recipe", "face", "--encoder", f"onnx:{p.root / 'nothing.onnx'}")


@case(1, "is no ONNX file")
def broken_encoder(p):
    (p.root / "broken.onnx").write_bytes(b"not a graph" * 99)
    return p.train("dummy", "--recipe", "face", "--encoder", f"onnx:{p.root / 'broken.onnx'}")


@case(1, "takes an input of [1, 3, 64, 64]", "expected [n, 3, 112, 112]")
def encoder_of_another_shape(p):
    return p.train("dummy", "--recipe", "face", "--encoder", f"onnx:{p.recogniser(64)}")


@case(1, "cannot be turned into a torch network", "Bernoulli")
def encoder_of_unknown_operations(p):
    return p.train(
        "dummy", "--recipe", "face", "--encoder", f"onnx:{p.recogniser(112, 'Bernoulli')}"
    )


@case(1, "recogniser.onnx turns two faces into [2, 3, 112, 112], expected two vectors")
def encoder_without_vectors(p):
    return p.train("dummy", "--recipe", "face", "--encoder", f"onnx:{p.recogniser(112)}")


@case(2, "unknown encoder 'onx'", "Did you mean 'onnx'?")
def misspelt_encoder(p):
    return p.train("dummy", "--recipe", "face", "--encoder", "onx:file")


@case(2, "must not be trained on its own judge", "'dlib!'")
def the_judge_as_encoder(p):
    return p.train("dummy", "--recipe", "face", "--encoder", "dlib")


@case(1, "InsightFace's 'buffalo_x' is not in", "onnx:FILE")
def missing_insightface_pack(p):
    return p.train("dummy", "--recipe", "face", "--encoder", "insightface:buffalo_x")


@case(2, "unknown recipe 'fase'", "Did you mean 'face'?")
def misspelt_loss(p):
    return p.train("dummy", "--recipe", "quick+fase")


@case(2, "unknown component of FAPN 'nik'", "Did you mean 'nic'?")
def misspelt_component(p):
    return p.train("fapn", "--without", "nik")


@case(1, "vgg19-dcbb9e9d.pth", "--vgg")
def missing_vgg(p):
    return p.train("dummy", "--recipe", "vgg", "--vgg", p.root / "vgg19.pth")


@case(1, "does not hold torchvision's VGG19")
def broken_vgg(p):
    torch.save({"features.0.weight": torch.zeros(1)}, p.root / "vgg19.pth")
    return p.train("dummy", "--recipe", "vgg", "--vgg", p.root / "vgg19.pth")


@case(2, "there is no flow to train beforehand", "Leave --flow-steps out")
def no_flow_to_train(p):
    return p.train("dummy", "--flow-steps", 1)


@case(2, "no flow to train beforehand: the losses are mse")
def the_flow_was_left_out(p):
    return p.train("fapn", "--without", "nic", "--flow-steps", 1)


@case(2, "the loss 'tgan' warps frames by the network's own flow", "'gan' needs none")
def a_discriminator_of_warped_frames_without_a_flow(p):
    return p.train("dummy", "--recipe", "tecogan")


@case(2, "device 'cuda' is not available here; use --device auto or cpu")
def no_such_device(p):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    return [*p.train("dummy"), "--device", "cuda"]


@case(2, "unknown device 'cud'")
def misspelt_device(p):
    return [*p.train("dummy"), "--device", "cud"]


@case(1, "lacks the landmarks of clip", "prepare the dataset again")
def landmarks_missing(p):
    p.change_index(lambda row: row.update(landmarks=""))
    return p.train("dummy")


@case(1, "start.safetensors")
def missing_start(p):
    return p.train("dummy", "--start", p.root / "start.safetensors")


@case(1, "another.safetensors")
def start_of_another_network(p):
    from fvsr_bench.registry import load_card

    card = json.dumps({"format": 1, "method": "dummy"})
    assert load_card("vespcn", "bi").method == "vespcn"
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.zeros(1)}, p.root / "another.safetensors")
    (p.root / "another.json").write_text(card)
    return p.train("dummy", "--start", p.root / "another.safetensors")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(patterns: Path, tmp_path: Path, cli: Callable) -> None:
    tmp_path.chmod(0o500)
    answer = cli(*Place(patterns, tmp_path).train("dummy"))
    assert answer.code == 1
    assert "permission denied" in answer.err


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_one_line_and_leaves_nothing(
    name: str, patterns: Path, tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    build, code, words = CASES[name]
    place = Place(Path(shutil.copytree(patterns, tmp_path / "data")), tmp_path)
    answer = cli(*build(place))
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    assert "unexpected" not in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    for word in words:
        assert word in answer.err
    assert not list((tmp_path / "weights").rglob("*.*"))
    assert not list((tmp_path / "runs").rglob("*.pt"))


def test_a_disk_that_fills_while_frames_are_decoded(
    patterns: Path, tmp_path: Path, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written through a map, a full disk would end the process without a word."""
    data = tmp_path / "data"
    shutil.copytree(patterns, data, ignore=shutil.ignore_patterns(".cache"))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    answer = cli(*Place(data, tmp_path).train("dummy"))
    assert answer.code == 1
    assert "the disk is full; free some space and run the same command again" in answer.err
    assert not list((data / ".cache").glob(".*.tmp"))
    assert not list((data / ".cache").glob("*.npy"))
    monkeypatch.undo()
    assert cli(*Place(data, tmp_path).train("dummy")).code == 0
