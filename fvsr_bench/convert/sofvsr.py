"""Layouts of SOF-VSR's authors' code: its ACCV 2018 version (x4) and its TIP 2020 one (x2, x3, x4).

Both: Y only, flow in units of 15.5 px, `grid_sample` of torch 0.4 (align_corners=True).
"""

from collections.abc import Mapping
from typing import Any

from fvsr_bench.convert.layout import Layout, Options, Rule, Shapes
from fvsr_bench.spec import Degradation

_COMMON = {
    "colour": "Y (studio BT.601), CbCr bicubic",
    "range": "[16, 235] / 255",
    "flow": "backward, centre onto neighbour; 1 unit = 15.5 px at any resolution (31 / 2)",
    "flow_axes": "(x, y), added to the pixel's position",
    "align_corners": True,
    "padding": "border",
    "skip": "none",
    "flow_upsampling": "bilinear",
    "transposed_convolution": "none",
    "warm_up_frames": 0,
    "clip_ends": "the authors' test leaves the first and last frame out; replicated here",
    "sizes": "height and width must be even",
}

# --- ACCV ---


def _accv_rules(sizes: Options) -> list[Rule]:
    names: list[tuple[str, str]] = []
    for level in (1, 2, 3):
        ours = f"ofr.level{level}"
        names.append((f"OFRnet.conv_L{level}_1.weight", f"{ours}.conv1.weight"))
        for j in (1, 2):
            names += _rdb(f"OFRnet.RDB{level}_{j}", f"{ours}.rdb{j}", 4)
        names.append((f"OFRnet.bottleneck_L{level}.weight", f"{ours}.bottleneck.weight"))
        names += [(f"OFRnet.conv_L{level}_2.{k}", f"{ours}.conv2.{k}") for k in ("weight", "bias")]
    names.append(("SRnet.conv.weight", "conv_in.weight"))
    for i in range(5):
        names += _rdb(f"SRnet.RDB_{i + 1}", f"rdbs.{i}", 5)
    names.append(("SRnet.bottleneck.weight", "bottleneck.weight"))
    names += [(f"SRnet.conv_2.{k}", f"conv_out.{k}") for k in ("weight", "bias")]
    return [Rule(theirs=theirs, ours=ours) for theirs, ours in names]


def _rdb(theirs: str, ours: str, layers: int) -> list[tuple[str, str]]:
    names = [
        (f"{theirs}.dense_layers.{i}.conv.weight", f"{ours}.dense.{i}.weight")
        for i in range(layers)
    ]
    return [*names, (f"{theirs}.conv_1x1.weight", f"{ours}.fuse.weight")]


def _accv_options(sizes: Options, degradation: Degradation) -> Options:
    return {
        "version": "accv",
        "scale": 4,
        "width": 64,
        "blocks": 5,
        "rescale_flow": False,
        "flow_unit": 15.5,
        "residual": "none",
        "centre_input": False,
        "zero_init": False,
        "flow": True,
    }


def _accv_semantics(sizes: Options, degradation: Degradation) -> Mapping[str, Any]:
    return {
        **_COMMON,
        "flow_levels": "values are not multiplied when a level's flow is enlarged",
        "cube": "Y of t-1, t, t+1; then for each phase (row, column) the draft of t-1 and of t+1",
    }


ACCV = Layout(
    name="sofvsr-accv",
    code="github.com/The-Learning-And-Vision-Atelier-LAVA/SOF-VSR, ACCV",
    licence="see the authors' repository",
    data="the authors': 145 CDVL clips of 31 frames",
    degradations=lambda sizes: ("bi",),
    ignored=(),
    sizes=lambda shapes: {"scale": 4},
    rules=_accv_rules,
    options=_accv_options,
    semantics=_accv_semantics,
)

# --- TIP ---


def _tip_sizes(shapes: Shapes) -> Options:
    width = shapes.get("OFR.RNN1.0.weight", (320,))[0]
    if "OFR.SR.7.weight" in shapes or "OFR.SR.1.weight" not in shapes:
        return {"scale": 4, "width": width}
    return {"scale": 3 if shapes["OFR.SR.1.weight"][0] == 576 else 2, "width": width}


def _tip_rules(sizes: Options) -> list[Rule]:
    stages = 2 if sizes["scale"] == 4 else 1
    names = [("OFR.RNN1.0.weight", "ofr.first.weight"), ("OFR.RNN2.0.weight", "ofr.head.weight")]
    names += _units("OFR.RNN1.2", "ofr.trunk", 3)
    names += _units("OFR.SR.0", "ofr.fine", 3)
    names += [(f"OFR.SR.{1 + 3 * i}.weight", f"ofr.enlarge.{i}.weight") for i in range(stages)]
    names.append((f"OFR.SR.{1 + 3 * stages}.weight", "ofr.last.weight"))
    names.append(("SR.body.0.weight", "sr.first.weight"))
    names += _units("SR.body.2", "sr.trunk", 8)
    names += [(f"SR.body.{3 + 3 * i}.weight", f"sr.enlarge.{i}.weight") for i in range(stages)]
    last = f"SR.body.{3 + 3 * stages}"
    names += [(f"{last}.{k}", f"sr.last.{k}") for k in ("weight", "bias")]
    return [Rule(theirs=theirs, ours=ours) for theirs, ours in names]


def _units(theirs: str, ours: str, count: int) -> list[tuple[str, str]]:
    layers = ((0, "point1"), (2, "depth"), (3, "point2"))
    return [
        (f"{theirs}.body.{i}.body.{j}.weight", f"{ours}.{i}.{layer}.weight")
        for i in range(count)
        for j, layer in layers
    ]


def _tip_options(sizes: Options, degradation: Degradation) -> Options:
    return {
        "version": "tip",
        "scale": sizes["scale"],
        "width": sizes["width"],
        "blocks": 8,
        "rescale_flow": True,
        "flow_unit": 15.5,
        "residual": "none",
        "centre_input": False,
        "zero_init": False,
        "flow": True,
    }


def _tip_semantics(sizes: Options, degradation: Degradation) -> Mapping[str, Any]:
    return {
        **_COMMON,
        "flow_levels": "values are multiplied by 2, and by the scale at the end, when enlarged",
        "cube": "Y of t; then all drafts of t-1, then all of t+1, each in order (row, column)",
    }


TIP = Layout(
    name="sofvsr-tip",
    code="github.com/The-Learning-And-Vision-Atelier-LAVA/SOF-VSR, TIP",
    licence="see the authors' repository",
    data="the authors': 145 CDVL clips of 31 frames",
    degradations=lambda sizes: ("bi", "bd16") if sizes["scale"] == 4 else ("bi",),
    ignored=(),
    sizes=_tip_sizes,
    rules=_tip_rules,
    options=_tip_options,
    semantics=_tip_semantics,
)
