"""Layout of the JuheonYi port of VESPCN: a motion compensator and a reconstruction net.

Its files are `model_best_mc.pt` and `model_best_espcn.pt`, or one file that has both.
"""

import re
from collections.abc import Mapping
from math import isqrt
from typing import Any

from fvsr_bench.convert.layout import Layout, Options, Rule, Shapes
from fvsr_bench.spec import Degradation

DEEP = [64, 64, 64, 32, 32, 32, 20]
_CONV = re.compile(r"(?:espcn\.)?net\.(\d+)\.weight")


def _prefixes(shapes: Shapes) -> tuple[str, str]:
    """Return what stands before the two networks' names: something if they were saved as one."""
    whole = any(name.startswith(("motionCompensator.", "espcn.")) for name in shapes)
    return ("motionCompensator.", "espcn.") if whole else ("", "")


def _sizes(shapes: Shapes) -> Options:
    """Read widths, first kernel and scale from the convolutions before the last, a 1x1."""
    numbered = {int(m[1]): shapes[name] for name in shapes if (m := _CONV.fullmatch(name))}
    convs = [shape for _, shape in sorted(numbered.items()) if len(shape) == 4]
    prefix = {"prefixes": _prefixes(shapes)}
    if len(convs) < 3:
        return {"scale": 4, "widths": DEEP, "first_kernel": 3, **prefix}
    return {
        "scale": isqrt(convs[-2][0]),
        "widths": [shape[0] for shape in convs[:-2]],
        "first_kernel": convs[0][2],
        **prefix,
    }


def _rules(sizes: Options) -> list[Rule]:
    mc, sr = sizes["prefixes"]
    layers = len(sizes["widths"]) + 1
    names = [
        (f"{mc}{theirs}.{2 * i}", f"motion.{ours}.{2 * i}")
        for theirs, ours in (("C_flow", "coarse"), ("F_flow", "fine"))
        for i in range(5)
    ]
    names += [(f"{sr}net.{2 * i}", f"body.{2 * i}") for i in range(layers)]
    names.append((f"{sr}net.{2 * layers + 1}", "last"))
    return [
        Rule(theirs=f"{theirs}.{k}", ours=f"{ours}.{k}")
        for theirs, ours in names
        for k in ("weight", "bias")
    ]


def _options(sizes: Options, degradation: Degradation) -> Options:
    return {key: sizes[key] for key in ("scale", "widths", "first_kernel")}


def _semantics(sizes: Options, degradation: Degradation) -> Mapping[str, Any]:
    return {
        "colour": "Y (studio BT.601), CbCr bicubic",
        "range": "(Y - 109) / 255 inside the network",
        "flow": "tanh / width and / height in normalised coordinates: at most half a px a stage",
        "flow_axes": "(x, y), subtracted from the pixel's position",
        "align_corners": True,
        "padding": "border",
        "skip": "none",
        "flow_upsampling": "pixel shuffle x4 (coarse) and x2 (fine)",
        "transposed_convolution": "none",
        "output": "the port clamps Y to [16, 235] when it saves; not clamped here",
        "warm_up_frames": 0,
        "clip_ends": "the port's test leaves the first and last frame out; replicated here",
        "sizes": "sizes that 4 does not divide are replicated for the flow; the port crops them",
    }


JUHEONYI = Layout(
    name="vespcn-jy",
    code="github.com/JuheonYi/VESPCN-PyTorch",
    licence="see the port's repository",
    data="the port's: CDVL clips",
    degradations=lambda sizes: ("bi",),
    ignored=(),
    sizes=_sizes,
    rules=_rules,
    options=_options,
    semantics=_semantics,
)
