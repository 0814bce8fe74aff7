"""Reads video files frame by frame: upright RGB, with every break in the footage marked."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
from av.error import FFmpegError
from jaxtyping import UInt8

from fvsr_bench.errors import DataError

_KINDS = "3gp avi flv gif m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts webm wmv y4m"
SUFFIXES = frozenset(f".{kind}" for kind in _KINDS.split())
EXACT = 2 | 0x40000 | 0x2000  # swscale: bilinear, accurate rounding, full chroma interpolation
_GAP = 0.25  # s: a longer pause between two frames is a break
_THUMB = (48, 48)  # px: what cuts are looked for on
_CUT = (24.0, 10.0, 5.0)  # grey levels: surely a cut; least for a cut; times the usual difference


class VideoError(DataError):
    """A video cannot be read; says why, without naming it."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One decoded frame; `breaks` says why it does not continue the one before (None: it does)."""

    index: int  # in decoding order, 0-based
    time: float | None  # s
    rgb: UInt8[np.ndarray, "h w 3"]
    breaks: str | None = None


def find_videos(source: Path) -> list[Path]:
    """List the video files in a folder (any depth, sorted; hidden ones are left out), or one file.

    Raises DataError if there are none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"{source} does not exist. Expected a folder of videos or a video file.")
    found = [
        path
        for path in source.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(source).parts)
    ]
    if not found:
        kinds = " ".join(sorted(SUFFIXES))
        raise DataError(f"{source} has no video file. Looked in all its folders for {kinds}.")
    return sorted(found, key=lambda path: unicodedata.normalize("NFC", path.as_posix()))


def count_frames(path: Path) -> int:
    """Estimate the number of frames from the file's header; 0 if it does not tell."""
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            if stream.frames:
                return int(stream.frames)
            if container.duration and stream.average_rate:
                return int(container.duration / av.time_base * float(stream.average_rate))
    except (FFmpegError, OSError, IndexError, ValueError):
        pass
    return 0


def nominal_rate(path: Path) -> float:
    """Return the frame rate that the file declares, in fps; 25 if it declares none."""
    try:
        with av.open(str(path)) as container:
            return float(container.streams.video[0].average_rate or 25.0)
    except (FFmpegError, OSError, IndexError):
        return 25.0


def read_video(path: Path, *, exact: bool = False) -> Iterator[Frame]:
    """Decode a video from its start.

    `exact` rounds YUV to RGB to the nearest level, where FFmpeg's faster default is about one level
    too dark; datasets are made with the default and keep it, because it decides their pixels.

    Frames are turned as the rotation metadata says; grey and other pixel formats become RGB. A
    frame after a scene cut, a pause, a change of size or undecodable data carries the reason.
    Raises VideoError if the file cannot be opened, has no video, or has pixels of an unknown kind;
    a file that ends early just ends.
    """
    try:
        container = av.open(str(path))
    except (FFmpegError, OSError) as error:
        raise VideoError(f"cannot be opened ({_reason(error)})") from error
    with container:
        if not container.streams.video:
            raise VideoError("has no video stream")
        # With threads for frames, an error in the last packets would lose all that are on the way.
        container.streams.video[0].thread_type = "SLICE"
        breaks = Breaks()
        for index, (frame, damaged) in enumerate(_decode(container)):
            rgb = _upright(frame, exact)
            reason = breaks.before(rgb, frame.time, damaged)
            yield Frame(index=index, time=frame.time, rgb=rgb, breaks=reason)


def _decode(container: av.container.InputContainer) -> Iterator[tuple[av.VideoFrame, bool]]:
    """Yield (frame, whether something before it could not be decoded)."""
    lost: list[int] = []  # times, in ticks, of what could not be decoded
    packets = container.demux(video=0)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (FFmpegError, OSError):
            return  # the rest of the file is missing
        try:
            frames = packet.decode()
        except FFmpegError:
            lost.append(-1 if packet.pts is None else packet.pts)
            continue
        for frame in frames:  # in the order of showing, packets in that of decoding
            at = frame.pts
            later = [t for t in lost if at is not None and t > at]
            yield frame, len(later) < len(lost) or bool(frame.is_corrupt)
            lost = later


def _upright(frame: av.VideoFrame, exact: bool) -> np.ndarray:
    try:
        rgb = frame.to_ndarray(format="rgb24", interpolation=EXACT if exact else None)
    except (FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"has frames that cannot be shown as RGB ({_reason(error)})") from error
    quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise
    return np.ascontiguousarray(np.rot90(rgb, quarter_turns)) if quarter_turns else rgb


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


class Breaks:
    """Notices where footage stops being continuous, from one frame to the next."""

    def __init__(self) -> None:
        self._thumb: np.ndarray | None = None
        self._shape: tuple[int, ...] = ()
        self._time: float | None = None
        self._usual: list[float] = []  # differences between recent neighbours, grey levels

    def before(self, rgb: np.ndarray, time: float | None, damaged: bool = False) -> str | None:
        """Return why a frame does not continue the one before; None if it does."""
        thumb = cv2.resize(rgb, _THUMB, interpolation=cv2.INTER_AREA).astype(np.float32)
        last, shape, then = self._thumb, self._shape, self._time
        self._thumb, self._shape, self._time = thumb, rgb.shape, time
        if last is None:
            return None
        reason = self._judge(float(np.abs(thumb - last).mean()))
        if damaged:
            reason = "undecodable data"
        elif rgb.shape != shape:
            reason = "the frame size changes"
        elif time is not None and then is not None and not 0 <= time - then <= _GAP:
            reason = "a pause in the recording"
        if reason:
            self._usual.clear()
        return reason

    def _judge(self, difference: float) -> str | None:
        usual = float(np.median(self._usual)) if len(self._usual) >= 4 else 4.0
        sure, least, times = _CUT
        if difference > sure or (difference > least and difference > times * max(usual, 1.0)):
            return "scene cut"
        self._usual = [*self._usual[-7:], difference]
        return None
