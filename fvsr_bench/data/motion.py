"""How people move in the demo set: six styles from slow to fast, drawn from a seeded generator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FRAMES = 32  # per clip


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What moves, per frame: every field is float64 [T] unless it says otherwise."""

    yaw: Array  # radians, the head about its vertical axis
    pitch: Array  # radians, about the axis through the ears
    roll: Array  # radians, about the line of sight
    shift: Array  # [T, 2] of the head against its background, in half-widths
    smile: Array  # -1..1, corners of the mouth
    blink: Array  # 0 open .. 1 closed
    mouth: Array  # 0 closed .. 1 open
    camera: Array  # [T, 2] shake of the camera, in HR px
    zoom: Array  # 1 = the crop at rest; the crop never gets narrower than 160 px of the photograph
    camera_roll: Array  # radians
    light: Array  # [T, 3] gain of the frame, its slope from left to right and from top to bottom
    warmth: Array  # relative gain of red against blue


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a person moves in a clip; amplitudes are the largest ones, reached by some clips."""

    name: str
    tempo: float  # cycles of the main motion in 32 frames
    yaw: float  # degrees
    pitch: float  # degrees
    roll: float  # degrees
    shift: float  # of the head, in half-widths
    zoom: float  # relative
    shake: float  # of the camera, HR px
    talk: float  # 0..1
    blinks: int


STYLES: tuple[Style, ...] = (  # from slow to fast
    Style(
        name="still",
        tempo=0.5,
        yaw=3,
        pitch=1.5,
        roll=1,
        shift=0.02,
        zoom=0.01,
        shake=0.3,
        talk=0.2,
        blinks=1,
    ),
    Style(
        name="talk",
        tempo=0.8,
        yaw=5,
        pitch=4,
        roll=2,
        shift=0.04,
        zoom=0.02,
        shake=0.4,
        talk=1.0,
        blinks=1,
    ),
    Style(
        name="nod",
        tempo=1.3,
        yaw=3,
        pitch=9,
        roll=2,
        shift=0.04,
        zoom=0.02,
        shake=0.5,
        talk=0.4,
        blinks=2,
    ),
    Style(
        name="turn",
        tempo=0.9,
        yaw=14,
        pitch=3,
        roll=3,
        shift=0.06,
        zoom=0.02,
        shake=0.5,
        talk=0.3,
        blinks=1,
    ),
    Style(
        name="walk",
        tempo=1.6,
        yaw=5,
        pitch=4,
        roll=3,
        shift=0.06,
        zoom=0.08,
        shake=1.6,
        talk=0.6,
        blinks=1,
    ),
    Style(
        name="fast",
        tempo=2.4,
        yaw=12,
        pitch=6,
        roll=4,
        shift=0.09,
        zoom=0.04,
        shake=1.2,
        talk=0.8,
        blinks=2,
    ),
)


def _wave(rng: np.random.Generator, cycles: float, terms: int = 3) -> Array:
    """Return a smooth random curve over the clip with largest value 1: a few drifting sines."""
    t = np.arange(FRAMES) / FRAMES
    rates = cycles * rng.uniform(0.6, 1.4, terms)
    phases, sizes = rng.uniform(0, 2 * np.pi, terms), rng.uniform(0.4, 1.0, terms)
    curve = (np.sin(2 * np.pi * rates * t[:, None] + phases) * sizes).sum(1)
    return np.asarray(curve / np.abs(curve).max())


def _blinks(rng: np.random.Generator, count: int) -> Array:
    """Return lid closure per frame: each blink falls in 3 frames, rests 1 to 2 and rises in 4."""
    t, closure = np.arange(FRAMES), np.zeros(FRAMES)
    for number in range(count):
        span = FRAMES / count
        start = number * span + rng.uniform(0.1, 0.5) * span
        rest = rng.uniform(1, 2)
        falling, rising = (t - start) / 3, (start + 3 + rest + 4 - t) / 4
        part = np.minimum(falling, rising).clip(0, 1)
        closure = np.maximum(closure, part * part * (3 - 2 * part))
    return closure


def make_motion(style: Style, rng: np.random.Generator) -> Motion:
    """Draw one clip's motion; strength varies between 70 and 100 % of the style's."""
    tempo, strength = style.tempo, rng.uniform(0.7, 1.0)
    talk = np.maximum(_wave(rng, 3 * max(tempo, 0.8)), 0) * style.talk

    def shake() -> Array:
        return _wave(rng, 1.2 * tempo) + 0.35 * _wave(rng, 6.0, terms=6)

    return Motion(
        yaw=np.radians(style.yaw * strength) * _wave(rng, tempo),
        pitch=np.radians(style.pitch * strength) * _wave(rng, tempo),
        roll=np.radians(style.roll * strength) * _wave(rng, tempo),
        shift=style.shift * strength * np.stack([_wave(rng, tempo), _wave(rng, tempo)], -1),
        smile=0.8 * _wave(rng, 0.8),
        blink=_blinks(rng, style.blinks),
        mouth=talk,
        camera=style.shake * strength * np.stack([shake(), shake()], -1),
        zoom=1 + style.zoom * strength * _wave(rng, 0.7 * tempo),
        camera_roll=np.radians(0.5 * style.shake * strength) * shake(),
        light=np.stack(
            [
                1 + 0.05 * _wave(rng, 0.6) + 0.006 * _wave(rng, 8.0),
                0.06 * _wave(rng, 0.5),
                0.04 * _wave(rng, 0.5),
            ],
            axis=-1,
        ),
        warmth=0.015 * _wave(rng, 0.5),
    )
