"""The ONNX recogniser: alignment as skimage warps it, network as onnxruntime runs it."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from skimage import data
from skimage.transform import AffineTransform, warp

from fvsr_bench.errors import DataError, WeightsError
from fvsr_bench.faces.arcface import (
    FrozenPReLU,
    align,
    load_arcface,
    similarity_transform,
    template,
)

FACE = np.array([[197, 112], [247, 110], [222, 145], [204, 166], [241, 165]], dtype=np.float64)


def _write_onnx(path: Path, height: int = 112, width: int = 112) -> Path:
    """Write a recogniser of one random convolution, PReLU and a pooling: 8 numbers per face."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(8, 3, 5, 5)).astype(np.float32)
    slope = rng.uniform(0, 0.5, (8, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "weight"], ["maps"], strides=[4, 4]),
            helper.make_node("PRelu", ["maps", "slope"], ["active"]),
            helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["embedding"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, height, width])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 8])],
        [
            helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.flatten()),
            helper.make_tensor("slope", TensorProto.FLOAT, slope.shape, slope.flatten()),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def _frames() -> np.ndarray:
    return np.stack([data.astronaut(), np.roll(data.astronaut(), 3, axis=1)])


def _landmarks() -> np.ndarray:
    return np.stack([FACE, FACE + np.array([3, 0])]).astype(np.float32)


def _oracle_crop(image: np.ndarray, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Solve the similarity by linear least squares and warp with scikit-image."""
    goal = template(size, torch.device("cpu")).numpy()
    rows, values = [], []
    for (x, y), (u, v) in zip(points, goal, strict=True):
        rows += [[x, -y, 1, 0], [y, x, 0, 1]]
        values += [u, v]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
    matrix = np.array([[a, -b, tx], [b, a, ty], [0, 0, 1]])
    return warp(image / 255, AffineTransform(matrix=matrix).inverse, output_shape=size, order=1)


@pytest.mark.parametrize("size", [(112, 112), (112, 96)])
def test_alignment_equals_scikit_image(size: tuple[int, int]) -> None:
    frames, points = _frames(), _landmarks()
    x = torch.from_numpy(frames).permute(0, 3, 1, 2).double() / 255
    found = align(x, torch.from_numpy(points), size).permute(0, 2, 3, 1).numpy()
    for image, point, crop in zip(frames, points, found, strict=True):
        expected = _oracle_crop(image, point.astype(np.float64), size)
        assert np.abs(crop - expected).max() < 1e-6


def test_landmarks_land_on_the_template() -> None:
    goal = template((112, 112), torch.device("cpu"))
    turned = (goal @ torch.tensor([[0.8, 0.6], [-0.6, 0.8]], dtype=torch.float64)) * 1.7 + 11
    matrix = similarity_transform(turned[None], goal)[0]
    torch.testing.assert_close(turned @ matrix[:, :2].T + matrix[:, 2], goal)


def test_the_network_is_onnxruntimes_and_gradients_reach_the_frames(tmp_path: Path) -> None:
    path = _write_onnx(tmp_path / "tiny.onnx")
    model, points = load_arcface(path), torch.from_numpy(_landmarks())
    x = (torch.from_numpy(_frames()).permute(0, 3, 1, 2) / 255).requires_grad_()
    found = model(x, points)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    chips = align(x, points, (112, 112)).detach().numpy() * 2 - 1
    (raw,) = session.run(None, {"input": chips.astype(np.float32)})
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)
    found[0, 0].backward()
    assert x.grad is not None
    assert x.grad[0].abs().sum() > 0
    assert x.grad[1].abs().sum() == 0
    assert len(model.sha256) == 64
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("slopes", [1, 4])
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (3, 4)])
def test_prelu_and_its_gradient_are_torchs(shape: tuple[int, ...], slopes: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    slope, weight = torch.rand(slopes, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    results = []
    for function in (torch.nn.functional.prelu, FrozenPReLU()):
        y = function(x, slope)
        (gradient,) = torch.autograd.grad((y * weight).sum(), x)
        results.append((y, gradient))
    torch.testing.assert_close(*results)


def test_vectors_are_those_of_float32_under_autocast(tmp_path: Path) -> None:
    model, points = (
        load_arcface(_write_onnx(tmp_path / "tiny.onnx")),
        torch.from_numpy(_landmarks()),
    )
    x = torch.from_numpy(_frames()).permute(0, 3, 1, 2) / 255
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(x, points)
    torch.testing.assert_close(found, model(x, points), rtol=0, atol=0)


def test_similarity_of_the_same_face_is_one_and_unknown_landmarks_are_nan(tmp_path: Path) -> None:
    model = load_arcface(_write_onnx(tmp_path / "tiny.onnx", 112, 96))
    frames, points = _frames(), _landmarks()
    assert model.similarity(frames, frames, points) == pytest.approx([1, 1], abs=1e-6)
    noise = np.random.default_rng(0).integers(0, 256, frames.shape, dtype=np.uint8)
    assert (model.similarity(noise, frames, points) < 0.999).all()
    points[1] = np.nan
    found = model.similarity(frames, frames, points)
    assert found[0] == pytest.approx(1, abs=1e-6)
    assert np.isnan(found[1])
    with pytest.raises(DataError, match=r"float64 \[2, 512, 512, 3\] and \[2, 5, 2\]"):
        model.encode(frames / 255, points)


def test_files_that_are_no_recogniser_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="was not found: name the ONNX file"):
        load_arcface(tmp_path / "no.onnx")
    (tmp_path / "text.onnx").write_text("<html>")
    with pytest.raises(WeightsError, match="is no ONNX file"):
        load_arcface(tmp_path / "text.onnx")
    with pytest.raises(WeightsError, match=r"an input of \[0, 3, 64, 64\], expected"):
        load_arcface(_write_onnx(tmp_path / "small.onnx", 64, 64))


@pytest.mark.skipif("FVSR_ARCFACE" not in os.environ, reason="FVSR_ARCFACE names no ONNX file")
def test_a_real_recogniser_tells_people_apart() -> None:
    model = load_arcface(Path(os.environ["FVSR_ARCFACE"]))
    frames, points = _frames(), _landmarks()
    assert model.encode(frames, points)[0] @ model.encode(frames, points)[1] > 0.9


def test_the_warp_to_the_template_is_differentiable_and_local() -> None:
    """Its gradient is autograd's of finite differences; far from the face there is none."""
    torch.manual_seed(0)
    frames = torch.rand(1, 3, 40, 40, dtype=torch.float64, requires_grad=True)
    face = template((112, 112), torch.device("cpu"))[None] / 10 + 4  # 11 px wide, from (4, 4) on
    assert torch.autograd.gradcheck(lambda x: align(x, face, (14, 12)), frames, atol=1e-6)
    (grad,) = torch.autograd.grad(align(frames, face, (112, 112)).square().sum(), frames)
    assert grad[..., 5:15, 5:15].abs().min() > 0
    assert grad[..., 20:, :].abs().max() == 0
    assert grad[..., 20:].abs().max() == 0
