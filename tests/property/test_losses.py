"""Each loss is zero where it should be, has the right gradient, and touches only what it should."""

import pytest
import torch
from torch import nn

from fvsr_bench import losses

POINTS = torch.tensor([[56.0, 64], [104, 64], [80, 92], [60, 120], [100, 120]])


def clips(seed: int, size: int = 24, frames: int = 2, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, frames, 3, size, size, generator=generator, dtype=dtype)


def landmarks(size: int, frames: int = 2) -> torch.Tensor:
    return (POINTS * size / 160).double().expand(1, frames, 5, 2)


def encoder(frames: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Stand in for a recogniser: fixed random projection, unit norm."""
    generator = torch.Generator().manual_seed(9)
    weight = torch.randn(frames[0].numel(), 7, generator=generator, dtype=frames.dtype)
    return nn.functional.normalize(torch.tanh(frames.flatten(1) - 0.5) @ weight, dim=1)


def features(frames: torch.Tensor) -> list[torch.Tensor]:
    """Stand in for VGG: two fixed random layers."""
    generator = torch.Generator().manual_seed(8)
    first = torch.randn(4, 3, 3, 3, generator=generator, dtype=frames.dtype)
    second = torch.randn(2, 4, 3, 3, generator=generator, dtype=frames.dtype)
    one = torch.tanh(nn.functional.conv2d(frames, first))
    return [one, torch.tanh(nn.functional.conv2d(one, second))]


CASES = {
    "mse": losses.mse,
    "organ": lambda sr, hr: losses.organ(sr, hr, landmarks(24), face_size=24.0),
    "face_vector": lambda sr, hr: losses.face_vector(sr, hr, landmarks(24), encoder),
    "vgg": lambda sr, hr: losses.vgg(sr, hr, features),
    "feature": lambda sr, hr: losses.feature_distance(
        [x.flatten(0, 1) for x in (hr, hr, hr, hr)], [x.flatten(0, 1) for x in (sr, hr, hr, sr)]
    ),
    "ping-pong": lambda sr, hr: losses.ping_pong(torch.cat((hr, hr[:, :1], sr.flip(1)), 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_zero_at_identity_and_positive_elsewhere(name: str) -> None:
    hr = clips(0)
    assert float(CASES[name](hr, hr)) == pytest.approx(0, abs=1e-15)
    assert float(CASES[name](clips(1), hr)) > 1e-4


@pytest.mark.parametrize("name", CASES)
def test_closer_is_smaller(name: str) -> None:
    sr, hr = clips(1), clips(0)
    values = [float(CASES[name](hr + k * (sr - hr), hr)) for k in (1.0, 0.5, 0.25)]
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    hr = clips(0, size=8, frames=1)
    cases = {
        "mse": lambda sr: losses.mse(sr, hr),
        "organ": lambda sr: losses.organ(sr, hr, landmarks(8, 1), face_size=8.0),
        "face_vector": lambda sr: losses.face_vector(sr, hr, landmarks(8, 1), encoder),
        "vgg": lambda sr: losses.vgg(sr, hr, features),
        "feature": lambda sr: CASES["feature"](sr, hr),
        "ping-pong": lambda sr: CASES["ping-pong"](sr, hr),
    }
    sr = clips(1, size=8, frames=1).requires_grad_()
    assert torch.autograd.gradcheck(cases[name], (sr,))


def test_organ_touches_only_pixels_inside_its_boxes() -> None:
    sr, hr = clips(1, size=160, frames=1).requires_grad_(), clips(0, size=160, frames=1)
    losses.organ(sr, hr, landmarks(160, 1)).backward()
    touched = (sr.grad[0, 0] != 0).any(0)
    expected = torch.zeros(160, 160, dtype=torch.bool)
    for (x, y), (w, h) in (
        ((56, 64), (32, 20)),
        ((104, 64), (32, 20)),
        ((80, 92), (28, 32)),
        ((80, 120), (44, 24)),
    ):
        expected[y - h // 2 : y + h // 2, x - w // 2 : x + w // 2] = True
    assert torch.equal(touched, expected)


def test_organ_is_the_sum_of_the_regions_errors() -> None:
    sr, hr = clips(1, size=160, frames=1), clips(0, size=160, frames=1)
    error = (sr - hr)[0, 0].square()
    total = sum(
        float(error[:, y - h // 2 : y + h // 2, x - w // 2 : x + w // 2].mean())
        for (x, y), (w, h) in (
            ((56, 64), (32, 20)),
            ((104, 64), (32, 20)),
            ((80, 92), (28, 32)),
            ((80, 120), (44, 24)),
        )
    )
    assert float(losses.organ(sr, hr, landmarks(160, 1))) == pytest.approx(total, rel=1e-12)


def test_organ_of_a_region_outside_the_frame_counts_nothing() -> None:
    sr, hr = clips(1), clips(0)
    away = landmarks(24) + 1000
    assert float(losses.organ(sr, hr, away, face_size=24.0)) == 0


def test_face_vector_sends_no_gradient_into_the_ground_truth() -> None:
    sr, hr = clips(1).requires_grad_(), clips(0).requires_grad_()
    losses.face_vector(sr, hr, landmarks(24), encoder).backward()
    assert sr.grad is not None
    assert hr.grad is None


def test_face_vector_of_opposite_vectors_is_four() -> None:
    def signed(frames: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(frames.mean((1, 2, 3))[:, None] - 0.5, dim=1)

    sr, hr = torch.zeros(1, 2, 3, 8, 8), torch.ones(1, 2, 3, 8, 8)
    assert float(losses.face_vector(sr, hr, landmarks(8), signed)) == pytest.approx(4.0)


def test_ping_pong_compares_the_same_instants() -> None:
    forth = clips(0, frames=4)
    palindrome = torch.cat((forth, forth[:, :-1].flip(1)), 1)
    assert float(losses.ping_pong(palindrome)) == 0
    palindrome[:, -1] += 0.3  # instant 0, seen again at the end
    assert float(losses.ping_pong(palindrome)) == pytest.approx(0.3 / 3)


def test_generator_and_discriminator_pull_in_opposite_directions() -> None:
    logits = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    losses.generator_loss(logits).backward()
    up = logits.grad.clone()
    logits.grad = None
    losses.discriminator_loss(torch.zeros(2, dtype=torch.float64), logits).backward()
    assert (up < 0).all()  # a step against the gradient raises the score of SR ...
    assert (logits.grad > 0).all()  # ... and the discriminator lowers it
    sigmoid = torch.sigmoid(logits.detach())
    assert torch.allclose(up, -(1 - sigmoid) / 2)


@pytest.mark.parametrize("size", [128, 160])
def test_the_temporal_discriminator_sees_27_channels(size: int) -> None:
    critic = losses.TemporalDiscriminator()
    assert critic.first.in_channels == 27
    frames = torch.rand(1, 3, 3, size, size)
    flow = torch.zeros(1, 3, 2, size, size)
    score, found = critic.judge(frames, frames, (flow, flow))
    assert score.shape == (1, 1, size // 16, size // 16)
    assert [f.shape[1] for f in found] == [64, 64, 128, 256]
    assert float(losses.feature_distance(found, found).detach()) == 0


def test_the_discriminator_teaches_frames_and_not_the_flow() -> None:
    critic = losses.TemporalDiscriminator()
    frames = torch.rand(1, 3, 3, 32, 32, requires_grad=True)
    flow = torch.rand(1, 3, 2, 32, 32, requires_grad=True)
    score, _ = critic.judge(frames, frames.detach(), (flow, flow))
    losses.generator_loss(score).backward()
    assert frames.grad.abs().sum() > 0
    assert flow.grad is None
