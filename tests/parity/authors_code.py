"""What the authors' programs compute, written once more from the facts: the oracles of conversion.

Plain functions of a dict of weights under the authors' names, one frame after the other, sharing
nothing with the networks under test: pixels are gathered by index, not by `grid_sample`; phases are
loops; enlargements are sums over taps. float32 where the values are compared to 1e-4.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


Shapes = dict[str, tuple[int, ...]]


def random_weights(shapes: Shapes, seed: int = 0, gain: float = 1.0) -> Weights:
    """Draw weights that keep the size of the signal, and small biases."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if len(shape) == 1:
            weights[name] = 0.05 * noise
        else:  # TensorFlow's kernels have the channels last
            taps = math.prod(shape[:3]) if shape[-1] > 7 or "/" in name else math.prod(shape[1:])
            weights[name] = gain * noise / taps**0.5
    return weights


def with_bias(layers: Shapes, weight: str = ".weight", bias: str = ".bias", out: int = 0) -> Shapes:
    """Add to each kernel a bias as long as its output axis."""
    shapes: Shapes = {}
    for name, shape in layers.items():
        shapes[name + weight], shapes[name + bias] = shape, (shape[out],)
    return shapes


# --- resampling, from formulas -----------------------------------------------------------------


def gather(image: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear samples of [n,c,h,w] at px positions [n,H,W]; positions are clamped to the image."""
    n, c, h, w = image.shape
    x, y = x.clamp(0, w - 1), y.clamp(0, h - 1)
    x0, y0 = x.floor().clamp(max=max(w - 2, 0)), y.floor().clamp(max=max(h - 2, 0))
    ax, ay = (x - x0)[:, None], (y - y0)[:, None]
    x1, y1 = (x0 + 1).clamp(max=w - 1), (y0 + 1).clamp(max=h - 1)
    flat = image.flatten(2)

    def at(yy: Tensor, xx: Tensor) -> Tensor:
        index = (yy * w + xx).long().flatten(1)[:, None].expand(n, c, -1)
        return flat.gather(2, index).view(n, c, *x.shape[1:])

    top = at(y0, x0) * (1 - ax) + at(y0, x1) * ax
    bottom = at(y1, x0) * (1 - ax) + at(y1, x1) * ax
    return top * (1 - ay) + bottom * ay


def warp_px(image: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """Sample [n,c,h,w] at each pixel's own position plus (dx, dy) px."""
    h, w = image.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return gather(image, columns + dx, rows + dy)


def cubic(t: float, a: float) -> float:
    """Keys' cubic kernel."""
    t = abs(t)
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def matrix(size: int, scale: int, kind: str) -> Tensor:
    """The enlargement of one axis as a matrix [scale * size, size].

    "half" is bilinear with half-pixel centres; "corner-linear" and "corner-cubic" put output i at
    input i / scale. Taps outside are moved to the border.
    """
    out = torch.zeros(size * scale, size, dtype=torch.float64)
    for i in range(size * scale):
        position = (i + 0.5) / scale - 0.5 if kind == "half" else i / scale
        if kind == "half":
            position = min(max(position, 0.0), size - 1.0)
        base = math.floor(position)
        for tap in range(base - 1, base + 3):
            distance = position - tap
            weight = cubic(distance, -0.75) if kind == "corner-cubic" else max(0, 1 - abs(distance))
            out[i, min(max(tap, 0), size - 1)] += weight
    return out.float()


def enlarge(image: Tensor, scale: int, kind: str) -> Tensor:
    """Enlarge [n,c,h,w] along both axes."""
    rows, columns = matrix(image.shape[-2], scale, kind), matrix(image.shape[-1], scale, kind)
    return rows @ image @ columns.T


def blocks_to_channels(image: Tensor, scale: int) -> Tensor:
    """Space-to-depth in the order row, column, colour (colour fastest)."""
    parts = [image[:, :, i::scale, j::scale] for i in range(scale) for j in range(scale)]
    return torch.cat(parts, 1)


def conv(x: Tensor, weights: Weights, name: str, padding: int | None = None) -> Tensor:
    """A convolution of stride 1 under the authors' name, with or without a bias."""
    kernel = weights[f"{name}.weight"]
    pad = kernel.shape[-1] // 2 if padding is None else padding
    return F.conv2d(x, kernel, weights.get(f"{name}.bias"), padding=pad)


# --- TecoGAN's PyTorch port ----------------------------------------------------------------------


def port_shapes(blocks: int, width: int = 64) -> Shapes:
    """Names and shapes of the port's file (fnet.*, srnet.*)."""
    sizes, layers = (6, 32, 64, 128, 256, 128, 64), {}
    for i in range(6):
        part = f"fnet.encoder{i + 1}" if i < 3 else f"fnet.decoder{i - 2}"
        layers[f"{part}.0"] = (sizes[i + 1], sizes[i], 3, 3)
        layers[f"{part}.2"] = (sizes[i + 1], sizes[i + 1], 3, 3)
    layers["fnet.flow.0"], layers["fnet.flow.2"] = (32, 64, 3, 3), (2, 32, 3, 3)
    layers["srnet.conv_in.0"] = (width, 51, 3, 3)
    for i in range(blocks):
        for j in (0, 2):
            layers[f"srnet.resblocks.{i}.conv.{j}"] = (width, width, 3, 3)
    for j in (0, 2):
        layers[f"srnet.conv_up.{j}"] = (width, width, 3, 3)
    layers["srnet.conv_out"] = (3, width, 3, 3)
    return with_bias(layers)


def _fnet(w: Weights, current: Tensor, previous: Tensor) -> Tensor:
    x = torch.cat((current, previous), 1)
    for i in (1, 2, 3):
        x = F.leaky_relu(conv(x, w, f"fnet.encoder{i}.0"), 0.2)
        x = F.leaky_relu(conv(x, w, f"fnet.encoder{i}.2"), 0.2)
        h, ww = x.shape[-2] // 2 * 2, x.shape[-1] // 2 * 2
        x = x[..., :h, :ww].unflatten(-1, (-1, 2)).amax(-1).unflatten(-2, (-1, 2)).amax(-2)
    for i in (1, 2, 3):
        x = F.leaky_relu(conv(x, w, f"fnet.decoder{i}.0"), 0.2)
        x = F.leaky_relu(conv(x, w, f"fnet.decoder{i}.2"), 0.2)
        x = enlarge(x, 2, "half")
    x = F.leaky_relu(conv(x, w, "fnet.flow.0"), 0.2)
    return torch.tanh(conv(x, w, "fnet.flow.2")) * 24


def _srnet(w: Weights, lr: Tensor, channels: Tensor, skip: str) -> Tensor:
    x = F.relu(conv(torch.cat((lr, channels), 1), w, "srnet.conv_in.0"))
    i = 0
    while f"srnet.resblocks.{i}.conv.0.weight" in w:
        inner = F.relu(conv(x, w, f"srnet.resblocks.{i}.conv.0"))
        x = x + conv(inner, w, f"srnet.resblocks.{i}.conv.2")
        i += 1
    for j in (0, 2):
        kernel, bias = w[f"srnet.conv_up.{j}.weight"], w[f"srnet.conv_up.{j}.bias"]
        x = F.relu(F.conv_transpose2d(x, kernel, bias, 2, padding=1, output_padding=1))
    return conv(x, w, "srnet.conv_out") + enlarge(lr, 4, skip)


def port_clip(w: Weights, lr: Tensor, degradation: str) -> Tensor:
    """The port's generator on a clip [t,3,h,w], frame by frame from zeros."""
    skip = {"bi": "half", "bd15": "corner-cubic"}[degradation]
    previous_lr, out = torch.zeros_like(lr[:1]), []
    previous_hr = torch.zeros(1, 3, 4 * lr.shape[-2], 4 * lr.shape[-1])
    for frame in lr.split(1):
        flow = _fnet(w, frame, previous_lr)
        missing = (frame.shape[-2] - flow.shape[-2], frame.shape[-1] - flow.shape[-1])
        flow = F.pad(flow, (0, missing[1], 0, missing[0]), mode="reflect")
        flow = 4 * enlarge(flow, 4, skip)
        warped = warp_px(previous_hr, flow[:, 0], flow[:, 1])
        previous_hr = _srnet(w, frame, blocks_to_channels(warped, 4), skip)
        previous_lr = frame
        out.append(previous_hr)
    return torch.cat(out)


# --- TecoGAN's TensorFlow code -------------------------------------------------------------------


def tf_shapes(blocks: int, width: int = 64) -> Shapes:
    """Names and shapes of the TensorFlow checkpoint's generator and flow network."""
    sizes, layers = (6, 32, 64, 128, 256, 128, 64), {}
    unit, generator = "fnet/autoencode_unit", "generator/generator_unit"
    for i in range(6):
        part = f"{unit}/encoder_{i + 1}" if i < 3 else f"{unit}/decoder_{i - 2}"
        layers[f"{part}/conv_1/Conv"] = (3, 3, sizes[i], sizes[i + 1])
        layers[f"{part}/conv_2/Conv"] = (3, 3, sizes[i + 1], sizes[i + 1])
    layers[f"{unit}/output_stage/conv1/Conv"] = (3, 3, 64, 32)
    layers[f"{unit}/output_stage/conv2/Conv"] = (3, 3, 32, 2)
    layers[f"{generator}/input_stage/conv/Conv"] = (3, 3, 51, width)
    for i in range(blocks):
        for j in (1, 2):
            layers[f"{generator}/resblock_{i + 1}/conv_{j}/Conv"] = (3, 3, width, width)
    layers[f"{generator}/output_stage/conv/Conv"] = (3, 3, width, 3)
    shapes = with_bias(layers, "/weights", "/biases", -1)
    for j in (1, 2):
        name = f"{generator}/conv_tran2highres/conv_tran{j}/Conv2d_transpose"
        shapes[f"{name}/weights"], shapes[f"{name}/biases"] = (3, 3, width, width), (width,)
    return shapes


def _tf_conv(x: Tensor, w: Weights, name: str) -> Tensor:
    kernel = w[f"{name}/Conv/weights"]  # height, width, in, out
    total = w[f"{name}/Conv/biases"].view(1, -1, 1, 1).expand(1, -1, *x.shape[-2:])
    padded = F.pad(x, (1, 1, 1, 1))
    for i in range(3):
        for j in range(3):
            seen = padded[:, :, i : i + x.shape[-2], j : j + x.shape[-1]]
            total = total + torch.einsum("nchw,co->nohw", seen, kernel[i, j])
    return total


def tf_transposed(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """conv2d_transpose, SAME, stride 2: input y spreads over outputs 2y, 2y + 1, 2y + 2; cut to 2h.

    `kernel` is (height, width, out, in).
    """
    n, _, h, w = x.shape
    out = torch.zeros(n, kernel.shape[2], 2 * h + 1, 2 * w + 1)
    for i in range(3):
        for j in range(3):
            part = torch.einsum("nchw,oc->nohw", x, kernel[i, j])
            out[:, :, i : i + 2 * h : 2, j : j + 2 * w : 2] += part
    return out[:, :, : 2 * h, : 2 * w] + bias.view(1, -1, 1, 1)


def _tf_fnet(w: Weights, previous: Tensor, current: Tensor) -> Tensor:
    unit = "fnet/autoencode_unit"
    x = torch.cat((previous, current), 1)
    for i in (1, 2, 3):
        for j in (1, 2):
            x = F.leaky_relu(_tf_conv(x, w, f"{unit}/encoder_{i}/conv_{j}"), 0.2)
        x = F.max_pool2d(x, 2)
    for i in (1, 2, 3):
        for j in (1, 2):
            x = F.leaky_relu(_tf_conv(x, w, f"{unit}/decoder_{i}/conv_{j}"), 0.2)
        x = enlarge(x, 2, "corner-linear")
    x = F.leaky_relu(_tf_conv(x, w, f"{unit}/output_stage/conv1"), 0.2)
    return torch.tanh(_tf_conv(x, w, f"{unit}/output_stage/conv2")) * 24


def tf_clip(w: Weights, lr: Tensor) -> Tensor:
    """The TensorFlow generator on a clip [t,3,h,w], without its warm-up frames."""
    unit, out = "generator/generator_unit", []
    previous_lr, previous_hr = lr[:1], None
    for frame in lr.split(1):
        warped = torch.zeros(1, 3, 4 * frame.shape[-2], 4 * frame.shape[-1])
        if previous_hr is not None:
            flow = _tf_fnet(w, previous_lr, frame)
            for axis in (-1, -2):  # tf.pad SYMMETRIC
                missing = frame.shape[axis] - flow.shape[axis]
                mirrored = flow.flip(axis).narrow(axis, 0, missing)
                flow = torch.cat((flow, mirrored), axis)
            flow = enlarge(flow * 4, 4, "corner-linear")
            warped = warp_px(previous_hr, -flow[:, 1], -flow[:, 0])  # (y, x), subtracted
        x = torch.cat((frame, blocks_to_channels(warped, 4)), 1)
        x = F.relu(_tf_conv(x, w, f"{unit}/input_stage/conv"))
        i = 1
        while f"{unit}/resblock_{i}/conv_1/Conv/weights" in w:
            inner = F.relu(_tf_conv(x, w, f"{unit}/resblock_{i}/conv_1"))
            x = x + _tf_conv(inner, w, f"{unit}/resblock_{i}/conv_2")
            i += 1
        for j in (1, 2):
            name = f"{unit}/conv_tran2highres/conv_tran{j}/Conv2d_transpose"
            x = F.relu(tf_transposed(x, w[f"{name}/weights"], w[f"{name}/biases"]))
        hr = _tf_conv(x, w, f"{unit}/output_stage/conv") + enlarge(frame, 4, "corner-cubic")
        previous_hr, previous_lr = ((hr * 2 - 1) + 1) / 2, frame  # to [-1, 1] and back
        out.append(previous_hr)
    return torch.cat(out)


# --- SOF-VSR -------------------------------------------------------------------------------------


def _rdb_shapes(name: str, layers: int, width: int) -> Shapes:
    shapes = {
        f"{name}.dense_layers.{i}.conv.weight": (32, width + 32 * i, 3, 3) for i in range(layers)
    }
    return {**shapes, f"{name}.conv_1x1.weight": (width, width + 32 * layers, 1, 1)}


def accv_shapes() -> Shapes:
    """Names and shapes of SOFVSR_x4.pth."""
    shapes: Shapes = {}
    for level, inputs, out in ((1, 2, 2), (2, 6, 2), (3, 6, 32)):
        shapes[f"OFRnet.conv_L{level}_1.weight"] = (32, inputs, 3, 3)
        for j in (1, 2):
            shapes.update(_rdb_shapes(f"OFRnet.RDB{level}_{j}", 4, 32))
        shapes[f"OFRnet.bottleneck_L{level}.weight"] = (out, 64, 3, 3)
        shapes.update(with_bias({f"OFRnet.conv_L{level}_2": (out, out, 3, 3)}))
    shapes["SRnet.conv.weight"] = (64, 35, 3, 3)
    for i in range(1, 6):
        shapes.update(_rdb_shapes(f"SRnet.RDB_{i}", 5, 64))
    shapes["SRnet.bottleneck.weight"] = (16, 384, 1, 1)
    return {**shapes, **with_bias({"SRnet.conv_2": (16, 16, 3, 3)})}


def _unit_shapes(name: str, count: int, half: int) -> Shapes:
    sizes = {0: (half, half, 1, 1), 2: (half, 1, 3, 3), 3: (half, half, 1, 1)}
    return {
        f"{name}.body.{i}.body.{j}.weight": size for i in range(count) for j, size in sizes.items()
    }


def tip_shapes(scale: int, width: int = 320) -> Shapes:
    """Names and shapes of BI_x{2,3,4}.pth."""
    shapes: Shapes = {"OFR.RNN1.0.weight": (width, 4, 3, 3), "OFR.RNN2.0.weight": (2, width, 3, 3)}
    shapes.update(_unit_shapes("OFR.RNN1.2", 3, width // 2))
    shapes.update(_unit_shapes("OFR.SR.0", 3, width // 2))
    shapes["SR.body.0.weight"] = (width, 1 + 2 * scale**2, 3, 3)
    shapes.update(_unit_shapes("SR.body.2", 8, width // 2))
    factors = {2: (2,), 3: (3,), 4: (2, 2)}[scale]
    for name, first, out in (("OFR.SR", 1, 2), ("SR.body", 3, 1)):
        for i, factor in enumerate(factors):
            inputs = 64 if i else width
            shapes[f"{name}.{first + 3 * i}.weight"] = (64 * factor**2, inputs, 1, 1)
        last = f"{name}.{first + 3 * len(factors)}"
        shapes[f"{last}.weight"] = (out, 64, 3, 3)
        if out == 1:
            shapes[f"{last}.bias"] = (1,)
    return shapes


def sof_warp(image: Tensor, flow: Tensor) -> Tensor:
    """Warp with a flow whose unit is 31 / 2 px at any resolution."""
    return warp_px(image, flow[:, 0] * 15.5, flow[:, 1] * 15.5)


def _rdb(x: Tensor, w: Weights, name: str) -> Tensor:
    grown, i = x, 0
    while f"{name}.dense_layers.{i}.conv.weight" in w:
        new = F.leaky_relu(conv(grown, w, f"{name}.dense_layers.{i}.conv"), 0.1)
        grown, i = torch.cat((grown, new), 1), i + 1
    return conv(grown, w, f"{name}.conv_1x1") + x


def accv_level(w: Weights, level: int, x: Tensor) -> Tensor:
    """One level of OFRnet on its stacked input."""
    one = _rdb(conv(x, w, f"OFRnet.conv_L{level}_1"), w, f"OFRnet.RDB{level}_1")
    two = _rdb(one, w, f"OFRnet.RDB{level}_2")
    x = conv(torch.cat((one, two), 1), w, f"OFRnet.bottleneck_L{level}")
    return conv(x, w, f"OFRnet.conv_L{level}_2")


def shuffle(x: Tensor, scale: int) -> Tensor:
    """Pixel shuffle, one phase at a time."""
    n, c, h, w = x.shape
    out = torch.zeros(n, c // scale**2, h * scale, w * scale)
    for i in range(scale):
        for j in range(scale):
            out[:, :, i::scale, j::scale] = x[:, i * scale + j :: scale**2]
    return out


def accv_flows(w: Weights, neighbour: Tensor, centre: Tensor) -> list[Tensor]:
    """OFRnet's flows of levels 1, 2, 3 in its own unit."""
    pair = torch.cat((neighbour, centre), 1)
    small = sum(pair[..., i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
    flow1 = accv_level(w, 1, small)
    up1 = enlarge(flow1, 2, "half")
    warped = sof_warp(neighbour, up1)
    flow2 = accv_level(w, 2, torch.cat((pair, warped, centre - warped, up1), 1)) + up1
    warped = sof_warp(neighbour, flow2)
    x = accv_level(w, 3, torch.cat((pair, warped, centre - warped, flow2), 1))
    return [flow1, flow2, shuffle(x, 4) + enlarge(flow2, 4, "half")]


def accv_y(w: Weights, y: Tensor) -> Tensor:
    """SOF-VSR (ACCV, x4) on three luma frames [1,3,h,w] -> [1,1,4h,4w]."""
    before, centre, after = y.split(1, 1)
    flows = [accv_flows(w, side, centre)[2] for side in (before, after)]
    cube = [before, centre, after]
    for i in range(4):
        for j in range(4):
            for side, flow in zip((before, after), flows, strict=True):
                cube.append(sof_warp(side, flow[:, :, i::4, j::4] / 4))
    first = conv(torch.cat(cube, 1), w, "SRnet.conv")
    features = [first]
    for i in range(1, 6):
        features.append(_rdb(features[-1], w, f"SRnet.RDB_{i}"))
    x = conv(torch.cat((*features[1:], first), 1), w, "SRnet.bottleneck")
    return shuffle(conv(x, w, "SRnet.conv_2"), 4)


def _cascade(x: Tensor, w: Weights, name: str) -> Tensor:
    """Shuffle units: pass one half, change the other, interleave."""
    i = 0
    while f"{name}.body.{i}.body.0.weight" in w:
        half = x.shape[1] // 2
        inner = F.leaky_relu(conv(x[:, half:], w, f"{name}.body.{i}.body.0"), 0.1)
        depth = w[f"{name}.body.{i}.body.2.weight"]
        inner = F.conv2d(inner, depth, padding=1, groups=half)
        inner = F.leaky_relu(conv(inner, w, f"{name}.body.{i}.body.3"), 0.1)
        mixed = torch.empty_like(x)
        mixed[:, 0::2], mixed[:, 1::2] = x[:, :half], inner
        x, i = mixed, i + 1
    return x


def _tip_head(x: Tensor, w: Weights, name: str, at: int, scale: int) -> Tensor:
    for factor in {2: (2,), 3: (3,), 4: (2, 2)}[scale]:
        x = F.leaky_relu(shuffle(conv(x, w, f"{name}.{at}"), factor), 0.1)
        at += 3
    return conv(x, w, f"{name}.{at}")


def tip_y(w: Weights, y: Tensor, scale: int) -> Tensor:
    """SOF-VSR (TIP) on three luma frames [1,3,h,w] -> [1,1,s*h,s*w]."""
    before, centre, after = y.split(1, 1)

    def trunk(neighbour: Tensor, target: Tensor, flow: Tensor) -> Tensor:
        x = conv(torch.cat((neighbour, target, flow), 1), w, "OFR.RNN1.0")
        return _cascade(F.leaky_relu(x, 0.1), w, "OFR.RNN1.2")

    cube = [centre]
    for side in (before, after):
        small = [F.avg_pool2d(frame, 2) for frame in (side, centre)]
        still = torch.zeros(1, 2, *small[0].shape[2:])
        flow = enlarge(conv(trunk(*small, still), w, "OFR.RNN2.0"), 2, "half") * 2
        flow = conv(trunk(sof_warp(side, flow), centre, flow), w, "OFR.RNN2.0") + flow
        x = _cascade(trunk(sof_warp(side, flow), centre, flow), w, "OFR.SR.0")
        hr = _tip_head(x, w, "OFR.SR", 1, scale) + enlarge(flow, scale, "half") * scale
        phases = [hr[:, :, i::scale, j::scale] for i in range(scale) for j in range(scale)]
        cube += [sof_warp(side, phase / scale) for phase in phases]
    x = F.leaky_relu(conv(torch.cat(cube, 1), w, "SR.body.0"), 0.1)
    return _tip_head(_cascade(x, w, "SR.body.2"), w, "SR.body", 3, scale)


# --- VESPCN of the JuheonYi port -----------------------------------------------------------------


def jy_shapes(widths: tuple[int, ...], kernel: int = 3, scale: int = 4) -> tuple[Shapes, Shapes]:
    """Names and shapes of model_best_mc.pt and model_best_espcn.pt."""
    motion = {}
    for name, inputs, out, kernels in (
        ("C_flow", 2, 32, (5, 3, 5, 3, 3)),
        ("F_flow", 5, 8, (5, 3, 3, 3, 3)),
    ):
        for i, size in enumerate(kernels):
            features = out if i == 4 else 24
            motion[f"{name}.{2 * i}"] = (features, inputs if i == 0 else 24, size, size)
    net, inputs = {}, 3
    for i, width in enumerate((*widths, scale**2)):
        net[f"net.{2 * i}"] = (width, inputs, kernel, kernel)
        inputs, kernel = width, 3
    net[f"net.{2 * len(widths) + 3}"] = (1, 1, 1, 1)
    return with_bias(motion), with_bias(net)


def _jy_flow(x: Tensor, w: Weights, name: str, strides: tuple[int, ...]) -> Tensor:
    for i, stride in enumerate(strides):
        kernel = w[f"{name}.{2 * i}.weight"]
        x = F.conv2d(x, kernel, w[f"{name}.{2 * i}.bias"], stride, kernel.shape[-1] // 2)
        x = torch.tanh(x) if i == len(strides) - 1 else F.relu(x)
    return x


def _jy_warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample at the identity grid in -1..1 minus the flow, clamped to -1..1, corners aligned."""
    h, w = image.shape[-2:]
    x = (torch.linspace(-1, 1, w) - flow[:, 0]).clamp(-1, 1)
    y = (torch.linspace(-1, 1, h)[:, None] - flow[:, 1]).clamp(-1, 1)
    return gather(image, (x + 1) * (w - 1) / 2, (y + 1) * (h - 1) / 2)


def jy_y(w: Weights, y: Tensor, scale: int = 4) -> Tensor:
    """The port's VESPCN on three luma frames [1,3,h,w] in 0..1 -> [1,1,s*h,s*w]."""
    before, centre, after = (y - 109 / 255).split(1, 1)
    height, width = y.shape[-2:]
    warped = []
    for side in (before, after):
        pair = torch.cat((centre, side), 1)
        coarse = shuffle(_jy_flow(pair, w, "C_flow", (2, 1, 2, 1, 1)), 4)
        coarse = torch.cat((coarse[:, :1] / width, coarse[:, 1:] / height), 1)
        x = torch.cat((pair, _jy_warp(side, coarse), coarse), 1)
        fine = shuffle(_jy_flow(x, w, "F_flow", (2, 1, 1, 1, 1)), 2)
        fine = torch.cat((fine[:, :1] / width, fine[:, 1:] / height), 1)
        warped.append(_jy_warp(side, coarse + fine))
    x, i = torch.cat((warped[0], centre, warped[1]), 1), 0
    while f"net.{i}.weight" in w:
        x, i = F.relu(conv(x, w, f"net.{i}")), i + 2
    return conv(shuffle(x, scale), w, f"net.{i + 1}") + 109 / 255
