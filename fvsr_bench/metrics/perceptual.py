"""Perceptual judges that need somebody else's weights: LPIPS from files of the user; no NIQE.

LPIPS: Zhang et al., The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, CVPR
2018. Numbers are comparable only with the same backbone and version: here AlexNet, v0.1, which the
records name (`lpips-alex-v0.1`).
"""

import pickle
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fvsr_bench.errors import WeightsError

KEY = "lpips-alex-v0.1"
BACKBONE_FILE = "alexnet-owt-7be5be79.pth"
LINEAR_FILE = "alex.pth"
_SOURCES = {
    BACKBONE_FILE: "torchvision's AlexNet, https://download.pytorch.org/models/" + BACKBONE_FILE,
    LINEAR_FILE: "LPIPS v0.1, lpips/weights/v0.1/alex.pth of the package lpips",
}
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_WIDTHS = (64, 192, 384, 256, 256)


class Lpips(nn.Module):
    """LPIPS with AlexNet, v0.1: weighted squared distance of unit-norm features at five depths."""

    def __init__(self) -> None:
        super().__init__()
        relu, pool = nn.ReLU(), nn.MaxPool2d(3, stride=2)
        self.features = nn.Sequential(  # numbered as torchvision's AlexNet is
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), relu, pool),
            *(nn.Conv2d(64, 192, 5, padding=2), relu, pool),
            *(nn.Conv2d(192, 384, 3, padding=1), relu),
            *(nn.Conv2d(384, 256, 3, padding=1), relu),
            *(nn.Conv2d(256, 256, 3, padding=1), relu),
        )
        self.weights = nn.ParameterList(torch.zeros(width) for width in _WIDTHS)

    def forward(
        self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]
    ) -> Float[Tensor, " n"]:
        """Return the distance of RGB frames in [0, 1] (lower is better, 0 = the same)."""
        total = a.new_zeros(len(a))
        for weight, fa, fb in zip(self.weights, self._depths(a), self._depths(b), strict=True):
            gap = (fa - fb).square() * weight[:, None, None]
            total = total + gap.sum(dim=1).mean(dim=(1, 2))
        return total

    def _depths(self, x: Tensor) -> list[Tensor]:
        shift, scale = (torch.tensor(v).to(x)[:, None, None] for v in (_SHIFT, _SCALE))
        x, found = (x * 2 - 1 - shift) / scale, []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                found.append(x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10))
        return found


def load_lpips(folder: Path, *, device: str | torch.device = "cpu") -> Lpips:
    """Load LPIPS from the two files that the user put into `folder`.

    Raises WeightsError that names the missing or damaged file and where it comes from.
    """
    backbone, linear = _read(folder / BACKBONE_FILE), _read(folder / LINEAR_FILE)
    net = Lpips()
    try:
        net.features.load_state_dict(
            {k[9:]: v for k, v in backbone.items() if k.startswith("features.")}
        )
        for i, weight in enumerate(net.weights):
            weight.data.copy_(linear[f"lin{i}.model.1.weight"].flatten())
    except (RuntimeError, KeyError) as error:
        raise WeightsError(
            f"{folder} holds {BACKBONE_FILE} and {LINEAR_FILE}, but not these networks: "
            f"{' '.join(str(error).split())}"
        ) from error
    return net.requires_grad_(False).eval().to(device)


def temporal_lpips(
    net: Lpips, sr: Float[Tensor, "t 3 h w"], hr: Float[Tensor, "t 3 h w"]
) -> Float[Tensor, " t"]:
    """Return tLP100 of TecoGAN, 100 |LPIPS(hr_{t-1}, hr_t) - LPIPS(sr_{t-1}, sr_t)|; NaN at 0."""
    change = 100 * (net(hr[:-1], hr[1:]) - net(sr[:-1], sr[1:])).abs()
    return torch.cat([change.new_full((1,), torch.nan), change])


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WeightsError(
            f"LPIPS needs {path.name}, which is not shipped: put {_SOURCES[path.name]} into "
            f"{path.parent}"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{path} is no torch weights file; get {_SOURCES[path.name]}") from error
