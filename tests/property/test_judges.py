"""The frozen judges of the losses, loaded from files of random weights."""

from pathlib import Path

import pytest
import torch
from torchvision.models import vgg19

from fvsr_bench import losses
from fvsr_bench.files import sha256
from fvsr_bench.judges import load_judges
from fvsr_bench.spec import TrainRecipe


def test_vgg_is_loaded_frozen_and_teaches_sr_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path, network = tmp_path / "vgg19.pth", vgg19(weights=None, init_weights=False).features
    torch.save({f"features.{k}": v for k, v in network.state_dict().items()}, path)
    recipe = TrainRecipe(losses={"mse": 1.0, "vgg": 1e-3})
    judges = load_judges(recipe, encoder="", vgg=path, device="cpu")
    assert judges.files == {"vgg": sha256(path)}
    assert judges.vgg is not None
    sr, hr = torch.rand(2, 1, 1, 3, 32, 32)
    frames = sr.flatten(0, 1)
    maps = judges.vgg(frames)
    assert [tuple(x.shape[1:]) for x in maps] == [
        *((128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2))
    ]
    norm = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
    with torch.no_grad():  # conv5_4's ReLU is layer 35
        expected = network[:36]((frames - norm[0]) / norm[1])
    assert torch.allclose(maps[-1], expected, atol=1e-5)
    assert float(losses.vgg(hr, hr, judges.vgg)) == pytest.approx(0, abs=1e-6)
    sr.requires_grad_()
    losses.vgg(sr, hr, judges.vgg).backward()
    assert sr.grad is not None
    assert sr.grad.abs().sum() > 0
    assert all(p.grad is None for p in judges.vgg.parameters())
