"""Enhances the faces of an ordinary video: decode, follow, super-resolve, paste back, encode.

Everything streams: at any time two decoded frames and one state per face are held, whatever the
length of the video.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn

from fvsr_bench.data.video import Frame
from fvsr_bench.enhance.follow import Follower, View
from fvsr_bench.enhance.paste import blend, enlarge, side_by_side
from fvsr_bench.enhance.sink import NOTE, Codec, FolderSink, VideoSink
from fvsr_bench.enhance.source import Info, frames_of, inspect, list_images
from fvsr_bench.enhance.stream import FaceStream
from fvsr_bench.enhance.summary import Summary, conclude
from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.faces.detector import FaceDetector
from fvsr_bench.infer import Precision

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".ts")
Progress = Callable[[str, int, int], None]  # what is done now, frames done, frames in all (0: ?)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a video is enhanced."""

    scale: int = 4  # of the output: 2 or 4
    codec: Codec = "h264"
    crf: int = 16  # quality: lower is better and larger
    faces_only: bool = False  # write face crops (PNG) instead of frames
    compare: bool = False  # also write a video with before and after side by side
    audio: bool = True
    min_face: float = 24.0  # px: smaller faces are left as they are
    max_face: float = 160.0  # px: larger faces are left as they are
    face_size: int = 0  # px that a face's window is reduced to first; 0 = its own resolution
    fps: float = 25.0  # of a folder of images
    overwrite: bool = False


def enhance(
    source: Path,
    out: Path,
    model: nn.Module,
    name: str,
    *,
    lookahead: int | None,
    options: Options = Options(),
    device: torch.device | str = "cpu",
    precision: Precision = "fp32",
    progress: Progress | None = None,
) -> Summary:
    """Enhance the faces of `source` (video or folder of images) with `model` and write `out`.

    `out` is a video file, or a folder for PNG frames; it appears when it is whole. `name` stands
    in the note that goes with the output. Raises UsageError for options that do not go together
    and DataError if the source cannot be read.
    """
    _check(source, out, model, name, lookahead, options)
    start = time.monotonic()
    info = inspect(source, options.fps)
    if not options.audio:
        info = dataclasses.replace(info, audio=False)
    stream = FaceStream(
        model,
        lookahead=int(lookahead or 0),
        device=device,
        precision=precision,
        window=options.face_size,
    )
    max_face = float("inf") if options.face_size else options.max_face
    detector = FaceDetector(min_size=min(20.0, float(options.min_face)))
    follower = Follower(detector, min_face=options.min_face, max_face=max_face)
    summary = Summary(output=str(out))
    with ExitStack() as stack:
        writer = _Writer(stack, info, out, options, NOTE.format(model=name))
        summary.compare = str(writer.compare_path or "")
        frames = _Counted(info, summary)
        for frame, views in _followed(frames, follower, stream):
            writer.write(frame, views)
            summary.frames += 1
            summary.face_frames += len(views)
            if progress:
                total = max(info.frames, summary.frames)
                progress(_doing(summary, start), summary.frames, total)
        if not summary.frames:
            raise DataError(f"{source} has no frame that can be decoded")
    summary.seconds = round(time.monotonic() - start, 2)
    conclude(summary, info, follower.seen, stream)
    if not summary.faces:
        what = "no face crop was written" if options.faces_only else "it was only enlarged"
        summary.notes.insert(0, f"no face was found that could be enhanced: {what}")
    return summary


def _doing(summary: Summary, start: float) -> str:
    rate = summary.frames / max(time.monotonic() - start, 1e-6)
    return f"{rate:.1f} fps, {summary.face_frames} faces"


def _check(
    source: Path, out: Path, model: Any, name: str, lookahead: int | None, options: Options
) -> None:
    if lookahead not in (0, 1) or not hasattr(model, "step"):
        raise UsageError(
            f"method '{name}' needs the whole clip at once, so it cannot stream through a video; "
            "choose one with look-ahead 0 or 1 (see `fvsr-bench models`)"
        )
    if int(model.scale) != 4 or options.scale not in (2, 4):
        raise UsageError(f"--scale {options.scale} is not possible; expected 4 or 2")
    if options.min_face < 16 or options.max_face < options.min_face:
        raise UsageError("expected 16 <= --min-face <= --max-face, in px")
    if options.face_size and (options.face_size < 24 or options.face_size % 8):
        raise UsageError(f"--face-size {options.face_size}: expected a multiple of 8 from 24 on")
    _check_output(source, out, options)


def _check_output(source: Path, out: Path, options: Options) -> None:
    """Nothing that is there is replaced unless asked for, and then only what we could have made."""
    is_video = out.suffix.lower() in VIDEO_SUFFIXES
    if options.faces_only and is_video:
        raise UsageError("--faces-only writes PNG files: give a folder as -o, without a suffix")
    written = (out, compare_path(out)) if options.compare else (out,)
    for path in written:
        if source.resolve().is_relative_to(path.resolve()):  # a folder is replaced as a whole
            what = "is" if source.resolve() == path.resolve() else "holds"
            raise UsageError(f"{path} {what} the input itself; choose another -o")
    for path in written:
        if path.exists() and not options.overwrite:
            raise UsageError(f"{path} exists; choose another -o or add --overwrite")
    if out.exists() and out.is_dir() == is_video:
        what = "a folder" if is_video else "a file"
        raise UsageError(f"{out} is {what}; expected the other of file and folder")
    if out.is_dir() and not all(_is_ours(path) for path in out.iterdir()):
        raise UsageError(f"{out} holds other things than frames; choose another -o")
    if source.is_dir() and not is_video and not options.faces_only:
        _check_names(list_images(source))


def _check_names(images: Sequence[Path]) -> None:
    """No image's result may take the place of another's: both would be called NAME.png."""
    first: dict[str, Path] = {}
    for path in sorted(images):
        other = first.setdefault(path.stem, path)
        if other is not path:
            raise UsageError(
                f"{path.parent}: {other.name} and {path.name} would both become {path.stem}.png; "
                "rename one, or give a video as -o"
            )


def _is_ours(path: Path) -> bool:
    return path.suffix == ".png" or (path.is_dir() and path.name.startswith("face-"))


def compare_path(out: Path) -> Path:
    """Name the before/after video that goes with an output."""
    suffix = out.suffix if out.suffix.lower() in VIDEO_SUFFIXES else ".mp4"
    return out.with_name(f"{out.stem}-compare{suffix}")


class _Counted:
    """The source's frames at one size, with what is lost counted."""

    def __init__(self, info: Info, summary: Summary) -> None:
        self.info, self.summary = info, summary
        self._resized = False

    def __iter__(self) -> Iterator[Frame]:
        size: tuple[int, int] | None = None
        before: float | None = None
        for frame in frames_of(self.info):
            height, width = frame.rgb.shape[:2]
            size = size or (width, height)
            rgb = frame.rgb
            if (width, height) != size:
                if not self._resized:
                    self.summary.notes.append(
                        f"from frame {frame.index} on the source is {width}x{height} px; resized "
                        f"to {size[0]}x{size[1]} px"
                    )
                self._resized = True
                rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
            if frame.breaks == "undecodable data":
                self.summary.damaged += 1
                self.summary.lost_frames += self._gap(before, frame.time)
            before = frame.time
            yield dataclasses.replace(frame, rgb=rgb)

    def _gap(self, before: float | None, now: float | None) -> int:
        if before is None or now is None:
            return 0
        return max(0, round((now - before) * float(self.info.rate)) - 1)


def _followed(
    frames: _Counted, follower: Follower, stream: FaceStream
) -> Iterator[tuple[Frame, Sequence[View]]]:
    """Yield each frame with its faces once they are super-resolved: one frame late."""
    before: tuple[Frame, list[View]] | None = None
    for frame in frames:
        views = follower.update(frame)
        stream.feed(frame.rgb, views)
        if before is not None:
            yield before
        before = (frame, views)
    stream.finish()
    if before is not None:
        yield before


class _Writer:
    """Composes frames and hands them to the output, and to the comparison if there is one."""

    def __init__(
        self, stack: ExitStack, info: Info, out: Path, options: Options, note: str
    ) -> None:
        self.options = options
        self.compare_path: Path | None = None
        self.sink: VideoSink | FolderSink
        if out.suffix.lower() in VIDEO_SUFFIXES:
            self.sink = VideoSink(out, info, codec=options.codec, crf=options.crf, note=note)
        else:
            names = [] if info.is_video else [path.stem for path in list_images(info.path)]
            self.sink = FolderSink(out, names, note)
        self.compare: VideoSink | None = None
        if options.compare:
            self.compare_path = compare_path(out)
            self.compare = VideoSink(
                self.compare_path, info, codec=options.codec, crf=options.crf, note=note
            )
            stack.enter_context(self.compare)
        stack.enter_context(self.sink)

    def write(self, frame: Frame, views: Sequence[View]) -> None:
        """Write one frame whose faces are super-resolved."""
        scale = self.options.scale
        if self.options.faces_only and isinstance(self.sink, FolderSink):
            for view in views:
                assert view.sr is not None  # the stream is one frame ahead
                crop = view.sr[0].clamp(0, 1).mul(255).round().byte().permute(1, 2, 0)
                self.sink.write_face(crop.cpu().numpy(), view.face, frame.index)
            if self.compare is None:
                return
        plain = enlarge(frame.rgb, scale)
        canvas = plain.copy() if self.compare else plain
        for view in sorted(views, key=lambda view: view.side):
            blend(canvas, view, scale)
        if not self.options.faces_only:
            self.sink.write(canvas, frame.index, frame.time)
        if self.compare is not None:
            self.compare.write(side_by_side(plain, canvas), frame.index, frame.time)


__all__ = ["Options", "Summary", "enhance"]
