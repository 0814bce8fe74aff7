"""TecoGAN's generator: FRVSR with 16 blocks and a bicubic skip, to be trained adversarially.

Paper: Chu, Xie, Mayer, Leal-Taixé, Thuerey, "Learning Temporal Coherence via Self-Supervision for
GAN-based Video Generation", ACM ToG 2020. Authors' code: github.com/thunil/TecoGAN (Apache-2.0).
Licence of this reimplementation: MIT.

Differs from the paper: flow range, zero-initialised heads and centred inputs as in `frvsr`; the
default recipe trains the generator alone, the recipe `tecogan` adds discriminator, layer features
and ping-pong, but no VGG loss. Its authors' conventions come back with their weights, through the
card.
"""

from fvsr_bench.nn import FrameRecurrent
from fvsr_bench.spec import ModelSpec, Published, TrainRecipe

_TABLE2 = "Table 2, column 'TecoGan'"
# LR frames decimated by [::4]: what is interpolated starts at the corner, too
_CORNER = {"skip": "corner-bicubic", "upsampling": "corner-bilinear"}

SPEC = ModelSpec(
    build=FrameRecurrent,
    title="TecoGAN",
    reference="Chu et al., Learning Temporal Coherence via Self-Supervision, ACM ToG 2020",
    licence="MIT (reimplementation; authors' code: Apache-2.0)",
    lookahead=0,
    options={"blocks": 16},
    tags={"bd15": _CORNER, "bd16": _CORNER},
    recipe=TrainRecipe(losses={"mse": 1.0, "flow": 1.0}),
    ablations={"hr-feedback": {"feedback": False}},
    layouts=("tecogan-torch", "tecogan-tf"),
    published={
        "psnr": Published(value=24.85, where=_TABLE2),
        "ssim": Published(value=0.811, where=_TABLE2),
        "face": Published(value=0.252, where=_TABLE2),
    },
)
