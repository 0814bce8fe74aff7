"""Reads one clip's frames as PNG files or as a video, and accepts nothing that is not exact."""

import io
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from fvsr_bench.data.video import SUFFIXES
from fvsr_bench.errors import DataError, did_you_mean
from fvsr_bench.score.codec import read_frames_of_video

LOSSY_IMAGES = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WebP"}
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "a palette", 4: "grey with alpha", 6: "RGB with alpha"}
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(kw_only=True)
class Found:
    """The folder or video file of one clip; `lossy` and `codec` are known once it was read."""

    clip: str
    path: Path
    lossy: bool = False
    codec: str = "PNG"


def find_clips(folder: Path, clips: Sequence[str]) -> dict[str, Found]:
    """Find FOLDER/<clip>/ or FOLDER/<clip>.<video suffix> for every clip.

    Raises DataError if one has neither or both.
    """
    found, missing = {}, []
    for clip in clips:
        there = [path for path in _candidates(folder, clip) if path.exists()]
        if len(there) > 1:
            names = " and ".join(path.name for path in there)
            raise DataError(f"{folder} has {names} for clip {clip}; expected one of them")
        if there:
            found[clip] = Found(clip=clip, path=there[0])
        else:
            missing.append(clip)
    if missing:
        present = sorted(p.stem for p in folder.iterdir() if not p.name.startswith("."))
        hint = did_you_mean(missing[0], present) if present else " The folder is empty."
        raise DataError(
            f"{folder} has no frames of {len(missing)} of {len(clips)} clips, first "
            f"'{missing[0]}': expected {missing[0]}/0001.png … or {missing[0]}.mkv.{hint}"
        )
    return found


def _candidates(folder: Path, clip: str) -> list[Path]:
    return [folder / clip, *(folder / f"{clip}{suffix}" for suffix in sorted(SUFFIXES))]


def read_clip(
    found: Found, shape: tuple[int, ...], first: int, allow_lossy: bool
) -> UInt8[np.ndarray, "t h w 3"]:
    """Read a clip's frames; `shape` [T, H, W, 3] is what they must have.

    `first` is the number of the first frame in the names of image files. Raises DataError that
    says what does not fit, and where.
    """
    if found.path.is_dir():
        return _read_images(found, shape, first, allow_lossy)
    frames, codec = read_frames_of_video(found.path, shape, allow_lossy)
    found.lossy, found.codec = codec.lossy, codec.name
    return frames


def _read_images(
    found: Found, shape: tuple[int, ...], first: int, allow_lossy: bool
) -> UInt8[np.ndarray, "t h w 3"]:
    paths = _numbered(found.path, shape[0], first)
    frames = np.empty(shape, np.uint8)
    for t, path in enumerate(paths):
        if path.suffix.lower() == ".png":
            frames[t] = _read_png(path, shape)
            continue
        found.lossy, found.codec = True, LOSSY_IMAGES[path.suffix.lower()]
        if not allow_lossy:
            raise DataError(
                f"{path} is {found.codec}, which is lossy: it changes every pixel and with it PSNR "
                "and SSIM; save PNG, or score it nevertheless with --allow-lossy (marked in tables)"
            )
        frames[t] = _decode(path, path.read_bytes(), shape)
    return frames


def _numbered(folder: Path, count: int, first: int) -> list[Path]:
    """Return the image files of frames first .. first + count - 1, which must be all there is."""
    images = {".png", *LOSSY_IMAGES}
    paths = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in images]
    numbers = {p: re.findall(r"\d+", p.stem) for p in paths if not p.name.startswith(".")}
    if not numbers:
        raise DataError(f"{folder} has no PNG files; expected {count}")
    place = _counting(list(numbers.values()))
    by_number: dict[int, Path] = {}
    for path, digits in numbers.items():
        if not digits:
            raise DataError(f"{path}: no frame number in the name; expected e.g. 0001.png")
        number = int(digits[place])
        if number in by_number:
            other = by_number[number].name
            raise DataError(f"{folder}: {other} and {path.name} are one frame (number {number})")
        by_number[number] = path
    wanted = range(first, first + count)
    if set(by_number) != set(wanted):
        raise DataError(f"{folder}: {_numbering(sorted(by_number), wanted)}")
    return [by_number[number] for number in wanted]


def _counting(numbers: list[list[str]]) -> int:
    """Return which number of the names counts the frames: the only one that differs, or the last.

    BasicSR writes 00000000_EDVR_M_x4_SR.png, where the last number is the scale.
    """
    if len({len(digits) for digits in numbers}) > 1:
        return -1
    differ = [i for i, column in enumerate(zip(*numbers, strict=True)) if len(set(column)) > 1]
    return differ[0] if len(differ) == 1 else -1


def _numbering(have: list[int], wanted: range) -> str:
    """Say how the numbers of files differ from the dataset's."""
    last = wanted[-1]
    shift = have[0] - wanted[0]
    whole = have == list(range(have[0], have[0] + len(have)))
    if whole and len(have) == len(wanted):
        advice = f"if {have[0]} is the dataset's first frame, say so with --first {have[0]}"
        return (
            f"frame numbering is shifted by {shift:+d}: files {have[0]}..{have[-1]}, expected "
            f"{wanted[0]}..{last}; {advice}"
        )
    missing = [n for n in wanted if n not in have]
    extra = [n for n in have if n not in wanted]
    parts = [f"{len(have)} frames, expected {len(wanted)} ({wanted[0]}..{last})"]
    if missing:
        parts.append(f"missing {_ranges(missing)}")
    if extra:
        parts.append(f"too many {_ranges(extra)}")
    return "; ".join(parts)


def _ranges(numbers: list[int]) -> str:
    """Write 1, 2, 3, 7 as `1-3, 7`; at most four pieces."""
    pieces: list[list[int]] = []
    for n in numbers:
        if pieces and n == pieces[-1][-1] + 1:
            pieces[-1] = [pieces[-1][0], n]
        else:
            pieces.append([n])
    text = [f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in pieces]
    return ", ".join(text[:4]) + (", …" if len(text) > 4 else "")


def _read_png(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read an 8-bit RGB PNG without alpha; everything else is an error that names it."""
    data = path.read_bytes()
    if data[:8] != _PNG or len(data) < 26:
        raise DataError(f"{path} is not a PNG file (or an empty one)")
    depth, colour = struct.unpack(">BB", data[24:26])
    if depth == 16:
        raise DataError(
            f"{path} has 16 bit per channel; expected 8: round to 0..255 yourself, so "
            "that it is known how"
        )
    if colour != 2 or depth != 8:
        kind = _COLOUR_TYPES.get(colour, f"colour type {colour}")
        raise DataError(f"{path} is {kind}, {depth} bit; expected RGB, 8 bit, without alpha")
    return _decode(path, data, shape)


def _decode(path: Path, data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    height, width = shape[1:3]
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.size != (width, height):
                x, y = image.size
                raise DataError(f"{path} is {x}x{y} px; expected {width}x{height} (ground truth)")
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); write it again") from error
