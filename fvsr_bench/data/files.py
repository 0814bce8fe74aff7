"""Small file operations of the data layer: whole or not at all, with an error a user can act on."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from fvsr_bench.errors import DataError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again to continue",
    errno.EDQUOT: "your disk quota is used up; free some space and run the same command again",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "permission denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose a folder that you may write to",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder",
    errno.EEXIST: "a file of that name is in the way; choose another folder",
}


@contextmanager
def writing(where: Path) -> Iterator[None]:
    """Turn an operating-system error while writing to `where` into a DataError with advice."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, str(error))
        raise DataError(f"cannot write to {where}: {reason}.") from error


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that readers see the old content or the new one, never a part."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_frames(folder: Path, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
    """Write RGB frames as `0001.png`, `0002.png`, ... into a new or existing folder."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(frames, start=1):
            ok, png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            if not ok:
                raise DataError(f"cannot encode frame {number} of {folder} as PNG.")
            (folder / f"{number:04d}.png").write_bytes(png.tobytes())


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
