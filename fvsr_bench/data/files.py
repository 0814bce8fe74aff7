"""Frames as PNG files, and the hash of their pixels."""

import hashlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from fvsr_bench.errors import DataError
from fvsr_bench.files import writing


def write_frames(
    folder: Path,
    frames: UInt8[np.ndarray, "t h w 3"],
    *,
    name: str = "{:04d}.png",
    first: int = 1,
) -> None:
    """Write RGB frames as `0001.png`, `0002.png`, ... into a new or existing folder."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(frames, start=first):
            ok, png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            if not ok:
                raise DataError(f"cannot encode frame {number} of {folder} as PNG.")
            (folder / name.format(number)).write_bytes(png.tobytes())


def link_frames(source: Path, folder: Path, count: int) -> None:
    """Make frames 1..`count` of one folder appear in a new one: hard links, else copies."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            name = f"{number:04d}.png"
            try:
                os.link(source / name, folder / name)
            except FileNotFoundError:
                raise DataError(f"{source / name} is missing; prepare the dataset again.") from None
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(source / name, folder / name)


def read_frame(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read an 8-bit RGB PNG; raises DataError if it is missing, unreadable or of another kind."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise DataError(f"cannot read frame {path}: {error.strerror or error}.") from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise DataError(f"{path} is not a readable PNG; prepare the dataset again.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"dtype {image.dtype} and shape {image.shape}"
        raise DataError(f"{path} has {kind}; expected 8-bit RGB.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_frames(folder: Path, count: int, size: tuple[int, int]) -> UInt8[np.ndarray, "t h w 3"]:
    """Read frames 1..`count` of a clip folder; each must be `size` = (width, height) px."""
    frames = np.empty((count, size[1], size[0], 3), np.uint8)
    for t in range(count):
        path = folder / f"{t + 1:04d}.png"
        frame = read_frame(path)
        if frame.shape[:2] != (size[1], size[0]):
            raise DataError(
                f"{path} is {frame.shape[1]}x{frame.shape[0]} px; expected {size[0]}x{size[1]}."
            )
        frames[t] = frame
    return frames


def pixel_hash(frames: UInt8[np.ndarray, "t h w 3"]) -> str:
    """Return the SHA-256 of the shape and the decoded pixels: independent of how PNG packs them."""
    header = "x".join(map(str, frames.shape)).encode()
    return hashlib.sha256(header + np.ascontiguousarray(frames).tobytes()).hexdigest()
