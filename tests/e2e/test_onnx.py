"""The exported step makes in onnxruntime the frames that torch makes, over a whole clip."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fvsr_bench import registry
from fvsr_bench.export import export_onnx, run_onnx
from fvsr_bench.infer import stream

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

SMALL = {
    "fapn": {"width": 8, "hidden": 4, "rcabs": 1, "reduction": 4},
    "frvsr": {"width": 8, "blocks": 1},
    "vespcn": {"width": 8},
}
SIZE, FRAMES = 16, 32


def small(method: str) -> torch.nn.Module:
    """Build a small network whose every parameter is random (heads start at zero otherwise)."""
    torch.manual_seed(0)
    model = registry.build(method, SMALL.get(method)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def frames_of(model: torch.nn.Module, frames: list[torch.Tensor], lookahead: int) -> np.ndarray:
    """Stream frames through torch."""
    out = stream(model, frames, lookahead=lookahead)
    return np.stack([frame.detach().numpy() for frame in out])


@pytest.mark.parametrize("method", SMALL)
def test_32_frames_are_the_same(
    method: str, tmp_path: Path, project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, lookahead = small(method), registry.load_spec(method).lookahead
    assert lookahead is not None
    path = tmp_path / f"{method}.onnx"
    exported = export_onnx(model, path, lookahead=lookahead, size=SIZE, about={"x": "y"})
    generator = torch.Generator().manual_seed(1)
    frames = list(torch.rand(FRAMES, 1, 3, SIZE, SIZE, generator=generator))
    expected = frames_of(model, frames, lookahead)
    arrays = [frame.numpy() for frame in frames]
    np.testing.assert_allclose(run_onnx(exported, arrays), expected, atol=1e-4)
    plain = frames_of(small("bicubic"), frames, 0)
    assert np.abs(expected - plain).mean() > 1e-3, "the random network does something"
    alone = run_onnx(exported, arrays[2:])
    assert np.abs(alone[0] - expected[2]).max() > 1e-4, "the states carry something"
    if method == "fapn":  # the program that the documentation shows
        monkeypatch.chdir(tmp_path)
        page = (project_root / "docs" / "your-video.md").read_text(encoding="utf-8")
        (program,) = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
        names: dict = {}
        exec(program, names)
        shown = names["super_resolve"](arrays)
        np.testing.assert_allclose(shown, expected.clip(0, 1), atol=1e-4)


def test_the_command_says_what_it_wrote(
    cli: Callable, save_dummy: Callable, tmp_path: Path
) -> None:
    save_dummy()
    answer = cli("export", "dummy", "--onnx", "-o", tmp_path / "d.onnx", "--size", 8)
    assert answer.code == 0, answer.err
    assert "largest difference" in answer.out
    assert (tmp_path / "d.onnx").stat().st_size > 500
    assert cli("export", "dummy", "-o", tmp_path / "d.onnx").code == 2


def test_a_size_that_the_network_cannot_take_is_refused(cli: Callable, tmp_path: Path) -> None:
    answer = cli("export", "fapn", "--onnx", "-o", tmp_path / "f.onnx", "--size", 41)
    assert answer.code == 2
    assert "cannot super-resolve frames of 41x41 px" in answer.err
    assert "choose another --size" in answer.err
    assert not list(tmp_path.iterdir())


def test_a_method_without_a_step_is_refused(
    cli: Callable, method_file: Callable, tmp_path: Path
) -> None:
    answer = cli("export", method_file("whole"), "--onnx", "-o", tmp_path / "w.onnx")
    assert answer.code == 2
    assert "no streaming step" in answer.err
    assert not list(tmp_path.glob("*.onnx"))
