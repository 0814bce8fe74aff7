"""Where frames to enhance come from: a video file, or a folder of images as if it were one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError

from fvsr_bench.data.video import Breaks, Frame, VideoError, count_frames, read_video
from fvsr_bench.errors import DataError

RGB = 0  # FFmpeg's number of the colour space
IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True, kw_only=True)
class Info:
    """What must be the same in the enhanced video as in this one."""

    path: Path
    is_video: bool
    frames: int  # by the file's header; 0 = unknown
    rate: Fraction  # fps, the average
    time_base: Fraction  # s per tick of the frames' time stamps
    colour: tuple[int, int, int, int]  # space, primaries, transfer, range: FFmpeg's numbers
    height: int  # px; 0 for a folder
    bits: int  # per channel
    rotation: int  # degrees that players turn it by
    metadata: dict[str, str]
    audio: bool = True  # copy the sound, if there is any


def inspect(path: Path, fps: float) -> Info:
    """Read a video's header; for a folder of images `fps` is the frame rate.

    Raises DataError if there is nothing to enhance.
    """
    if path.is_dir():
        return _inspect_folder(path, fps)
    if not path.exists():
        raise DataError(f"{path} does not exist; expected a video file or a folder of images")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"{path} has no video stream")
            return _inspect_stream(path, container)
    except (FFmpegError, OSError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise DataError(f"{path} cannot be opened as a video ({reason})") from error


def _inspect_stream(path: Path, container: av.container.InputContainer) -> Info:
    stream = container.streams.video[0]
    context, pixels = stream.codec_context, stream.format
    colour = (
        RGB if pixels and pixels.is_rgb else int(context.colorspace),  # many leave it untagged
        int(context.color_primaries),
        int(context.color_trc),
        int(context.color_range),
    )
    rate = stream.average_rate or stream.base_rate or Fraction(25)
    return Info(
        path=path,
        is_video=True,
        frames=count_frames(path),
        rate=Fraction(rate).limit_denominator(100_000),
        time_base=Fraction(stream.time_base or 1 / rate),
        colour=colour,
        height=stream.height,
        bits=max((c.bits for c in pixels.components), default=8) if pixels else 8,
        rotation=_rotation(container),
        metadata=dict(container.metadata),
    )


def _rotation(container: av.container.InputContainer) -> int:
    try:
        first = next(container.decode(video=0), None)
    except FFmpegError:
        return 0  # a damaged start: later frames may be fine
    return int(first.rotation) if first is not None else 0


def _inspect_folder(path: Path, fps: float) -> Info:
    images = list_images(path)
    rate = Fraction(fps).limit_denominator(1001)
    return Info(
        path=path,
        is_video=False,
        frames=len(images),
        rate=rate,
        time_base=1 / rate,
        colour=(1, 1, 1, 1),  # BT.709, studio range
        height=0,
        bits=8,
        rotation=0,
        metadata={},
    )


def list_images(folder: Path) -> list[Path]:
    """List the images of a folder, `2.png` before `10.png`. Raises DataError if there is none."""
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGES and not path.name.startswith(".")
    ]
    if not found:
        raise DataError(f"{folder} has no images ({' '.join(sorted(IMAGES))}) to enhance")
    return sorted(found, key=lambda path: [_natural(p) for p in re.split(r"(\d+)", path.stem)])


def _natural(piece: str) -> tuple[int, int, str]:
    return (0, int(piece), "") if piece.isdigit() else (1, 0, piece)


def frames_of(info: Info) -> Iterator[Frame]:
    """Decode the source's frames: upright 8-bit RGB, breaks marked, of varying size at worst."""
    if info.is_video:
        try:
            yield from read_video(info.path, exact=True)
        except VideoError as error:
            raise DataError(f"{info.path} {error}") from error
        return
    breaks = Breaks()
    for index, path in enumerate(list_images(info.path)):
        data = np.fromfile(path, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            raise DataError(f"{path} is not a readable image")
        rgb = np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        reason = breaks.before(rgb, None)  # images have no clock, and so no pauses
        yield Frame(index=index, time=float(index / info.rate), rgb=rgb, breaks=reason)
