"""FRVSR: frame-recurrent video super-resolution; the previous SR frame, warped, is the memory.

Paper: Sajjadi, Vemulapalli, Brown, "Frame-Recurrent Video Super-Resolution", CVPR 2018. Authors'
code: not published (poster and results: github.com/msmsajjadi/FRVSR). Licence: MIT.

Differs from the paper:
- default is 10 blocks of 64 with a skip (the budget of TecoGAN's authors' "FRVSR"); the paper's
  main model is 10-128 without one: `width=128, skip="none"`, tag `10-128`;
- flow = tanh x 24 px (the paper states no range), zero-initialised heads, inputs centred.
"""

from fvsr_bench.nn import FrameRecurrent
from fvsr_bench.spec import ModelSpec, Published, TrainRecipe

_TABLE2 = "Table 2, column 'FRVSR'"
# LR frames decimated by [::4]: what is interpolated starts at the corner, too
_CORNER = {"skip": "corner-bicubic", "upsampling": "corner-bilinear"}

SPEC = ModelSpec(
    build=FrameRecurrent,
    title="FRVSR",
    reference="Sajjadi et al., Frame-Recurrent Video Super-Resolution, CVPR 2018",
    licence="MIT (reimplementation; authors' code is not published)",
    lookahead=0,
    options={"blocks": 10},
    tags={
        "10-128": {"width": 128, "skip": "none"},
        "bd15": _CORNER,
        "bd16": _CORNER,
    },
    recipe=TrainRecipe(losses={"mse": 1.0, "flow": 1.0}),
    ablations={"hr-feedback": {"feedback": False}},
    layouts=("tecogan-torch", "tecogan-tf"),
    published={
        "psnr": Published(value=25.25, where=_TABLE2),
        "ssim": Published(value=0.823, where=_TABLE2),
        "face": Published(value=0.276, where=_TABLE2),
    },
)
