"""Every trainable method can learn: one clip, below half of bicubic's error within 150 steps.

A network whose decoder died at the start stays at bicubic for ever, with a healthy-looking loss.
"""

import inspect

import pytest
import torch
from torch import nn

from fvsr_bench.degrade import degrade
from fvsr_bench.judges import Judges
from fvsr_bench.objective import Objective
from fvsr_bench.registry import build, load_spec, methods
from fvsr_bench.spec import DEGRADATIONS
from fvsr_bench.train import total_loss

NAMES = [name for name in methods() if load_spec(name).trainable]


class Clip:
    """One clip of sharp moving bars that 4x bicubic interpolation blurs."""

    def __init__(self) -> None:
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        frames = [torch.sin(0.55 * x + 0.25 * y + 1.2 * t) > 0 for t in range(3)]
        grey = torch.stack(frames).float() * 0.6 + 0.2
        self.hr = grey[None, :, None].repeat(1, 1, 3, 1, 1)
        self.lr = degrade(self.hr[0], DEGRADATIONS["bi"])[None]
        self.landmarks = torch.zeros(1, 3, 5, 2)
        self.clips = ("bars",)


@pytest.mark.parametrize("name", NAMES)
def test_one_clip_can_be_overfitted(name: str) -> None:
    if "zero_init" not in inspect.signature(load_spec(name).build).parameters:
        pytest.skip("no zero-initialised start: an authors' layout or a test method")
    torch.manual_seed(0)
    model, clip = build(name).train(), Clip()
    recipe = load_spec(name).recipe
    objective = Objective(recipe, Judges(), face_size=64, device="cpu")
    with torch.no_grad():
        floor = float(nn.functional.mse_loss(build("bicubic")(clip.lr), clip.hr))
    adam = torch.optim.Adam(model.parameters(), 1e-3)
    error = floor
    for _ in range(150):
        total, terms = total_loss(objective.terms(model, clip), recipe.losses)
        error = terms["mse"]
        if error < floor / 2:
            break
        adam.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adam.step()
    assert error < floor / 2
