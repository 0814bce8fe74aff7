"""The discriminator learns beside the network, and rests while it is too far ahead."""

import pytest
import torch

from fvsr_bench import losses
from fvsr_bench.data.loader import Batch
from fvsr_bench.judges import Judges
from fvsr_bench.objective import Objective
from fvsr_bench.recipes import LOSSES
from fvsr_bench.registry import build
from fvsr_bench.spec import TrainRecipe


def batch(size: int = 8, frames: int = 4) -> Batch:
    torch.manual_seed(3)
    hr = torch.rand(2, frames, 3, 4 * size, 4 * size)
    lr = torch.nn.functional.avg_pool2d(hr.flatten(0, 1), 4).unflatten(0, (2, frames))
    points = torch.zeros(2, frames, 5, 2)
    return Batch(lr=lr, hr=hr, landmarks=points, clips=("a", "b"))


def objective(loss: str, **more) -> Objective:
    torch.manual_seed(4)
    recipe = TrainRecipe(losses={"mse": 1.0, loss: 1e-3})
    return Objective(recipe, Judges(), face_size=32, device="cpu", **more)


def weights(told: Objective) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in told.critic.parameters()])


@pytest.mark.parametrize("loss", ["gan", "tgan"])
@pytest.mark.parametrize(("ahead", "learns"), [(0.0, True), (0.39, True), (0.4, False)])
def test_the_discriminator_rests_while_it_is_ahead(loss: str, ahead: float, learns: bool) -> None:
    told, network = objective(loss), build("frvsr")
    told.balance = ahead
    told.terms(network, batch())
    before = weights(told)
    shown = told.train_critic(1e-4)
    assert shown["critic"] > 0
    assert told.balance != ahead  # it is watched while it rests
    assert bool((weights(told) != before).any()) == learns
    assert told.train_critic(1e-4) == {}  # nothing seen since


def test_how_far_ahead_is_measured_in_logarithms_of_probabilities() -> None:
    """TecoGAN's code: mean log D(real) - mean log D(fake), of probabilities, running at 0.99."""
    told, network, given = objective("gan"), build("frvsr"), batch()
    told.terms(network, given)
    ((sr, hr, _),) = told._seen
    real, fake = (torch.sigmoid(told.critic.judge(x, x, None)[0]) for x in (hr, sr))
    told.train_critic(1e-4)
    expected = (real.log().mean() - fake.log().mean()).item()
    assert told.balance == pytest.approx(0.01 * expected, rel=1e-4)


def test_the_discriminator_moves_by_the_mean_over_all_processes() -> None:
    told, network = objective("gan", average=torch.zeros_like), build("frvsr")
    told.terms(network, batch())
    before = weights(told)
    told.train_critic(1e-2)
    assert torch.equal(weights(told), before)  # the others' gradients were the opposite
    assert told.balance == 0


def test_the_weights_of_tecogan_are_those_of_its_authors_code() -> None:
    """There: sums over RGB of frames in [-1, 1], 0.5 ping-pong, 0.01 adversarial, 0.02 features."""
    ours, sr, hr = LOSSES["tecogan"], torch.rand(1, 5, 3, 8, 8), torch.rand(1, 5, 3, 8, 8)
    a, b = 2 * sr - 1, 2 * hr - 1
    theirs = (a - b).square().sum(2).mean() + 0.5 * (a[:, :2] - a[:, 3:].flip(1)).abs().mean()
    here = losses.mse(sr, hr) + ours["ping-pong"] * losses.ping_pong(sr)
    assert 12 * here == pytest.approx(theirs.item(), rel=1e-5)
    assert 12 * ours["tgan"] == pytest.approx(0.01)
    real, fake = torch.rand(2, 7, 4, 4), torch.rand(2, 7, 4, 4)
    layer = 0.02 * (real - fake).abs().sum(1).mean() / 12.0  # of its first norm
    assert 12 * ours["feature"] * losses.feature_distance([real] * 4, [fake, real, real, real]) == (
        pytest.approx(layer.item(), rel=1e-5)
    )


def test_the_layout_of_memory_changes_no_score() -> None:
    told, clip = objective("gan"), batch().hr
    fast = told.critic.judge(clip, clip, None)[0]
    told.critic.to(memory_format=torch.contiguous_format)
    told.critic.load_state_dict(objective("gan").critic.state_dict())
    assert torch.allclose(fast, told.critic.judge(clip, clip, None)[0], atol=1e-5)
