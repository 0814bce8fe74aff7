"""LPIPS equals its formula on torchvision's AlexNet; what is missing or undefined is explained."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from fvsr_bench.errors import WeightsError
from fvsr_bench.evaluate.judges import LpipsJudge
from fvsr_bench.metrics.perceptual import (
    BACKBONE_FILE,
    LINEAR_FILE,
    load_lpips,
    temporal_lpips,
)
from fvsr_bench.spec import Clip


def _alexnet() -> torch.nn.Sequential:
    """Return torchvision's AlexNet without its large classifier; the weights are not set."""
    with torch.device("meta"):
        features = torchvision.models.alexnet(weights=None).features
    return features.to_empty(device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with both files, random weights, as the user would have put them there."""
    where = tmp_path_factory.mktemp("lpips")
    torch.manual_seed(0)
    features = _alexnet()
    for layer in features:
        if isinstance(layer, torch.nn.Conv2d):
            layer.reset_parameters()
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    torch.save(state, where / BACKBONE_FILE)
    widths = (64, 192, 384, 256, 256)
    linear = {f"lin{i}.model.1.weight": torch.rand(1, w, 1, 1) for i, w in enumerate(widths)}
    torch.save(linear, where / LINEAR_FILE)
    return where


def _pair() -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(1)
    return torch.rand(3, 3, 96, 80, generator=g), torch.rand(3, 3, 96, 80, generator=g)


def _formula(a: torch.Tensor, b: torch.Tensor, folder: Path) -> np.ndarray:
    features, state = _alexnet(), torch.load(folder / BACKBONE_FILE, weights_only=True)
    features.load_state_dict({key.removeprefix("features."): v for key, v in state.items()})
    linear = torch.load(folder / LINEAR_FILE, weights_only=True)
    values = np.zeros(len(a))
    for depth, stop in enumerate((2, 5, 8, 10, 12)):
        maps = []
        for image in (a, b):
            x = 2 * image - 1 - torch.tensor([-0.030, -0.088, -0.188]).view(3, 1, 1)
            x = x / torch.tensor([0.458, 0.448, 0.450]).view(3, 1, 1)
            with torch.no_grad():
                f = features[:stop](x).numpy().astype(np.float64)
            maps.append(f / (np.linalg.norm(f, axis=1, keepdims=True) + 1e-10))
        weight = linear[f"lin{depth}.model.1.weight"].numpy().reshape(1, -1, 1, 1)
        values += (weight * (maps[0] - maps[1]) ** 2).sum(axis=1).mean(axis=(1, 2))
    return values


def test_lpips_is_its_formula(folder: Path) -> None:
    a, b = _pair()
    with torch.no_grad():
        found = load_lpips(folder)(a, b)
    assert found.numpy() == pytest.approx(_formula(a, b, folder), rel=1e-4)
    assert load_lpips(folder)(a, a).tolist() == [0, 0, 0]


@pytest.mark.skipif(importlib.util.find_spec("lpips") is None, reason="lpips is not installed")
@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")  # lpips uses old names of it
def test_lpips_is_that_of_the_package_lpips(folder: Path) -> None:
    import lpips

    theirs = lpips.LPIPS(net="alex", pnet_rand=True, pretrained=False, verbose=False)
    alexnet = torch.load(folder / BACKBONE_FILE, weights_only=True)
    for name, value in theirs.net.state_dict().items():  # slice1.0.weight -> features.0.weight
        value.copy_(alexnet["features." + name.partition(".")[2]])
    theirs.load_state_dict(torch.load(folder / LINEAR_FILE, weights_only=True), strict=False)
    a, b = _pair()
    with torch.no_grad():
        expected = theirs(a, b, normalize=True).flatten()
    torch.testing.assert_close(load_lpips(folder)(a, b), expected, rtol=1e-5, atol=1e-6)


def test_tlp_compares_change_with_change(folder: Path) -> None:
    net, (sr, hr) = load_lpips(folder), _pair()
    found = temporal_lpips(net, sr, hr)
    one, two = _formula(hr[:-1], hr[1:], folder), _formula(sr[:-1], sr[1:], folder)
    assert torch.isnan(found[0])
    assert found[1:].numpy() == pytest.approx(100 * np.abs(one - two), rel=1e-2, abs=1e-3)


def test_missing_and_foreign_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"needs alexnet-owt-7be5be79\.pth.*put torchvision's"):
        load_lpips(tmp_path)
    (tmp_path / BACKBONE_FILE).write_bytes((folder / BACKBONE_FILE).read_bytes())
    with pytest.raises(WeightsError, match=r"needs alex\.pth.*of the package lpips into"):
        load_lpips(tmp_path)
    (tmp_path / LINEAR_FILE).write_text("404: Not Found")
    with pytest.raises(WeightsError, match=r"alex\.pth is no torch weights file"):
        load_lpips(tmp_path)
    torch.save({"lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}, tmp_path / LINEAR_FILE)
    with pytest.raises(WeightsError, match=r"but not these networks: 'lin1\.model\.1\.weight'"):
        load_lpips(tmp_path)


def test_other_files_make_another_run_and_the_same_protocol(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    state = torch.load(other / LINEAR_FILE, weights_only=True)
    torch.save({key: 2 * value for key, value in state.items()}, other / LINEAR_FILE)
    judges = [LpipsJudge(where, "cpu") for where in (folder, folder, other)]
    assert judges[0].key == judges[1].key != judges[2].key
    sr = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    clip = Clip(
        **{"id": "a", "subject": "s", "source": "a.mp4", "split": "test", "fps": 25.0},
        **{"hr": 255 - sr, "lr": sr[:, ::4, ::4], "landmarks": np.zeros((2, 5, 2), np.float32)},
    )
    found = [judge.measure(sr, clip, judge.prepare(clip)) for judge in judges]
    names = {("lpips", "lpips-alex-v0.1"), ("tlp100", "lpips-alex-v0.1")}
    assert all(set(f) == names for f in found)
    one, _, two = (f["lpips", "lpips-alex-v0.1"] for f in found)
    assert two == pytest.approx(2 * one, rel=1e-5)
