"""Laws of the shared networks: transposed convolutions, flow pyramids, paddings, orders."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fvsr_bench.nn import FNet, FrameRecurrent, OFRnet, ShuffleOFRnet, upsample, warp
from fvsr_bench.nn.frame_recurrent import complete
from fvsr_bench.nn.ofrnet_tip import ShuffleUnit


def lively(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 100
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5)
    return model.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# --- transposed convolutions ---


@pytest.mark.parametrize(("transposed", "first"), [("tf-same", 0), ("centre", -1)])
def test_transposed_convolution_of_an_impulse(transposed: str, first: int) -> None:
    """Input pixel y spreads over outputs 2y + first .. 2y + first + 2, weighted by the kernel."""
    model = FrameRecurrent(width=1, blocks=0, transposed=transposed, skip="none")
    with torch.no_grad():
        model.up1.weight.copy_(torch.arange(1.0, 10).view(1, 1, 3, 3))
        model.up1.bias.zero_()
    x = torch.zeros(1, 1, 4, 5)
    x[..., 1, 3] = 1
    expected = torch.zeros(8 + 4, 10 + 4)
    expected[2 + 2 + first : 5 + 2 + first, 6 + 2 + first : 9 + 2 + first] = torch.arange(
        1.0, 10
    ).view(3, 3)
    with torch.no_grad():
        assert torch.equal(model._enlarge(model.up1, x)[0, 0], expected[2:-2, 2:-2])


@pytest.mark.parametrize(("y", "x"), [(0, 0), (3, 4), (0, 4)])
def test_tf_same_cuts_at_the_end(y: int, x: int) -> None:
    """At the border too: TensorFlow pads a stride-2 SAME convolution at the bottom and right."""
    model = FrameRecurrent(width=1, blocks=0, transposed="tf-same", skip="none")
    with torch.no_grad():
        model.up1.weight.fill_(1)
        model.up1.bias.zero_()
        image = torch.zeros(1, 1, 4, 5)
        image[..., y, x] = 1
        out = model._enlarge(model.up1, image)[0, 0]
    rows, columns = torch.nonzero(out, as_tuple=True)
    assert (int(rows.min()), int(columns.min())) == (2 * y, 2 * x)
    assert int(rows.max()) == min(2 * y + 2, 7)
    assert int(columns.max()) == min(2 * x + 2, 9)


# --- FNet ---


@pytest.mark.parametrize(("padding", "tail"), [("reflect", [1, 0]), ("symmetric", [2, 1])])
def test_missing_columns_are_mirrored(padding: str, tail: list[int]) -> None:
    flow = torch.arange(3.0).expand(1, 2, 3, 3)
    full = complete(flow, 3, 5, padding)
    assert full[0, 0, 0].tolist() == [0, 1, 2, *tail]
    assert complete(flow.mT, 5, 3, padding)[0, 1, :, 2].tolist() == [0, 1, 2, *tail]
    assert complete(flow, 3, 3, padding) is not None
    assert torch.equal(complete(flow, 3, 3, padding), flow)


@pytest.mark.parametrize("size", [(8, 8), (12, 20), (17, 15)])
def test_fnet_gives_a_flow_for_every_pixel_within_its_reach(size: tuple[int, int]) -> None:
    net = lively(FNet(zero_init=False))
    with torch.no_grad():
        flow = net(noise(2, 3, *size), noise(2, 3, *size, seed=1))
    assert flow.shape == (2, 2, *size)
    assert 0 < flow.abs().max() <= 24


def test_the_recurrent_network_warps_the_frame_before_and_not_the_one_after() -> None:
    """A flow that says "one LR px to the right" moves the feedback by four HR px."""
    model = lively(FrameRecurrent(width=4, blocks=1, skip="bilinear", zero_init=False))
    seen = []

    class Still(nn.Module):
        def forward(self, current: Tensor, previous: Tensor) -> Tensor:
            flow = current.new_zeros(current.shape[0], 2, *current.shape[2:])
            flow[:, 0] = 1
            return flow

    model.fnet = Still()
    model.conv_in.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    lr = noise(1, 2, 3, 8, 8)
    with torch.no_grad():
        sr = model(lr)
    feedback = F.pixel_shuffle(seen[1][:, 3:], 4) + 0.5
    assert torch.allclose(feedback[..., :-4], sr[:, 0, ..., 4:], atol=1e-5)
    assert torch.allclose(feedback[..., -4:], sr[:, 0, ..., -1:].expand(-1, -1, -1, 4), atol=1e-5)


# --- OFRnet ---


@pytest.mark.parametrize(("rescale", "unit"), [(True, 1.0), (False, 15.5), (True, 15.5)])
def test_ofrnet_level_by_level(rescale: bool, unit: float) -> None:
    """Each level adds what its layers make of the pair to the enlarged flow below it."""
    net = lively(OFRnet(rescale_flow=rescale, flow_unit=unit, centre_input=False, zero_init=False))
    neighbour, centre = noise(2, 1, 8, 12), noise(2, 1, 8, 12, seed=1)
    pair = torch.cat((neighbour, centre), 1)
    two, four = (2, 4) if rescale else (1, 1)
    with torch.no_grad():
        flow1 = net.level1(F.avg_pool2d(pair, 2))
        up = upsample(flow1, 2, "bilinear") * two
        warped = warp(neighbour, up * unit)
        flow2 = up + net.level2(torch.cat((pair, warped, centre - warped, up), 1))
        warped = warp(neighbour, flow2 * unit)
        seen = torch.cat((pair, warped, centre - warped, flow2), 1)
        flow3 = upsample(flow2, 4, "bilinear") * four + F.pixel_shuffle(net.level3(seen), 4)
        pyramid = net.pyramid(neighbour, centre)
    for ours, expected in zip(pyramid, (flow1, flow2, flow3), strict=True):
        assert torch.allclose(ours, expected * unit, rtol=1e-4, atol=1e-4)
    assert pyramid[0].shape[2:] == (4, 6)
    assert pyramid[2].shape[2:] == (32, 48)


@pytest.mark.parametrize("net", [OFRnet(), ShuffleOFRnet(width=8)])
def test_a_fresh_flow_network_sees_no_motion(net: nn.Module) -> None:
    with torch.no_grad():
        flows = net.pyramid(noise(1, 1, 8, 8), noise(1, 1, 8, 8, seed=1))
    assert all(not flow.any() for flow in flows)


def test_rescaled_levels_speak_pixels() -> None:
    """A flow of one px at half size is two px at full size and eight px on the HR grid."""
    net = OFRnet()
    with torch.no_grad():
        net.level1.conv2.bias.copy_(torch.tensor([1.0, -0.5]))
        flows = net.pyramid(noise(1, 1, 8, 8), noise(1, 1, 8, 8))
    for flow, (x, y) in zip(flows, ((1, -0.5), (2, -1), (8, -4)), strict=True):
        assert torch.allclose(flow[:, 0], torch.tensor(float(x)))
        assert torch.allclose(flow[:, 1], torch.tensor(float(y)))


def test_a_shuffle_unit_passes_half_and_interleaves() -> None:
    unit = lively(ShuffleUnit(6))
    x = noise(1, 6, 4, 4)
    with torch.no_grad():
        out = unit(x)
    assert torch.equal(out[:, 0::2], x[:, :3])
    assert not torch.allclose(out[:, 1::2], x[:, 3:])
