"""Layouts of frame-recurrent generators: the PyTorch port of TecoGAN, and the original TensorFlow.

Both compute FRVSR with a skip connection, and differ in nearly everything that no shape shows:
order of FNet's frames, axes and sign of the flow, space-to-depth order, crop of the transposed
convolutions, phase of every enlargement.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import Tensor

from fvsr_bench.convert.layout import (
    Layout,
    Options,
    Rule,
    Shapes,
    chain,
    colour_slowest,
    conv_from_tf,
    reverse_flow,
    swap_halves,
)
from fvsr_bench.spec import Degradation

_COMMON = {
    "colour": "RGB",
    "range": "[0, 1]",
    "flow": "backward, current onto previous frame; FNet's tanh x 24 LR px; x4 on the HR grid",
    "align_corners": True,
    "padding": "border",
    "first_frame": "the frame before the first is zeros, LR and SR",
    "recurrent_hr": "the SR frame before, in [0, 1], not rounded and not clamped",
}


def _numbers(shapes: Shapes, pattern: str) -> int:
    """Count the different numbers that the names hold at the pattern's group."""
    found = {match[1] for name in shapes if (match := re.match(pattern, name))}
    return len(found)


# --- PyTorch port ---


def _torch_sizes(shapes: Shapes) -> Options:
    width = shapes.get("srnet.conv_in.0.weight", (64,))[0]
    blocks = _numbers(shapes, r"srnet\.resblocks\.(\d+)\.") or 10
    return {"width": width, "blocks": blocks}


def _torch_rules(sizes: Options) -> list[Rule]:
    pairs = [
        (f"fnet.{side}coder{i + 1}.{j}", f"fnet.{side}coder.{i}.{j}")
        for side in ("en", "de")
        for i in range(3)
        for j in (0, 2)
    ]
    pairs += [("fnet.flow.0", "fnet.flow1"), ("fnet.flow.2", "fnet.flow2")]
    pairs += [("srnet.conv_in.0", "conv_in")]
    for i in range(sizes["blocks"]):
        pairs.append((f"srnet.resblocks.{i}.conv.0", f"blocks.{i}.conv1"))
        pairs.append((f"srnet.resblocks.{i}.conv.2", f"blocks.{i}.conv2"))
    pairs += [
        ("srnet.conv_up.0", "up1"),
        ("srnet.conv_up.2", "up2"),
        ("srnet.conv_out", "conv_out"),
    ]
    rules = []
    for theirs, ours in pairs:
        reorder = partial(colour_slowest, plain=3, colours=3)
        change = {"change": reorder} if ours == "conv_in" else {}
        rules.append(Rule(theirs=f"{theirs}.weight", ours=f"{ours}.weight", **change))
        rules.append(Rule(theirs=f"{theirs}.bias", ours=f"{ours}.bias"))
    return rules


def _torch_evidence(shapes: Shapes) -> str:
    """The corner-origin enlargement keeps its kernels in a buffer; bilinear has none."""
    return "corner" if any(name.endswith("upsample_func.kernels") for name in shapes) else ""


def _torch_skip(degradation: Degradation) -> str:
    return "bilinear" if degradation.phase == "centre" else "corner-bicubic"


def _torch_options(sizes: Options, degradation: Degradation) -> Options:
    skip = _torch_skip(degradation)
    return {
        **sizes,
        "scale": 4,
        "skip": skip,
        "upsampling": skip,
        "fnet_upsampling": "bilinear",
        "transposed": "centre",
        "max_flow": 24.0,
        "flow_padding": "reflect",
        "centre_input": False,
        "zero_init": False,
        "feedback": True,
    }


def _torch_semantics(sizes: Options, degradation: Degradation) -> Mapping[str, Any]:
    return {
        **_COMMON,
        "fnet_input": "current frame, previous frame",
        "flow_axes": "(x, y), added to the pixel's position",
        "space_to_depth": "row, column, colour in the file; permuted to ours",
        "transposed_convolution": "padding 1, output padding 1",
        "skip": _torch_skip(degradation),
        "flow_upsampling": _torch_skip(degradation),
        "fnet_upsampling": "bilinear",
        "warm_up_frames": 5,
        "warm_up": "the port's test prepends 5 reversed frames; not applied here",
        "sizes": "flows of sizes that 8 does not divide are completed by reflection",
    }


TORCH = Layout(
    name="tecogan-torch",
    code="github.com/skycrapers/TecoGAN-PyTorch",
    licence="see the port's repository",
    data="the port's: VimeoTecoGAN or REDS clips",
    degradations=lambda sizes: ("bi", "bd15"),
    ignored=(r"(srnet\.)?upsample_func\.kernels",),
    sizes=_torch_sizes,
    rules=_torch_rules,
    options=_torch_options,
    semantics=_torch_semantics,
    evidence=_torch_evidence,
)


# --- original TensorFlow code ---

_FNET = "fnet/autoencode_unit"
_UNIT = "generator/generator_unit"


def _tf_sizes(shapes: Shapes) -> Options:
    width = shapes.get(f"{_UNIT}/input_stage/conv/Conv/weights", (3, 3, 51, 64))[-1]
    return {"width": width, "blocks": _numbers(shapes, rf"{_UNIT}/resblock_(\d+)/") or 16}


def _tf_first(kernel: Tensor) -> Tensor:
    return colour_slowest(conv_from_tf(kernel), plain=3, colours=3)


def _tf_rules(sizes: Options) -> list[Rule]:
    convs = [
        (f"{_FNET}/{side}coder_{i + 1}/conv_{j + 1}", f"fnet.{side}coder.{i}.{2 * j}")
        for side in ("en", "de")
        for i in range(3)
        for j in range(2)
    ]
    convs += [(f"{_FNET}/output_stage/conv1", "fnet.flow1")]
    for i in range(sizes["blocks"]):
        for j in (1, 2):
            convs.append((f"{_UNIT}/resblock_{i + 1}/conv_{j}", f"blocks.{i}.conv{j}"))
    convs += [(f"{_UNIT}/output_stage/conv", "conv_out")]
    special = {"fnet.encoder.0.0": chain(conv_from_tf, swap_halves)}
    rules = [_tf_rule(f"{theirs}/Conv", ours, special.get(ours)) for theirs, ours in convs]
    rules += [_tf_rule(f"{_UNIT}/input_stage/conv/Conv", "conv_in", _tf_first)]
    for j in (1, 2):
        theirs = f"{_UNIT}/conv_tran2highres/conv_tran{j}/Conv2d_transpose"
        rules.append(_tf_rule(theirs, f"up{j}"))
    rules.append(
        _tf_rule(
            f"{_FNET}/output_stage/conv2/Conv", "fnet.flow2", chain(conv_from_tf, reverse_flow)
        )
    )
    biases = [_tf_bias(rule) for rule in rules]
    return [rule for pair in zip(rules, biases, strict=True) for rule in pair]


def _tf_rule(theirs: str, ours: str, change: Any = None) -> Rule:
    return Rule(theirs=f"{theirs}/weights", ours=f"{ours}.weight", change=change or conv_from_tf)


def _tf_bias(rule: Rule) -> Rule:
    theirs = rule.theirs.removesuffix("weights") + "biases"
    ours = rule.ours.removesuffix("weight") + "bias"
    if ours == "fnet.flow2.bias":
        return Rule(theirs=theirs, ours=ours, change=reverse_flow)
    return Rule(theirs=theirs, ours=ours)


def _tf_options(sizes: Options, degradation: Degradation) -> Options:
    return {
        **sizes,
        "scale": 4,
        "skip": "corner-bicubic",
        "upsampling": "corner-bilinear",
        "fnet_upsampling": "corner-bilinear",
        "transposed": "tf-same",
        "max_flow": 24.0,
        "flow_padding": "symmetric",
        "centre_input": False,
        "zero_init": False,
        "feedback": True,
    }


def _tf_semantics(sizes: Options, degradation: Degradation) -> Mapping[str, Any]:
    return {
        **_COMMON,
        "fnet_input": "previous, current frame in the file; permuted to current, previous",
        "flow_axes": "(y, x), subtracted, in the file; permuted and negated to (x, y), added",
        "space_to_depth": "row, column, colour in the file; permuted to ours",
        "transposed_convolution": "SAME: no padding, cropped to the first 2h rows and 2w columns",
        "skip": "corner-bicubic",
        "flow_upsampling": "corner-bilinear",
        "fnet_upsampling": "corner-bilinear",
        "output": "the file's network ends in [-1, 1]; here [0, 1], which is what it feeds back",
        "warm_up_frames": 5,
        "warm_up": "the authors' test prepends 5 reversed frames; not applied here",
        "sizes": "flows of sizes that 8 does not divide are completed by mirroring with the edge",
    }


TENSORFLOW = Layout(
    name="tecogan-tf",
    code="github.com/thunil/TecoGAN",
    licence="Apache-2.0",
    data="the authors': online videos, see their repository",
    degradations=lambda sizes: ("bd15",),
    ignored=(
        r".*/Adam(_1)?",
        r".*(beta[12]_power|global_step|ExponentialMovingAverage)(_\d+)?",
        r"(tdiscriminator|vgg_19|get_learning_rate_and_global_step)/.*",
    ),
    sizes=_tf_sizes,
    rules=_tf_rules,
    options=_tf_options,
    semantics=_tf_semantics,
)
