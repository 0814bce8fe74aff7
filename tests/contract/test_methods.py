"""Laws that every method in the registry keeps; a new method's file joins by itself."""

import inspect
import json

import pytest
import torch

from fvsr_bench.infer import stream
from fvsr_bench.promises import PROMISES, lively
from fvsr_bench.promises import smooth_clip as clip
from fvsr_bench.registry import build, load_model, load_spec, methods, save_weights
from fvsr_bench.spec import ModelCard

NAMES = sorted(methods())
TRAINABLE = [name for name in NAMES if load_spec(name).trainable]
STREAMING = [
    name for name in NAMES if load_spec(name).lookahead in (0, 1) and hasattr(build(name), "step")
]
ABLATIONS = [(name, part) for name in NAMES for part in sorted(load_spec(name).ablations)]


@pytest.mark.parametrize("promise", PROMISES)
@pytest.mark.parametrize("name", NAMES)
def test_every_promise_is_kept(name: str, promise: str) -> None:
    with torch.no_grad():
        answer = PROMISES[promise](lively(build(name)), load_spec(name))
    assert not answer


@pytest.mark.parametrize("name", NAMES)
def test_a_look_ahead_is_not_claimed_too_large(name: str) -> None:
    lookahead = load_spec(name).lookahead
    if not lookahead:
        pytest.skip("claims none")
    model, lr = lively(build(name)), clip(frames=5)
    changed = lr.clone()
    changed[:, 3] = 1 - changed[:, 3]
    with torch.no_grad():
        assert not torch.allclose(model(lr)[:, 2], model(changed)[:, 2], atol=1e-6)


def test_all_methods_of_the_paper_stream() -> None:
    assert {"fapn", "vespcn", "sofvsr", "frvsr", "tecogan", "bicubic"} <= set(STREAMING)


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model, scale = lively(build(name)).train(), load_spec(name).scale
    # A saturated flow has no gradient: start from flows near zero.
    model(clip(batch=2)).sub(clip(batch=2, size=16 * scale, seed=2)).square().mean().backward()
    silent = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize(("name", "part"), ABLATIONS)
def test_every_ablation_changes_the_output(name: str, part: str) -> None:
    spec = load_spec(name)
    full, without = lively(build(name)), lively(build(name, spec.ablations[part]))
    with torch.no_grad():
        assert not torch.allclose(full(clip()), without(clip()), atol=1e-5)


@pytest.mark.parametrize(("name", "part"), ABLATIONS)
def test_ablated_methods_stream_as_they_run(name: str, part: str) -> None:
    spec = load_spec(name)
    model, lr = lively(build(name, spec.ablations[part])), clip(frames=4)
    with torch.no_grad():
        whole = model(lr)
    frames = list(stream(model, lr.unbind(1), lookahead=spec.lookahead or 0))
    assert torch.allclose(torch.stack(frames, 1), whole, atol=1e-5)


@pytest.mark.parametrize("name", TRAINABLE)
def test_weights_round_trip(name: str, tmp_path) -> None:
    model, spec = lively(build(name)), load_spec(name)
    card = ModelCard(
        method=name,
        tag="t",
        sha256="",
        options=spec.options,
        degradation="bi",
        phase="centre",
        origin="a test",
        licence="none",
        data="none",
        recipe={},
        steps=0,
        seed=0,
        minutes=0.0,
        validation={},
    )
    save_weights(tmp_path / "t.safetensors", model.state_dict(), card)
    again = load_model(name, tmp_path / "t.safetensors")
    with torch.no_grad():
        assert torch.equal(again(clip()), model(clip()))


@pytest.mark.parametrize("name", NAMES)
def test_every_option_of_a_method_has_a_default_and_is_keyword_only(name: str) -> None:
    for parameter in inspect.signature(load_spec(name).build).parameters.values():
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default is not parameter.empty


@pytest.mark.parametrize("name", [n for n in TRAINABLE if n != "dummy"])
def test_a_fresh_network_starts_at_interpolation(name: str) -> None:
    """Zero-initialised heads: the first step sees bicubic's error, not a random residual's."""
    parameters = inspect.signature(load_spec(name).build).parameters
    if "zero_init" not in parameters:
        pytest.skip("authors' layout: no skip to start from")
    torch.manual_seed(0)
    lr = clip(frames=2)
    with torch.no_grad():
        assert torch.allclose(build(name)(lr), build("bicubic")(lr), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("fapn", 1_597_868),
        ("vespcn", 93_992),
        ("sofvsr", 1_639_676),
        ("frvsr", 2_589_093),
        ("tecogan", 3_032_229),
    ],
)
def test_parameter_counts_are_those_of_the_papers(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in build(name).parameters()) == parameters


def test_frvsr_10_128_has_the_size_the_literature_quotes() -> None:
    model = build("frvsr", load_spec("frvsr").tags["10-128"])
    assert sum(p.numel() for p in model.parameters()) == 5_054_693


def test_fapn_is_one_ofrnet_pass_a_side_and_one_cell() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        build("fapn")(torch.rand(1, 2, 3, 40, 40))
    assert counter.get_total_flops() / 2 / 2 / 1e9 == pytest.approx(2.895, abs=0.001)


@pytest.mark.parametrize("name", TRAINABLE)
def test_flows_are_hr_pixels_from_the_frame_before(name: str) -> None:
    """Where a method has flows: one per pair, in HR px, and a still clip moves nothing at first."""
    model = build(name).eval()
    if not hasattr(model, "hr_flows"):
        pytest.skip("has no flow")
    lr = clip(batch=2, frames=3)
    with torch.no_grad():
        flows = model.hr_flows(lr)
    assert flows.shape == (2, 2, 2, 16 * model.scale, 16 * model.scale)
    assert flows.abs().max() < 1e-6  # heads start at zero
    lively(model)
    with torch.no_grad():
        pairs = [model.hr_flows(lr[:, t : t + 2]) for t in range(2)]
        assert torch.allclose(model.hr_flows(lr), torch.cat(pairs, 1), atol=1e-4)


def test_the_networks_of_table_2_were_trained_under_one_recipe(project_root) -> None:
    """Steps, batches, crops, rate, data and seed: only the losses are each method's own."""
    cards = [json.loads(p.read_text()) for p in sorted(project_root.glob("weights/*/bi.json"))]
    assert {card["method"] for card in cards} == {"fapn", "frvsr", "sofvsr", "tecogan", "vespcn"}
    for card in cards:
        assert {**card["recipe"], "losses": 0} == {**cards[0]["recipe"], "losses": 0}
        assert (card["data"], card["seed"]) == (cards[0]["data"], cards[0]["seed"])
        assert not card.get("made_from")
