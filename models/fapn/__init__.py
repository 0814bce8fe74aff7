"""FAPN: Face Alignment Propagation Network for face video super-resolution.

Paper: Bian, Li, Yu, Liu, Song, Tang, "FAPN: Face Alignment Propagation Network for Face Video
Super-Resolution". Authors' code: none known. Licence of this reimplementation: MIT.

Differs from the paper (the first three are options of `FAPN`; docs/reproduction.md has the
reasons):
- `residual="bicubic"`: the text adds the output to nothing; "none" is literal.
- `zero_init=True`: the output head and the flow heads start at zero; without it the decoder dies.
- `centre_input=True`: inputs are moved by -0.5.
- flows are in pixels and multiplied when upsampled, as in SOF-VSR's second version.
- a flow loss (SOF-VSR's, weight 0.01) stands beside eq. 12, which gives OFE no gradient of its own.
Open in the paper: width 64, hidden 64, 4 RCABs (reduction 16), hourglass depth 3, one OFE for both
directions, flow on luma, frames beyond the clip's ends replicated.
"""

from fvsr_models.fapn.propagation import FAPN

from fvsr_bench.spec import ModelSpec, Published, TrainRecipe

_TABLE2 = "Table 2, column 'Ours'"
_PRINTED = {
    "Table 3": {  # BasicNet v1, BasicNet v2, FAPN
        "no-fsrc-no-nic": {"psnr": 29.58, "ssim": 0.918, "face": 0.197},
        "no-nic": {"psnr": 29.37, "ssim": 0.823, "face": 0.206},
        "full": {"psnr": 30.26, "ssim": 0.922, "face": 0.192},
    },
    "Table 4": {  # MSE, MSE+GAN, MSE+VGG, MSE+FACE
        "full": {"psnr": 30.88, "ssim": 0.912, "face": 0.215},
        "loss-gan": {"psnr": 30.92, "ssim": 0.913, "face": 0.206},
        "loss-vgg": {"psnr": 30.50, "ssim": 0.902, "face": 0.214},
        "loss-face": {"psnr": 31.00, "ssim": 0.913, "face": 0.203},
    },
}

SPEC = ModelSpec(
    build=FAPN,
    title="FAPN",
    reference="Bian et al., FAPN: Face Alignment Propagation Network for Face Video SR",
    licence="MIT (reimplementation; no authors' code is known)",
    lookahead=1,
    recipe=TrainRecipe(losses={"mse": 1.0, "flow": 0.01}),
    ablations={
        "nic": {"nic": False},
        "fsrc": {"fsrc": False},
        "future-frame": {"future_frame": False},
        "hr-feedback": {"hr_feedback": False},
        "hidden-state": {"hidden_state": False},
    },
    published={
        "psnr": Published(value=31.06, where=_TABLE2),
        "ssim": Published(value=0.924, where=_TABLE2),
        "face": Published(value=0.197, where=_TABLE2),
    },
    printed=_PRINTED,
)
