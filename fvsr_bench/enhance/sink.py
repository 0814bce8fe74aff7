"""Where enhanced frames go: a video with the source's sound, times and colours, or PNG files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal

import av
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, PngImagePlugin

from fvsr_bench.data.video import EXACT
from fvsr_bench.enhance.source import RGB, Info
from fvsr_bench.errors import DataError, UsageError

Codec = Literal["h264", "h265"]
NOTE = (
    "Faces in this video were super-resolved by a neural network (fvsr-bench, {model}): facial "
    "details are estimated, not recorded, and are no evidence of anybody's identity."
)
_ENCODERS = {"h264": "libx264", "h265": "libx265"}
_SPACES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # FFmpeg's number -> swscale's
_UNSPECIFIED = 2
_HD = 720  # px of height: players take untagged video from here on for BT.709, below for BT.601


def temporary_name(path: Path) -> Path:
    """Return the hidden name under which `path` grows; the suffix still tells the format."""
    return path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")


class VideoSink:
    """Encodes H.264 or H.265 and copies the source's audio packets between the frames."""

    def __init__(self, path: Path, info: Info, *, codec: Codec, crf: int, note: str) -> None:
        self.path, self.info, self.codec, self.crf, self.note = path, info, codec, crf, note
        self._guess = 1 if info.height >= _HD else 6
        self._space = self._guess if info.colour[0] == RGB else info.colour[0]  # what we write
        self._temporary = temporary_name(path)
        self._audio = _Audio(info, path)
        self._stack = ExitStack()
        self._stream: av.VideoStream | None = None
        self._last = -1  # time stamp of the frame before

    def __enter__(self) -> "VideoSink":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stack.callback(self._temporary.unlink, missing_ok=True)
        try:
            options = {"movflags": "+faststart"} if self.path.suffix in (".mp4", ".mov") else {}
            self._out = self._stack.enter_context(
                av.open(str(self._temporary), "w", container_options=options)
            )
        except (FFmpegError, ValueError) as error:
            self._stack.close()
            raise UsageError(
                f"'{self.path.name}' names no video format; use .mp4, .mkv or .mov, or a folder"
            ) from error
        self._out.metadata.update(_metadata(self.info.metadata, self.note))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None and self._stream is not None:
                for packet in self._stream.encode(None):
                    self._out.mux(packet)
                self._audio.copy(self._out, until=None)
                self._out.close()
                os.replace(self._temporary, self.path)
        finally:
            self._audio.close()
            self._stack.close()

    def write(self, rgb: np.ndarray, index: int, time: float | None) -> None:
        """Encode one frame; all must have the size of the first."""
        if self._stream is None:
            self._stream = self._start(rgb.shape[1], rgb.shape[0])
        seconds = float(index / self.info.rate) if time is None else time
        stamp = max(round(seconds / self.info.time_base), self._last + 1)
        self._last = stamp
        self._audio.copy(self._out, until=seconds)
        for packet in self._stream.encode(self._picture(rgb, stamp)):
            self._out.mux(packet)

    def _start(self, width: int, height: int) -> av.VideoStream:
        encoder, info = _ENCODERS[self.codec], self.info
        options = {"crf": str(self.crf), "preset": "medium"}
        if self.codec == "h265":
            options["x265-params"] = "log-level=error"
        try:
            stream = self._out.add_stream(encoder, rate=info.rate, options=options)
        except ValueError as error:
            raise UsageError(
                f"{self.path.suffix} cannot hold {self.codec}; choose -o {self.path.stem}.mkv"
            ) from error
        assert isinstance(stream, av.VideoStream)  # the encoders above make video
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if self.codec == "h265" and self.path.suffix in (".mp4", ".mov"):
            stream.codec_context.codec_tag = "hvc1"  # what Apple's players ask for
        context = stream.codec_context
        context.time_base = info.time_base
        _, primaries, transfer, span = info.colour
        # name what players assumed of a source without tag: the larger picture changes the guess
        context.colorspace = self._guess if self._space == _UNSPECIFIED else self._space
        context.color_primaries = primaries
        context.color_trc, context.color_range = transfer, span
        self._audio.add_streams(self._out)
        return stream

    def _picture(self, rgb: np.ndarray, stamp: int) -> av.VideoFrame:
        span = self.info.colour[3]
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24").reformat(
            format="yuv420p",
            dst_colorspace=Colorspace(_SPACES.get(self._space, 5)),
            dst_color_range=ColorRange.JPEG if span == 2 else ColorRange.MPEG,
            interpolation=EXACT,
        )
        picture.pts, picture.time_base = stamp, self.info.time_base
        return picture


def _metadata(source: dict[str, str], note: str) -> dict[str, str]:
    """Keep the source's tags (not those of its container) and add the note to its comment."""
    skip = {"major_brand", "minor_version", "compatible_brands", "encoder", "comment"}
    kept = {key: value for key, value in source.items() if key.lower() not in skip}
    comment = source.get("comment", source.get("COMMENT", ""))
    return {**kept, "comment": f"{comment} {note}".strip()}


class _Audio:
    """Copies audio packets, as they are, from the source to the output."""

    def __init__(self, info: Info, path: Path) -> None:
        self._path, self._in = path, None
        self._pairs: dict[int, av.AudioStream] = {}
        self._waiting: av.Packet | None = None
        if info.is_video and info.audio:
            self._in = av.open(str(info.path))
            if not self._in.streams.audio:
                self.close()

    def add_streams(self, out: av.container.OutputContainer) -> None:
        """Add one output stream per audio stream; raises UsageError if the format holds none."""
        if self._in is None:
            return
        for stream in self._in.streams.audio:
            try:
                self._pairs[stream.index] = out.add_stream_from_template(stream)
            except (FFmpegError, ValueError) as error:
                raise UsageError(
                    f"{self._path.suffix} cannot hold the source's audio "
                    f"({stream.codec_context.name}); choose -o {self._path.stem}.mkv or --no-audio"
                ) from error
        self._packets = self._read(self._in)

    def _read(self, container: av.container.InputContainer) -> Iterator[av.Packet]:
        packets = container.demux(list(container.streams.audio))
        while True:
            try:
                packet = next(packets)
            except (StopIteration, FFmpegError, OSError):
                return  # the rest of a damaged file
            if packet.dts is not None and packet.size:
                yield packet

    def copy(self, out: av.container.OutputContainer, until: float | None) -> None:
        """Write packets up to a time in s (None = all that are left)."""
        while self._pairs:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if until is not None and float((packet.dts or 0) * packet.time_base) > until:
                self._waiting = packet
                return
            packet.stream = self._pairs[packet.stream.index]
            out.mux(packet)

    def close(self) -> None:
        """Close the source; copying ends."""
        self._pairs = {}
        if self._in is not None:
            self._in.close()
            self._in = None


class FolderSink:
    """Writes PNG files, named like the source's images or by the frame's number from 1."""

    def __init__(self, path: Path, names: list[str], note: str) -> None:
        self.path, self.names, self.note = path, names, note
        self._temporary = temporary_name(path)

    def __enter__(self) -> "FolderSink":
        self._temporary.mkdir(parents=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if self.path.exists():
                    shutil.rmtree(self.path)
                os.replace(self._temporary, self.path)
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def write(self, rgb: np.ndarray, index: int, time: float | None) -> None:
        """Write one frame as NAME.png."""
        name = self.names[index] if index < len(self.names) else f"{index + 1:06d}"
        write_png(self._temporary / f"{name}.png", rgb, self.note)

    def write_face(self, rgb: np.ndarray, face: int, index: int) -> None:
        """Write the crop of one face as face-03/000017.png."""
        folder = self._temporary / f"face-{face:02d}"
        folder.mkdir(exist_ok=True)
        write_png(folder / f"{index + 1:06d}.png", rgb, self.note)


def write_png(path: Path, rgb: np.ndarray, note: str) -> None:
    """Write an RGB image with the note as its comment."""
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", note)
    try:
        Image.fromarray(rgb).save(path, pnginfo=about, compress_level=3)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
