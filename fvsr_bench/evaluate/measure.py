"""Apply one model to one clip and take every stored measure of the result."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from fvsr_bench import color, registry
from fvsr_bench.errors import ModelError
from fvsr_bench.evaluate.judges import Judge
from fvsr_bench.infer import Precision, super_resolve
from fvsr_bench.metrics.fidelity import fidelity_grid
from fvsr_bench.metrics.identity import FaceDistance, distances, identity_jitter
from fvsr_bench.metrics.shift import compensated, find_shift
from fvsr_bench.spec import FAPN_PROTOCOL, Clip

Measurements = dict[tuple[str, str], np.ndarray]
SHIFT_FRAMES = 4  # of a clip, evenly spaced: the estimate moves by less than 0.01 px with more
SHIFT_PROTOCOL = dataclasses.replace(FAPN_PROTOCOL, name="shift", crop=8)
SMALLEST = 32  # px: smaller frames have no shift


class Truth:
    """The ground truth of one clip, prepared once for all methods (its face encodings included)."""

    def __init__(
        self,
        clip: Clip,
        face: FaceDistance,
        device: str,
        cache: Path | None,
        judges: Sequence[Judge] = (),
    ) -> None:
        self.clip, self.face = clip, face
        self.judges = [(judge, judge.prepare(clip)) for judge in judges]
        self.hr = torch.from_numpy(clip.hr).movedim(-1, 1).contiguous().to(device)
        self.faces = face.encode_gt(clip.hr, clip.landmarks, cache=cache)

    def measure(self, sr: Tensor) -> Measurements:
        """Measure SR frames, uint8 [T, 3, H, W], under every stored convention.

        Beside psnr, ssim and face there is face-found: 1 where the detector itself found the face
        of the ground truth, 0 where its box comes from landmarks or a neighbouring frame; and
        identity-jitter: how far the encoding moves from the frame before.
        """
        found = {key: value.numpy() for key, value in fidelity_grid(sr, self.hr).items()}
        frames = np.ascontiguousarray(sr.movedim(1, -1).cpu().numpy())
        encodings = self.face.encode(frames, self.faces)
        found["face", self.face.key] = distances(encodings, self.faces.encodings)
        found["identity-jitter", self.face.key] = identity_jitter(encodings)
        found["face-found", self.face.key] = self.faces.found.astype(np.float64)
        for judge, prepared in self.judges:
            found |= judge.measure(frames, self.clip, prepared)
        return found | measure_shift(sr, self.hr, found)


def measure_shift(sr: Tensor, hr: Tensor, plain: Measurements) -> Measurements:
    """Measure the displacement of a clip, and what PSNR and SSIM gain without it; once per clip.

    shift-x and shift-y in HR px; shift-psnr-gain (dB) and shift-ssim-gain: compensated minus plain
    on 4 frames, 8 px of border left out. `plain` holds the clip's measures under that convention.
    """
    if min(sr.shape[-2:]) < SMALLEST:
        return {}
    count = min(len(sr), SHIFT_FRAMES)
    picked = [int((k + 0.5) * len(sr) / count) for k in range(count)]
    x, y = sr[picked], hr[picked]
    shift = find_shift(x, y)
    psnr, ssim = (v.mean().item() for v in compensated(x, y, shift, SHIFT_PROTOCOL))
    keys = SHIFT_PROTOCOL.measure_key(), SHIFT_PROTOCOL.ssim_key()
    psnr -= float(plain["psnr", keys[0]][picked].mean())
    ssim -= float(plain["ssim", keys[1]][picked].mean())
    return {
        ("shift-x", "luma"): np.asarray(shift.dx),
        ("shift-y", "luma"): np.asarray(shift.dy),
        ("shift-psnr-gain", keys[0]): np.asarray(psnr),
        ("shift-ssim-gain", keys[1]): np.asarray(ssim),
    }


def load_network(method: str, weights: str | Path | None, device: str) -> nn.Module:
    """Load a network as every evaluation runs it. Raises what `registry.load_model` does."""
    model = registry.load_model(method, weights, device=device)
    return model.eval().to(memory_format=torch.channels_last)  # a sixth faster on a CPU


def run_clip(model: nn.Module, clip: Clip, *, device: str, precision: Precision) -> Tensor:
    """Super-resolve a clip and round it to 8 bit, once: uint8 [T, 3, H, W] on `device`.

    Raises ModelError when the model raises or returns anything but a finite clip of the HR size.
    """
    try:
        sr = super_resolve(model, clip.lr, device=device, precision=precision)
    except ModelError:
        raise
    except Exception as error:  # a method is third-party code: anything can come out of it
        text = " ".join(str(error).split())[:200]
        what = f"the model raised {type(error).__name__}"
        raise ModelError(f"{what}: {text or 'no message'}") from error
    if sr.shape[-2:] != clip.hr.shape[1:3]:
        got, expected = list(sr.shape[-2:]), list(clip.hr.shape[1:3])
        raise ModelError(f"the model made frames of {got} px; the ground truth has {expected}")
    return color.to_uint8(sr)
