"""Hands a dataset to other people's programs: exactly our frames, in the layout they read."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
from jaxtyping import UInt8

from fvsr_bench.data.files import write_frames
from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import UsageError, unknown
from fvsr_bench.files import write_atomic, writing
from fvsr_bench.spec import Clip

FORMATS = ("frames", "basicsr", "mp4")
Progress = Callable[[str, int, int], None]

README = """\
{clips} clips of dataset "{name}" ({id}), split {split}; LR by {degradation}, x{scale}.

{layout}

The pixels are those of the dataset, without loss. After running a program on the LR frames, score
what it made with

    fvsr-bench score --sr ITS-OUTPUT --dataset {root} --split {scored}{first} --name ITS-NAME

which expects ITS-OUTPUT/<clip>/ with one PNG per frame, or ITS-OUTPUT/<clip>.mkv (lossless), of
one split at a time: test, val or train.
"""
LAYOUTS = {
    "frames": "lr/<clip>/0001.png … are the LR frames, hr/<clip>/0001.png … the ground truth.",
    "basicsr": """\
BIx4/<clip>/00000000.png … (LQ) and GT/<clip>/00000000.png …, as BasicSR's VideoTestDataset reads:

    datasets:
      test:
        name: {name}
        type: VideoTestDataset
        dataroot_gt: GT
        dataroot_lq: {lq}
        meta_info_file: meta_info.txt
        io_backend: {{type: disk}}
        cache_data: false
        num_frame: -1""",
    "mp4": """\
lr/<clip>.mp4 and hr/<clip>.mp4 are lossless RGB H.264 (profile High 4:4:4 Predictive): programs
that read with FFmpeg or PyAV get the exact pixels; a phone may not play them.""",
}


def export_dataset(
    dataset: Dataset,
    out: Path,
    layout: str,
    *,
    split: str | None = "test",
    progress: Progress | None = None,
) -> int:
    """Write the clips of a split (None = all) into the new folder `out`; returns their number.

    The folder appears when it is whole. Raises UsageError if it exists or the format is unknown.
    """
    if layout not in FORMATS:
        raise unknown("format", layout, FORMATS)
    if out.exists():
        raise UsageError(f"{out} exists; choose another --out or delete it")
    clips = dataset.clip_ids(split)
    if not clips:
        raise UsageError(f"dataset '{dataset.name}' has no clips in split '{split}'")
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        for number, clip_id in enumerate(clips):
            if progress:
                progress(clip_id, number, len(clips))
            _WRITERS[layout](temporary, dataset.load(clip_id), dataset)
        _write_notes(temporary, dataset, layout, clips, split or "all")
        with writing(out):
            os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(clips)


def _write_notes(
    root: Path, dataset: Dataset, layout: str, clips: Sequence[str], split: str
) -> None:
    facts = {"name": dataset.name, "lq": _lq_folder(dataset)}
    text = README.format(
        clips=len(clips),
        id=dataset.id,
        split=split,
        scored="test" if split == "all" else split,
        degradation=dataset.degradation.name,
        scale=dataset.degradation.scale,
        layout=LAYOUTS[layout].format(**facts) if layout == "basicsr" else LAYOUTS[layout],
        root="demo" if dataset.name == dataset.meta.kind == "demo" else dataset.root,
        first=" --first 0" if layout == "basicsr" else "",
        name=dataset.name,
    )
    write_atomic(root / "README.txt", text)
    if layout == "basicsr":
        size = dataset.meta.size
        rows = [f"{c} {int(dataset.row(c)['frames'])} ({size},{size},3)" for c in clips]
        write_atomic(root / "meta_info.txt", "\n".join(rows) + "\n")


def _lq_folder(dataset: Dataset) -> str:
    return f"{dataset.degradation.name.upper()}x{dataset.degradation.scale}"


def _write_frames(root: Path, clip: Clip, dataset: Dataset) -> None:
    write_frames(root / "lr" / clip.id, clip.lr)
    write_frames(root / "hr" / clip.id, clip.hr)


def _write_basicsr(root: Path, clip: Clip, dataset: Dataset) -> None:
    write_frames(root / _lq_folder(dataset) / clip.id, clip.lr, name="{:08d}.png", first=0)
    write_frames(root / "GT" / clip.id, clip.hr, name="{:08d}.png", first=0)


def _write_mp4(root: Path, clip: Clip, dataset: Dataset) -> None:
    write_lossless_video(root / "lr" / f"{clip.id}.mp4", clip.lr, clip.fps)
    write_lossless_video(root / "hr" / f"{clip.id}.mp4", clip.hr, clip.fps)


_WRITERS = {"frames": _write_frames, "basicsr": _write_basicsr, "mp4": _write_mp4}


def write_lossless_video(path: Path, frames: UInt8[np.ndarray, "t h w 3"], fps: float) -> None:
    """Write RGB frames as lossless H.264: decoding gives the same pixels."""
    from fractions import Fraction

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            rate = Fraction(fps).limit_denominator(1001)
            stream = container.add_stream("libx264rgb", rate=rate, options={"qp": "0"})
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = "rgb24"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
