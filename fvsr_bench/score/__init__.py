"""Scores frames that any other program made: checked strictly, then the same records as ours."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fvsr_bench import __version__
from fvsr_bench.data.files import pixel_hash
from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.evaluate import FOREIGN, Outcome, Progress, evaluate_frames
from fvsr_bench.evaluate.plan import Setting
from fvsr_bench.manifest import About, Identity, RunManifest
from fvsr_bench.score.content import check_content
from fvsr_bench.score.frames import Found, find_clips, read_clip
from fvsr_bench.spec import Clip, digest

SHOWN = 3  # mismatches that one error spells out


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where super-resolved frames lie, and what the user vouches for."""

    folder: Path
    first: int = 1  # number of the first frame in file names
    allow_lossy: bool = False
    allow_content: bool = False  # frames that look shifted, swapped or of another clip


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Frames that fit the dataset."""

    clips: dict[str, Found]
    sha256: str  # of all pixels
    warnings: tuple[str, ...]  # what was allowed by an option, and is marked in tables


def check(source: Source, setting: Setting, progress: Progress | None = None) -> Checked:
    """Read every frame once and hold it to the dataset; raises DataError that names mismatches."""
    tick = progress or (lambda *_: None)
    found = find_clips(source.folder, setting.clips)
    problems, warnings, hashes = [], [], []
    for number, clip_id in enumerate(setting.clips):
        tick(f"checking {clip_id}", number, len(setting.clips))
        clip = setting.dataset.load(clip_id)
        try:
            frames = read_clip(found[clip_id], clip.hr.shape, source.first, source.allow_lossy)
            strange = check_content(frames, clip)
        except DataError as error:
            problems.append(str(error))
            continue
        if strange and not source.allow_content:
            problems.append(
                f"{found[clip_id].path}: {strange}; if that is how the method is, say so with "
                "--allow-content"
            )
        elif strange:
            warnings.append(f"{clip_id}: {strange}")
        hashes.append(pixel_hash(frames))
    if problems:
        raise DataError(_summary(problems, len(setting.clips)))
    lossy = sorted({f.codec for f in found.values() if f.lossy})
    marks = [f"frames were read from lossy {' and '.join(lossy)}"] if lossy else []
    if warnings:
        count = f"{len(warnings)} of {len(setting.clips)} clips"
        marks.append(f"{count} look wrong, first {warnings[0]}")
    pixels = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return Checked(clips=found, sha256=pixels, warnings=tuple(marks))


def _summary(problems: Sequence[str], total: int) -> str:
    if len(problems) == 1:
        return problems[0]
    more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    return f"{len(problems)} of {total} clips do not fit: " + "; ".join(problems[:SHOWN]) + more


def score(
    source: Source,
    name: str,
    setting: Setting,
    out: Path,
    progress: Progress | None = None,
) -> Outcome:
    """Measure the frames and add them to the results folder `out` as a row called `name`.

    Raises DataError for any mismatch with the dataset before anything is written.
    """
    if not source.folder.is_dir():
        raise UsageError(
            f"--sr {source.folder} is not a folder; expected one with a folder or a "
            "lossless video per clip"
        )
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    if not slug:
        raise UsageError(f"--name '{name}' has no letter or digit; expected e.g. TecoGAN-theirs")
    checked = check(source, setting, progress)
    manifest = _manifest(name, slug, source, checked, setting)
    return evaluate_frames(manifest, producer(source, setting), setting, out, progress)


def producer(source: Source, setting: Setting) -> Callable[[Clip], Tensor]:
    """Return what reads the frames of a clip: uint8 [T, 3, H, W]."""
    found = find_clips(source.folder, setting.clips)
    return functools.partial(_produce, source=source, found=found, device=setting.device)


def _produce(clip: Clip, *, source: Source, found: dict[str, Found], device: str) -> Tensor:
    frames = read_clip(found[clip.id], clip.hr.shape, source.first, source.allow_lossy)
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).to(device)


def _manifest(
    name: str, slug: str, source: Source, checked: Checked, setting: Setting
) -> RunManifest:
    identity = Identity(
        method=slug,
        variant="full",
        options={"first": source.first, "warnings": list(checked.warnings)},
        source=FOREIGN,
        weights="frames",
        weights_sha256=checked.sha256,
        dataset=setting.dataset.id,
        split=setting.split,
        clips=digest(list(setting.clips)),
        degradation=setting.dataset.degradation.name,
        measures=setting.measures,
        face_box=setting.protocol.face_box,
        precision="fp32",
        version=__version__,
    )
    about = About(
        title=name,
        reference="frames made by another program",
        licence="unknown",
        lookahead=None,
        origin="another program",
        mismatch="; ".join(checked.warnings),
    )
    return RunManifest(
        run_id=identity.run_id(),
        model=slug,
        variant="full",
        weights="frames",
        status="running",
        identity=dataclasses.asdict(identity),
        about=about,
    )
