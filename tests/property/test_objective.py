"""The discriminator learns beside the network, and rests while it is too far ahead."""

import pytest
import torch

from fvsr_bench.data.loader import Batch
from fvsr_bench.judges import Judges
from fvsr_bench.objective import Objective
from fvsr_bench.registry import build
from fvsr_bench.spec import TrainRecipe


def batch(size: int = 8, frames: int = 4) -> Batch:
    torch.manual_seed(3)
    hr = torch.rand(2, frames, 3, 4 * size, 4 * size)
    lr = torch.nn.functional.avg_pool2d(hr.flatten(0, 1), 4).unflatten(0, (2, frames))
    points = torch.zeros(2, frames, 5, 2)
    return Batch(lr=lr, hr=hr, landmarks=points, clips=("a", "b"))


def objective(loss: str) -> Objective:
    torch.manual_seed(4)
    recipe = TrainRecipe(losses={"mse": 1.0, loss: 1e-3})
    return Objective(recipe, Judges(), face_size=32, device="cpu")


def weights(told: Objective) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in told.critic.parameters()])


@pytest.mark.parametrize("loss", ["gan", "tgan"])
@pytest.mark.parametrize(("ahead", "learns"), [(0.0, True), (0.39, True), (0.4, False)])
def test_the_discriminator_rests_while_it_is_ahead(loss: str, ahead: float, learns: bool) -> None:
    told, network = objective(loss), build("frvsr")
    told.balance = ahead
    told.terms(network, batch())
    before = weights(told)
    shown = told.train_critic()
    assert shown["critic"] > 0
    assert told.balance != ahead  # it is watched while it rests
    assert bool((weights(told) != before).any()) == learns
    assert told.train_critic() == {}  # nothing seen since


def test_the_layout_of_memory_changes_no_score() -> None:
    told, clip = objective("gan"), batch().hr
    fast = told.critic.judge(clip, clip, None)[0]
    told.critic.to(memory_format=torch.contiguous_format)
    told.critic.load_state_dict(objective("gan").critic.state_dict())
    assert torch.allclose(fast, told.critic.judge(clip, clip, None)[0], atol=1e-5)
