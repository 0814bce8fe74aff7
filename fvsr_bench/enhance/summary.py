"""What was done to a video, and what the user has to be told about it."""

from dataclasses import dataclass, field

from fvsr_bench.enhance.follow import Seen
from fvsr_bench.enhance.source import Info
from fvsr_bench.enhance.stream import FaceStream


@dataclass(kw_only=True)
class Summary:
    """What was done; for the user and for --json."""

    output: str
    compare: str = ""
    frames: int = 0
    faces: int = 0  # faces that were enhanced
    face_frames: int = 0  # enhanced faces over all frames
    tiny: int = 0  # faces left as they are: too small
    large: int = 0  # idem: too large
    lost_frames: int = 0  # that could not be decoded
    damaged: int = 0  # places in the file where decoding failed
    ms_per_face_frame: float = 0.0  # of the network alone
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


def conclude(summary: Summary, info: Info, seen: Seen, stream: FaceStream) -> None:
    """Count faces and say what was left as it is, lost or changed."""
    notes = summary.notes
    summary.faces = len(stream.faces)
    summary.tiny, summary.large = len(seen.tiny - stream.faces), len(seen.large - stream.faces)
    if stream.steps:
        summary.ms_per_face_frame = round(1000 * stream.seconds / stream.steps, 2)
    if summary.tiny:
        notes.append(
            f"{summary.tiny} face(s) below {seen.min_face:g} px were left as they are (--min-face)"
        )
    if summary.large:
        notes.append(
            f"{summary.large} face(s) above {seen.max_face:g} px were left as they are: they have "
            "more detail than the methods were made for (--max-face, or --face-size to reduce them "
            "first)"
        )
    if summary.damaged:
        notes.append(
            f"the file is damaged in {summary.damaged} place(s): about {summary.lost_frames} "
            "frame(s) could not be decoded and are missing"
        )
    missing = info.frames - summary.frames - summary.lost_frames
    if info.is_video and missing > max(2, 0.01 * info.frames):
        notes.append(
            f"the file ends early: its header says {info.frames} frames, {summary.frames} could "
            "be decoded"
        )
    if info.rotation:
        notes.append("the picture was turned upright, so the output needs no rotation tag")
    if info.bits > 8:
        notes.append(f"the source has {info.bits} bit per channel; the output has 8")
