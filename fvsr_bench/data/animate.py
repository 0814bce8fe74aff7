"""Make a short video from one photograph of a face: warps, light and noise, all in float64 numpy.

The chain of one output pixel is: camera (crop, zoom, roll, shake) -> the head as an ellipsoid with
a nose that turns, nods, tilts and shifts (solved backwards by fixed-point iteration) -> the eyelids
and lips (exact, column by column) -> the photograph, sampled with a Lanczos kernel at 1/32 px.
Rounding the coordinates to that grid keeps the result independent of the machine's last float bit.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fvsr_bench.data.motion import Array, Motion
from fvsr_bench.data.portraits import Eye, Mouth, Point, Portrait

Frames = NDArray[np.uint8]

HR = 160  # px
STEPS = 4  # fixed-point iterations; the error shrinks at least threefold in each
DEPTH = 0.85  # of the face's front above its turning axis, in half-widths
GAP = np.array([0.55, 0.8, 0.8])  # of red, green and blue that is lost inside an opened mouth
NOSE = 0.22  # of the nose tip above that front, in half-widths


def crop_sides(portrait: Portrait, zoom: Array) -> Array:
    """Return the side of the crop in photograph px per frame: at least HR px (never enlarge)."""
    return np.maximum(portrait.side / zoom, float(HR))


def crop_boxes(portrait: Portrait, motion: Motion) -> Array:
    """Return [T, 4] crop boxes x0, y0, x1, y1 in photograph px (before the camera's roll)."""
    side = crop_sides(portrait, motion.zoom)[:, None]
    middle = np.asarray(portrait.centre) + 0.5 + motion.camera * side / HR
    return np.concatenate([middle - side / 2, middle + side / 2], axis=1)


def _rotation(angle: Array) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _camera_to_photo(portrait: Portrait, motion: Motion, points: Array) -> Array:
    """Map HR points [T, N, 2] to the (moved) photograph."""
    box = crop_boxes(portrait, motion)
    middle, step = (box[:, :2] + box[:, 2:]) / 2 - 0.5, (box[:, 2] - box[:, 0]) / HR
    x, y = points[..., 0] - (HR - 1) / 2, points[..., 1] - (HR - 1) / 2
    turn = _rotation(motion.camera_roll) * step[:, None, None]
    return np.stack(
        [
            turn[:, 0, 0, None] * x + turn[:, 0, 1, None] * y + middle[:, 0, None],
            turn[:, 1, 0, None] * x + turn[:, 1, 1, None] * y + middle[:, 1, None],
        ],
        axis=-1,
    )


def _photo_to_camera(portrait: Portrait, motion: Motion, points: Array) -> Array:
    """Inverse of `_camera_to_photo`."""
    box = crop_boxes(portrait, motion)
    middle, step = (box[:, :2] + box[:, 2:]) / 2 - 0.5, (box[:, 2] - box[:, 0]) / HR
    x, y = points[..., 0] - middle[:, 0, None], points[..., 1] - middle[:, 1, None]
    turn = _rotation(-motion.camera_roll) / step[:, None, None]
    return np.stack(
        [
            turn[:, 0, 0, None] * x + turn[:, 0, 1, None] * y + (HR - 1) / 2,
            turn[:, 1, 0, None] * x + turn[:, 1, 1, None] * y + (HR - 1) / 2,
        ],
        axis=-1,
    )


def head_displacement(portrait: Portrait, motion: Motion, points: Array) -> Array:
    """Return where the head's motion carries photograph points [T, N, 2], minus the points.

    Depth is a smooth bell over the head with a second one for the nose: nearer parts move further
    (parallax), and everything fades to rest in the background, so nothing can tear.
    """
    size = portrait.half_width
    left, right, nose, *corners = portrait.landmarks
    across = np.subtract(right, left) / np.hypot(right[0] - left[0], right[1] - left[1])
    down = np.array([-across[1], across[0]])
    x, y = (points[..., i] - portrait.head[i] for i in (0, 1))
    u = (x * across[0] + y * across[1]) / size
    v = (x * down[0] + y * down[1]) / size
    radius = u * u + (v / 1.35) ** 2
    solid = np.exp(-0.30 * radius * radius)  # 1 on the head, 0 in the background
    front = DEPTH * np.exp(-0.9 * radius)
    depth = front + NOSE * _bell(points, nose, 0.17 * size)

    yaw, pitch, roll = motion.yaw[:, None], motion.pitch[:, None], motion.roll[:, None]
    neck = v - 1.3  # tilting happens about the neck, below the chin
    du = np.sin(yaw) * depth - (1 - np.cos(yaw)) * u * solid
    dv = np.sin(pitch) * depth - (1 - np.cos(pitch)) * v * solid
    du += solid * ((np.cos(roll) - 1) * u - np.sin(roll) * neck + motion.shift[:, :1])
    dv += solid * (np.sin(roll) * u + (np.cos(roll) - 1) * neck + motion.shift[:, 1:])
    for corner, side in zip(corners, (-1.0, 1.0), strict=True):
        pull = motion.smile[:, None] * _bell(points, corner, 0.16 * size)
        du += 0.030 * side * pull
        dv -= 0.022 * pull
    out = np.empty_like(points)
    for i in (0, 1):
        out[..., i] = size * (du * across[i] + dv * down[i])
    return out


def _bell(points: Array, middle: Point, sigma: float) -> Array:
    x, y = points[..., 0] - middle[0], points[..., 1] - middle[1]
    return np.exp((x * x + y * y) * (-0.5 / sigma**2))


def _local(at: tuple[float, float], angle: float, points: Array) -> tuple[Array, Array]:
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    x, y = points[..., 0] - at[0], points[..., 1] - at[1]
    return cos * x + sin * y, cos * y - sin * x


def _move_down(points: Array, mask: NDArray[np.bool_], angle: float, by: Array) -> None:
    points[..., 0][mask] -= by * np.sin(np.radians(angle))
    points[..., 1][mask] += by * np.cos(np.radians(angle))


def _close_eye(eye: Eye, blink: Array, points: Array, pixel: float) -> None:
    """Replace photograph points [T, N, 2] by where to look when the eye has closed, in place.

    In each column the skin above and below is stretched to the place where the lids meet, and what
    lies between (lashes, iris) is squeezed into the line of the lashes, which stays 1.7 HR px wide
    (`pixel` is the size of one in photograph px): a thinner one would alias into dots.
    """
    u, v = _local(eye.at, eye.angle, points)
    arch = 1 - (u / eye.half) ** 2
    most = 1 - 1.7 * pixel / (eye.up + eye.down)
    rest = 2.2 * eye.down + eye.up  # below it nothing moves
    closing = np.broadcast_to(blink[:, None], u.shape)
    mask = (arch > 0) & (v > -eye.brow) & (v < rest) & (closing > 0)
    arch, v, closing = arch[mask], v[mask], most * closing[mask]
    old_top, old_bottom, meet = -eye.up * arch, eye.down * arch, eye.meet * arch
    top, bottom = (old + closing * (meet - old) for old in (old_top, old_bottom))
    above = v - (top - old_top) * (v + eye.brow) / (top + eye.brow)
    squeeze = (old_bottom - old_top) / (bottom - top)
    gentle = np.minimum(squeeze, 2.5)  # stronger squeezing would alias: show mostly the lashes
    anchor = old_top + (old_bottom - old_top) * (0.2 + 0.3 * gentle / squeeze)
    between = anchor + (v - (top + bottom) / 2) * gentle
    below = v - (bottom - old_bottom) * (rest - v) / (rest - bottom)
    new = np.where(v < top, above, np.where(v < bottom, between, below))
    _move_down(points, mask, eye.angle, new - v)


def _open_mouth(mouth: Mouth, opening: Array, points: Array) -> Array:
    """Replace points by where to look when the lower lip has come down; return the dark gap.

    The lip line (1 px to either side) is stretched over the gap, the lip and the chin below move
    down and fade to rest at `mouth.chin`. The gap is 0..1 per point.
    """
    u, v = _local(mouth.at, mouth.angle, points)
    line = 1.0
    below_line = v - mouth.bow * np.maximum(1 - (u / mouth.half) ** 2, 0)
    wide = mouth.half * (1 + 0.5 * (below_line / mouth.chin).clip(0, 1))
    arch = np.maximum(1 - (u / wide) ** 2, 0) ** 1.5
    gap = mouth.gape * opening[:, None] * arch
    dark = np.zeros_like(u)
    mask = (gap > 0) & (below_line > -line) & (below_line < mouth.chin)
    gap, depth = gap[mask], below_line[mask]
    inside = (depth + line) / (2 * line + gap)  # 0 at the upper lip .. 1 at the lower lip
    fade = ((depth - line - gap) / (mouth.chin - line - gap)).clip(0, 1)
    chin = depth - gap * (1 - fade * fade * (3 - 2 * fade))
    new = np.where(inside < 1, inside * 2 * line - line, chin)
    dark[mask] = np.where(inside < 1, np.sin(np.pi * inside.clip(0, 1)), 0) * (gap / 2).clip(0, 1)
    _move_down(points, mask, mouth.angle, new - depth)
    return dark


def backward_map(portrait: Portrait, motion: Motion, points: Array) -> tuple[Array, Array]:
    """Find which photograph points are seen at HR points [T, N, 2], and the mouth's dark gap."""
    seen = _camera_to_photo(portrait, motion, points)
    source = seen - head_displacement(portrait, motion, seen)
    for _ in range(STEPS - 1):
        source = seen - head_displacement(portrait, motion, source)
    dark = _open_mouth(portrait.mouth, motion.mouth, source)
    for eye in portrait.eyes:
        _close_eye(eye, motion.blink, source, portrait.side / HR)
    return source, dark


def landmarks(portrait: Portrait, motion: Motion) -> Array:
    """Return the five landmarks per frame, [T, 5, 2] in HR px, moved exactly as the pixels are."""
    points = np.broadcast_to(
        np.asarray(portrait.landmarks, dtype=np.float64), (len(motion.yaw), 5, 2)
    )
    moved = points + head_displacement(portrait, motion, points)
    return _photo_to_camera(portrait, motion, moved)


def _plate(photo: Frames, portrait: Portrait, motion: Motion) -> tuple[Frames, float]:
    """Shrink the photograph (antialiased) so that the tightest crop of the clip is sampled 1:1."""
    scale = min(1.0, HR / float(crop_sides(portrait, motion.zoom).min()))
    if scale == 1.0:
        return photo, 1.0
    height, width = (round(n * scale) for n in photo.shape[:2])
    small = Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(small), scale


def _sample(plate: Frames, source: Array) -> Frames:
    """Sample an image at points [T, N, 2] of square frames, rounded to 1/32 px."""
    grid = np.round(source * 32).astype(np.int32).reshape(len(source), HR, HR, 2)
    whole, part = (grid >> 5).astype(np.int16), grid & 31
    table = (part[..., 1] * 32 + part[..., 0]).astype(np.uint16)
    out = [
        cv2.remap(plate, xy, n, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)
        for xy, n in zip(whole, table, strict=True)
    ]
    return np.stack(out).astype(np.uint8, copy=False)


def _expose(frames: Frames, dark: Array, motion: Motion, rng: np.random.Generator) -> Frames:
    """Apply the mouth's shadow, the light and the sensor noise; round to 8 bit."""
    ramp = np.linspace(-1, 1, HR)
    gain, across, down = (part[:, None, None] for part in motion.light.T)
    light = gain + across * ramp[None, None, :] + down * ramp[None, :, None]
    warm = np.stack([1 + motion.warmth, np.ones_like(motion.warmth), 1 - motion.warmth], -1)
    value = frames * light[..., None] * warm[:, None, None, :]
    value *= 1 - dark.reshape(*light.shape, 1) * GAP
    noise = rng.standard_normal(value.shape) * np.sqrt(0.6 + 0.006 * value)
    return np.round(value + noise).clip(0, 255).astype(np.uint8)


def animate(
    photo: Frames, portrait: Portrait, motion: Motion, rng: np.random.Generator
) -> tuple[Frames, Array]:
    """Render a clip: uint8 RGB [T, 160, 160, 3] and its landmarks [T, 5, 2] in HR px."""
    length = len(motion.yaw)
    y, x = np.mgrid[0:HR, 0:HR].astype(np.float64)
    points = np.broadcast_to(np.stack([x, y], -1).reshape(-1, 2), (length, HR * HR, 2))
    source, dark = backward_map(portrait, motion, points)
    plate, scale = _plate(photo, portrait, motion)
    frames = _sample(plate, (source + 0.5) * scale - 0.5)
    return _expose(frames, dark, motion, rng), landmarks(portrait, motion)
