"""Temporal judges: does the video move as the ground truth moves, or does it flicker?

All values are per frame and belong to the pair (t - 1, t): frame 0 is NaN. Motion is OpenCV's
Farneback flow with the settings of TecoGAN's metrics.py (no weights needed, deterministic), always
estimated on the ground truth, except for tOF, which compares the flows of both.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from fvsr_bench.errors import DataError

TECOGAN_CROP = 16  # px: what its code cuts from every border of a 160 px frame
Frames = np.ndarray  # uint8 RGB [T, H, W, 3]


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How the ground truth of a clip moves: estimated once, used for every method."""

    forward: np.ndarray  # float32 [T-1, H, W, 2]: where a pixel of frame t - 1 is in frame t, px
    backward: np.ndarray  # float32 [T-1, H, W, 2]: where a pixel of frame t was in frame t - 1, px
    visible: np.ndarray  # bool [T-1, H, W]: pixels of frame t that frame t - 1 shows too


def ground_truth_motion(hr: Frames) -> Motion:
    """Estimate the motion of a clip and which pixels have a partner in the frame before.

    A pixel is occluded where forward and backward flow disagree,
    |f + b|^2 > 0.01 (|f|^2 + |b|^2) + 0.5 (Sundaram et al. 2010), or its partner lies outside.
    """
    _check(hr)
    grey = _grey(hr)
    forward, backward = _flows(grey[:-1], grey[1:]), _flows(grey[1:], grey[:-1])
    pairs = zip(forward, backward, strict=True)
    visible = np.stack([_consistent(f, b) for f, b in pairs]) if len(hr) > 1 else _none(hr)
    return Motion(forward=forward, backward=backward, visible=visible)


def temporal_grid(sr: Frames, hr: Frames, motion: Motion) -> dict[tuple[str, str], np.ndarray]:
    """Take every temporal measure in one pass: keys are (metric, protocol key), values [T].

    tof (`farneback-c0`; `farneback-c16` is TecoGAN's crop of 160 px frames), warping-error
    (`farneback-gt`), tpsnr (`rgb-c0`). The frames and errors of the single functions.
    """
    _check(sr, motion)
    norm = _flow_gap(sr, motion)
    crops = [crop for crop in (0, TECOGAN_CROP) if 2 * crop < min(norm.shape[1:])]
    found = {("tof", f"farneback-c{crop}"): _mean_inside(norm, crop) for crop in crops}
    found["warping-error", "farneback-gt"] = warping_error(sr, motion)
    found["tpsnr", "rgb-c0"] = temporal_psnr(sr, hr)
    return found


def tof(sr: Frames, motion: Motion, crop: int = 0) -> np.ndarray:
    """Return tOF, the mean distance in px between the flows of SR and GT (lower is better).

    Chu et al., TecoGAN, 2020, as their code computes it: mean over pixels of the Euclidean norm of
    the flow difference (the paper and the code's comment say L1). Their 160 px frames are cropped
    by 16 px after the flow is taken, and only frames 3..T-3 enter the mean.
    """
    _check(sr, motion)
    return _mean_inside(_flow_gap(sr, motion), crop)


def warping_error(sr: Frames, motion: Motion) -> np.ndarray:
    """Return 1000 x the mean squared change along GT's motion, RGB in [0, 1] (lower is better).

    Frame t - 1 of SR is warped onto frame t with GT's flow and compared over the pixels that both
    show. The same measure of GT itself is the floor: below it lies only smoothing. NaN where no
    pixel is shown by both.
    """
    _check(sr, motion)
    values = []
    for t, visible in enumerate(motion.visible, start=1):
        warped = _warp(sr[t - 1].astype(np.float32), motion.backward[t - 1])
        error = (sr[t] - warped)[visible] / 255
        values.append(
            1000 * float(np.square(error).mean(dtype=np.float64)) if len(error) else np.nan
        )
    return _pairs(np.array(values))


def temporal_psnr(sr: Frames, hr: Frames, cap: float = 100.0) -> np.ndarray:
    """Return the PSNR in dB of SR's frame differences against GT's (higher is better).

    10 log10(255^2 / mean(((sr_t - sr_{t-1}) - (hr_t - hr_{t-1}))^2)): blind to errors that stand
    still, it sees flicker and wrong motion only.
    """
    _check(sr)
    if sr.shape != hr.shape:
        raise DataError(f"sr is {list(sr.shape)} and hr is {list(hr.shape)}, expected the same")
    change = np.diff(sr.astype(np.float64), axis=0) - np.diff(hr.astype(np.float64), axis=0)
    mse = np.square(change).mean(axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        return _pairs(np.minimum(10 * np.log10(255.0**2 / mse), cap))


def _flow_gap(sr: Frames, motion: Motion) -> np.ndarray:
    """Return the length of the difference between SR's and GT's flow, px, [T-1, H, W]."""
    grey = _grey(sr)
    return np.linalg.norm(_flows(grey[:-1], grey[1:]) - motion.forward, axis=-1)


def _mean_inside(values: np.ndarray, crop: int) -> np.ndarray:
    height, width = values.shape[1:]
    inside = values[:, crop : height - crop, crop : width - crop]
    return _pairs(inside.mean(axis=(1, 2), dtype=np.float64))


def _flows(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Estimate flow from each grey frame of `first` to its partner, float32 [n, H, W, 2]."""
    flows = [
        # pyramid 0.5, 3 levels, window 15, 3 iterations, neighbourhood 5, sigma 1.2, no flags
        cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
        for a, b in zip(first, second, strict=True)
    ]
    return np.stack(flows) if flows else np.zeros((0, *first.shape[1:], 2), np.float32)


def _consistent(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Mark the pixels of the later frame whose flow leads back to where it came from."""
    height, width = backward.shape[:2]
    x, y = _targets(backward)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    there = _warp(forward, backward)  # the forward flow of the partner
    mismatch = np.square(there + backward).sum(axis=-1)
    size = np.square(there).sum(axis=-1) + np.square(backward).sum(axis=-1)
    return inside & (mismatch <= 0.01 * size + 0.5)


def _warp(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Sample `image` (float32 [H, W, C]) at every pixel's position plus its flow, bilinearly."""
    x, y = _targets(flow)
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _targets(flow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = flow.shape[:2]
    x = np.arange(width, dtype=np.float32) + flow[..., 0]
    y = np.arange(height, dtype=np.float32)[:, None] + flow[..., 1]
    return x, y


def _grey(frames: Frames) -> np.ndarray:
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def _pairs(values: np.ndarray) -> np.ndarray:
    """Put NaN at frame 0, which has no frame before it."""
    return np.concatenate([[np.nan], values])


def _none(hr: Frames) -> np.ndarray:
    return np.zeros((0, *hr.shape[1:3]), dtype=bool)


def _check(frames: Frames, motion: Motion | None = None) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise DataError(
            f"temporal measures take uint8 RGB frames [T, H, W, 3], not {frames.dtype} "
            f"{list(frames.shape)}"
        )
    if motion is None:
        return
    expected = [len(motion.forward) + 1, *motion.forward.shape[1:3], 3]
    if list(frames.shape) != expected:
        raise DataError(f"sr is {list(frames.shape)}, the ground truth was {expected}")
