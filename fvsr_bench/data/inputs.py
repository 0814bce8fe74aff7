"""What `data prepare` is given: its options, the videos it finds, and who is in them."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fvsr_bench.data.splits import PAPER_COUNTS
from fvsr_bench.data.video import find_videos
from fvsr_bench.errors import DataError, UsageError
from fvsr_bench.spec import DEGRADATIONS


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Everything that decides what `prepare` makes of the same videos."""

    name: str = "faces"
    degradation: str = "bi"
    crop: str = "per-frame"  # or "steady": one box per clip
    margin: float = 1.0  # side of the crop / longer side of MTCNN's box
    smooth: float = 0.0  # frames: sigma over time of per-frame boxes; 0 = as MTCNN gives them
    min_face: float = 64.0  # px: least longer side of MTCNN's box
    split: str = "subject"  # or "sequence"
    counts: tuple[int, int, int] = PAPER_COUNTS  # clips for train, val, test
    max_per_subject: int = 0  # clips; 0 = as many as there are
    seed: int = 0
    size: int = 160  # px
    frames: int = 32


@dataclass(frozen=True, kw_only=True)
class Source:
    """One video to be scanned."""

    path: Path
    name: str  # relative to the source folder, with slashes
    slug: str  # start of the ids of its clips
    subject: str


def check_options(options: PrepareOptions) -> None:
    """Raise UsageError for an option that cannot be meant."""
    if options.degradation not in DEGRADATIONS:
        raise UsageError(
            f"unknown degradation '{options.degradation}'. Known: {', '.join(DEGRADATIONS)}."
        )
    for what, value, known in (
        ("--crop", options.crop, ("per-frame", "steady")),
        ("--split", options.split, ("subject", "sequence")),
    ):
        if value not in known:
            raise UsageError(f"{what} is '{value}'; expected {' or '.join(known)}.")
    if not 0.5 <= options.margin <= 4:
        raise UsageError(f"--margin is {options.margin}; expected 0.5 to 4 (1 = MTCNN's box).")
    if options.smooth < 0 or options.max_per_subject < 0:
        raise UsageError("--smooth and --max-per-subject must not be negative.")
    if options.min_face < 20:
        raise UsageError(f"--min-face is {options.min_face}; MTCNN finds faces from 20 px.")
    if min(options.counts) < 0 or not sum(options.counts):
        raise UsageError("--counts expects three numbers of clips (train val test), not all 0.")


def list_sources(source: Path, subjects: Path | None, *, only_listed: bool) -> list[Source]:
    """List the videos with their subjects: from the CSV, else one subject per video.

    A file called `vid.*` in a folder of its own (300-VW: `001/vid.avi`) is named by that folder.
    """
    table = _read_subjects(subjects) if subjects else {}
    if only_listed and subjects is None:
        raise UsageError("--only-listed needs --subjects CSV: the list of files and subjects.")
    found: list[Source] = []
    named = 0
    taken: Counter[str] = Counter()
    for path in find_videos(source):
        name = path.name if source.is_file() else path.relative_to(source).as_posix()
        name = unicodedata.normalize("NFC", name)
        listed = table.get(name) or table.get(Path(name).name)
        if only_listed and listed is None:
            continue
        named += listed is not None
        stem = Path(name).with_suffix("").as_posix()
        if Path(name).stem == "vid" and "/" in name:
            stem = Path(name).parent.as_posix()
        slug = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "video"
        taken[slug.casefold()] += 1
        if taken[slug.casefold()] > 1:
            slug = f"{slug}~{taken[slug.casefold()]}"
        found.append(Source(path=path, name=name, slug=slug, subject=listed or stem))
    if subjects and not named:
        raise DataError(
            f"{subjects} names none of the videos in {source}; expected in its column file their "
            "paths in that folder, or only their names."
        )
    return found


def _read_subjects(path: Path) -> dict[str, str]:
    """Read file -> subject: a path in the source folder is one video, a bare name all so called."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the subjects from {path}: {error}.") from error
    column = "file" if "file" in table.columns else "source"
    if column not in table.columns or "subject" not in table.columns:
        raise DataError(
            f"{path} has the columns {', '.join(table.columns)}; expected file and subject."
        )
    result: dict[str, str] = {}
    for file, subject in zip(table[column], table["subject"], strict=True):
        if not subject:
            raise DataError(f"{path} gives no subject for '{file}'.")
        result[unicodedata.normalize("NFC", file)] = subject
    return result
