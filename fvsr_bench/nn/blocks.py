"""Residual and residual dense blocks."""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)


def zero_(layer: Module) -> Module:
    """Set a layer's weights and bias to zero and return it.

    Heads that add to an interpolated frame or to a flow start from nothing: with a random head the
    first steps see a large wrong residual, the optimiser pushes everything to zero, and ReLU
    channels die for good.
    """
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ResidualBlock(nn.Module):
    """conv - ReLU - conv, plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(x)))


class RDB(nn.Module):
    """Residual dense block of SOF-VSR: growing 3x3 layers (LReLU 0.1), 1x1 fusion, plus input."""

    def __init__(self, layers: int, width: int, growth: int = 32) -> None:
        super().__init__()
        self.dense = nn.ModuleList(
            nn.Conv2d(width + i * growth, growth, 3, padding=1, bias=False) for i in range(layers)
        )
        self.fuse = nn.Conv2d(width + layers * growth, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for conv in self.dense:
            new = F.leaky_relu(conv(features), 0.1)
            features = torch.cat((features, new), 1)
        return x + self.fuse(features)
