"""A converted network computes what its authors' code computes, for any weights in their layout.

Random weights under the authors' names are saved as their programs save them, converted by the
command line, loaded by the public API, and compared with `authors_code`, borders included.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import fvsr_bench
from fvsr_bench.cli import run
from fvsr_bench.registry import build

TOLERANCE = 1e-4  # absolute, on values around 0 to 1


def converted(tmp_path: Path, files: list[Path], method: str, *options: str) -> nn.Module:
    """Convert by the command line and load by the public API."""
    out = tmp_path / "converted.safetensors"
    args = ["weights", "convert", *map(str, files), "--method", method, "--out", str(out)]
    assert run([*args, *options]) == 0
    return fvsr_bench.load_model(method, str(out))


def clip(frames: int, h: int, w: int, channels: int = 3, seed: int = 5) -> Tensor:
    """Return noise in [0, 1]: every pixel that is off by one shows."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, frames, channels, h, w, generator=generator)


def calm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tame a recurrent generator: its values stay around 1, its flows at a few HR px."""
    for name in weights:
        if "resblock" in name and (".conv.2." in name or "/conv_2/" in name):
            weights[name] *= 0.3
        elif "conv_out" in name or "generator_unit/output_stage" in name:
            weights[name] *= 0.8
    return weights


def close(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert theirs.std() > 0.05  # weights that say nothing would agree with anything
    assert (ours - theirs).abs().max() <= TOLERANCE


@pytest.mark.parametrize("degradation", ["bi", "bd15"])
@pytest.mark.parametrize(("method", "blocks"), [("frvsr", 10), ("tecogan", 16)])
def test_pytorch_port(
    authors: ModuleType, tmp_path: Path, method: str, blocks: int, degradation: str
) -> None:
    weights = calm(authors.random_weights(authors.port_shapes(blocks), seed=blocks, gain=1.2))
    buffers = {}
    if degradation == "bd15":
        kernels = torch.rand(4, 4)
        buffers = {"upsample_func.kernels": kernels, "srnet.upsample_func.kernels": kernels}
    torch.save({**weights, **buffers}, tmp_path / "G.pth")
    model = converted(tmp_path, [tmp_path / "G.pth"], method, "--degradation", degradation)
    lr = clip(4, 12, 20)  # 8 divides neither
    with torch.no_grad():
        close(model(lr)[0], authors.port_clip(weights, lr[0], degradation))


def test_pytorch_port_on_the_benchmark_s_size(authors: ModuleType, tmp_path: Path) -> None:
    weights = calm(authors.random_weights(authors.port_shapes(10), seed=3, gain=1.2))
    torch.save({f"module.{k}": v for k, v in weights.items()}, tmp_path / "G.pth")
    model = converted(tmp_path, [tmp_path / "G.pth"], "frvsr", "--degradation", "bi")
    lr = clip(3, 40, 40)
    with torch.no_grad():
        close(model(lr)[0], authors.port_clip(weights, lr[0], "bi"))


@pytest.fixture
def accv(authors: ModuleType, tmp_path: Path) -> tuple[dict[str, Tensor], nn.Module]:
    # Flows of about a tenth of their unit: 1.5 px.
    weights = authors.random_weights(authors.accv_shapes(), seed=1)
    for name in weights:
        if name.startswith("OFRnet.conv_L") and "_2." in name:
            weights[name] *= 0.1
    torch.save(weights, tmp_path / "SOFVSR_x4.pth")
    return weights, converted(tmp_path, [tmp_path / "SOFVSR_x4.pth"], "sofvsr")


def test_sofvsr_accv_on_luma(
    authors: ModuleType, accv: tuple[dict[str, Tensor], nn.Module]
) -> None:
    weights, model = accv
    y = clip(1, 40, 40)[0]
    with torch.no_grad():
        assert model.forward_y(y).shape == (1, 1, 160, 160)
        close(model.forward_y(y), authors.accv_y(weights, y))


def test_sofvsr_accv_level_by_level(
    authors: ModuleType, accv: tuple[dict[str, Tensor], nn.Module]
) -> None:
    weights, model = accv
    neighbour, centre = clip(2, 12, 16, channels=1)[0].split(1)
    with torch.no_grad():
        ours = model.ofr.pyramid(neighbour, centre)
        theirs = authors.accv_flows(weights, neighbour, centre)
    for level, (px, units) in enumerate(zip(ours, theirs, strict=True), 1):
        assert units.abs().max() > 0.02, f"level {level} is still"
        assert (px - units * 15.5).abs().max() <= 1e-4, f"level {level}"


def test_sofvsr_accv_on_a_clip(
    authors: ModuleType, accv: tuple[dict[str, Tensor], nn.Module]
) -> None:
    """RGB: the luma of every frame is the network's; chroma is bicubic; the ends are replicated."""
    weights, model = accv
    rgb = clip(3, 12, 12) * 0.5 + 0.25
    luma = torch.tensor([65.481, 128.553, 24.966]).view(3, 1, 1) / 255
    y = (rgb * luma).sum(2) + 16 / 255
    with torch.no_grad():
        sr = (model(rgb) * luma).sum(2)[0] + 16 / 255
        for t, around in enumerate(((0, 0, 1), (0, 1, 2), (1, 2, 2))):
            close(sr[t], authors.accv_y(weights, y[:, list(around)])[0, 0])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sofvsr_tip(authors: ModuleType, tmp_path: Path, scale: int) -> None:
    weights = authors.random_weights(authors.tip_shapes(scale, width=64), seed=scale, gain=1.4)
    for name in ("OFR.RNN2.0.weight", f"OFR.SR.{7 if scale == 4 else 4}.weight"):
        weights[name] *= 0.3
    torch.save(weights, tmp_path / f"BI_x{scale}.pth")
    model = converted(tmp_path, [tmp_path / f"BI_x{scale}.pth"], "sofvsr", "--degradation", "bi")
    y = clip(1, 12, 16)[0]
    with torch.no_grad():
        close(model.forward_y(y), authors.tip_y(weights, y, scale))
        assert model(clip(2, 12, 16)).shape == (1, 2, 3, 12 * scale, 16 * scale)


@pytest.mark.parametrize(
    ("widths", "kernel"), [((64, 64, 64, 32, 32, 32, 20), 3), ((64, 48, 32, 24), 5)]
)
def test_vespcn_of_the_juheonyi_port(
    authors: ModuleType, tmp_path: Path, widths: tuple[int, ...], kernel: int
) -> None:
    motion, net = authors.jy_shapes(widths, kernel)
    motion = authors.random_weights(motion, seed=1, gain=1.5)
    net = authors.random_weights(net, seed=2, gain=1.5)
    files = [tmp_path / "model_best_mc.pt", tmp_path / "model_best_espcn.pt"]
    torch.save(motion, files[0])
    torch.save(net, files[1])
    model = converted(tmp_path, files, "vespcn_jy")
    y = clip(1, 12, 16)[0]
    with torch.no_grad():
        close(model.forward_y(y), authors.jy_y({**motion, **net}, y))


def test_vespcn_s_flow_takes_sizes_that_4_does_not_divide() -> None:
    model = build("vespcn_jy").eval()
    y = clip(1, 10, 15)[0]
    with torch.no_grad():
        odd, even = model.forward_y(y), model.forward_y(y[..., :8, :12])
    assert odd.shape == (1, 1, 40, 60)
    assert even.shape == (1, 1, 32, 48)


def test_vespcn_saved_as_one_network(authors: ModuleType, tmp_path: Path) -> None:
    motion, net = (
        authors.random_weights(s, seed=4) for s in authors.jy_shapes((64, 48, 32, 24), 5)
    )
    whole = {f"motionCompensator.{k}": v for k, v in motion.items()}
    whole |= {f"espcn.{k}": v for k, v in net.items()}
    torch.save(whole, tmp_path / "model_best.pt")
    model = converted(tmp_path, [tmp_path / "model_best.pt"], "vespcn_jy")
    y = clip(1, 8, 8)[0]
    with torch.no_grad():
        assert (model.forward_y(y) - authors.jy_y({**motion, **net}, y)).abs().max() <= TOLERANCE


@pytest.mark.parametrize(("method", "blocks"), [("frvsr", 10), ("tecogan", 16)])
def test_tensorflow_original(
    authors: ModuleType,
    tmp_path: Path,
    write_bundle: Callable[..., None],
    method: str,
    blocks: int,
) -> None:
    weights = calm(authors.random_weights(authors.tf_shapes(blocks), seed=blocks, gain=1.2))
    slots = {
        "generator/generator_unit/input_stage/conv/Conv/weights/Adam": torch.zeros(3, 3, 51, 64),
        "beta1_power": torch.tensor(0.9),
        "tdiscriminator/discriminator_unit/input_stage/conv/Conv/biases": torch.zeros(64),
    }
    write_bundle(tmp_path / "net", {**weights, **slots}, checksums=False)
    model = converted(tmp_path, [tmp_path / "net.index"], method)
    lr = clip(4, 12, 20)
    with torch.no_grad():
        close(model(lr)[0], authors.tf_clip(weights, lr[0]))
