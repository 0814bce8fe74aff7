"""Public datasets pinned by content: a manifest in the package, the files fetched from their homes.

A manifest names, for each video, its public repository, commit and path there, its SHA-256, the
repository's licence and what was measured on it; it holds no video. `faceclips` is the one that
comes with the package. Its rules:

- For research only. Several sources (CelebV-Text, MEAD, MER2023, LRS3/TED and VidTIMIT excerpts)
  must not be passed on: share this manifest and your results, not the videos or frames of them.
- `tier` A: the face is at least 130 px wide. Tier B is smaller: for stress tests, not ground truth.
- `sharpness` is the variance of the Laplacian of the face at 160x160; under 60 is noted "soft".
- `subject` was clustered by face embedding and by eye: never put one subject into two splits
  (`subjects.csv`, which is written beside the videos, is for `data prepare --subjects`).
"""

import csv
import importlib.resources
import io
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fvsr_bench.data.download import Download, Line, fetch_file
from fvsr_bench.errors import DataError, UsageError, unknown
from fvsr_bench.files import replacing, sha256, write_atomic, writing

# The sets, and with which options of `data prepare` they become the dataset of that name.
PREPARE = {"faceclips": "--only-listed --max-per-subject 6 --min-face 140 --smooth 3"}
SOURCES = tuple(PREPARE)
PARALLEL = 4

OnBytes = Callable[[int, int], None]  # (bytes there, bytes in all)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One row of a manifest: one video file and where it comes from."""

    file: str  # plain name in the output folder
    bytes: int
    sha256: str
    repository: str  # owner/name on GitHub
    commit: str
    path: str  # in the repository
    licence: str  # of the repository; "none found" is written out
    subject: str
    fps: float
    sharpness: float
    tier: str
    row: dict[str, str] = field(repr=False)  # every column as text

    @property
    def where(self) -> str:
        """Name the file in its repository, for people."""
        return f"{self.repository}@{self.commit[:7]}:{self.path}"


@dataclass(kw_only=True)
class Fetched:
    """How a fetch ended: file names by outcome; `missing` maps a name to the reason."""

    there: list[str] = field(default_factory=list)  # with the right bytes before we started
    got: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def load_manifest(name: str) -> list[Source]:
    """Read a pinned dataset's manifest ("faceclips") or one of your own (a path ending in .csv).

    Raises UsageError for an unknown name, DataError for a row that is damaged or unsafe.
    """
    if name.endswith(".csv"):
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"cannot read manifest {name}: {error}.") from error
    elif name in SOURCES:
        text = importlib.resources.files(__package__).joinpath(f"{name}.csv").read_text("utf-8")
    else:
        raise unknown("dataset", name, SOURCES)
    sources = _sources(text, name)
    seen: set[str] = set()
    for source in sources:
        if source.file.lower() in seen:  # some file systems know no case
            raise DataError(f"manifest {name} names the file '{source.file}' twice.")
        seen.add(source.file.lower())
    if not sources:
        raise DataError(f"manifest {name} has no rows.")
    return sources


def _sources(text: str, name: str) -> list[Source]:
    return [_parse(row, f"{name}, line {line}") for line, row in _rows(text, name)]


def _rows(text: str, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text))
    needed = [*_CHECKS, "bytes", "licence", "subject", "fps", "sharpness", "tier"]
    lacking = [column for column in needed if column not in (reader.fieldnames or ())]
    if lacking:
        raise DataError(f"manifest {name} lacks the column(s) {', '.join(lacking)}.")
    for row in reader:
        if None in row or None in row.values():
            raise DataError(f"manifest {name}, line {reader.line_num}: wrong number of columns.")
        yield reader.line_num, row


# What may stand in the columns that become parts of a path or of an address.
_CHECKS = {
    "file": r"[A-Za-z0-9_][A-Za-z0-9._-]*",
    "sha256": r"[0-9a-f]{64}",
    "repository": r"[A-Za-z0-9_-][A-Za-z0-9._-]*/[A-Za-z0-9_-][A-Za-z0-9._-]*",
    "commit": r"[0-9a-f]{40}",
    "path": r"[^\\\x00-\x1f]+",
}


def _parse(row: dict[str, str], where: str) -> Source:
    for column, pattern in _CHECKS.items():
        if not re.fullmatch(pattern, row[column]):
            raise DataError(f"manifest {where}: '{row[column]}' is not a valid {column}.")
    parts = PurePosixPath(row["path"]).parts
    if row["path"].startswith("/") or ".." in parts:
        raise DataError(f"manifest {where}: path '{row['path']}' leaves its repository.")
    try:
        size, fps, sharpness = int(row["bytes"]), float(row["fps"]), float(row["sharpness"])
    except ValueError as error:
        raise DataError(f"manifest {where}: {error}.") from error
    if size <= 0:
        raise DataError(f"manifest {where}: '{size}' is not a valid number of bytes.")
    texts = {name: row[name] for name in (*_CHECKS, "licence", "subject", "tier")}
    return Source(**texts, bytes=size, fps=fps, sharpness=sharpness, row=row)


def select(
    sources: Iterable[Source],
    *,
    tier: str | None = None,
    min_fps: float = 0.0,
    min_sharpness: float = 0.0,
) -> list[Source]:
    """Keep the sources of a tier (None = all) with at least that frame rate and sharpness."""
    sources = list(sources)
    tiers = sorted({source.tier for source in sources})
    if tier is not None and tier not in tiers:
        raise unknown("tier", tier, tiers)
    kept = [
        source
        for source in sources
        if tier in (None, source.tier)
        and source.fps >= min_fps
        and source.sharpness >= min_sharpness
    ]
    if not kept:
        raise UsageError(
            f"none of the {len(sources)} files has fps >= {min_fps:g} and sharpness >= "
            f"{min_sharpness:g}; ask for less."
        )
    return kept


def fetch(
    sources: list[Source],
    out: Path,
    *,
    mirror: Path | None = None,
    base_url: str | None = None,
    on_bytes: OnBytes | None = None,
) -> Fetched:
    """Bring every file into `out`, verified; then write subjects.csv and manifest.csv beside them.

    Files that are there with the right bytes are kept, partial downloads are continued; the tables
    keep the rows of videos that came from other selections and are still there. With
    `mirror` nothing is downloaded: files come from that local folder, found by name or by content.
    A file that cannot be had is in `missing` with the reason; only the disk raises (DataError).
    """
    if mirror is not None and not mirror.is_dir():
        raise UsageError(f"mirror '{mirror}' is not a folder; expected one that holds the files.")
    if base_url is not None and not re.match(r"https?://[^/]", base_url):
        raise UsageError(f"base URL '{base_url}' is not an http(s) address.")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    earlier = _earlier(sources, out)
    result, meter = Fetched(), _Meter(sum(source.bytes for source in sources), on_bytes)
    todo = []
    for source in sources:
        if _is_right(out / source.file, source):
            result.there.append(source.file)
            meter.add(source.bytes)
        else:
            todo.append(source)
    if mirror is not None:
        _copy_all(todo, out, mirror, result, meter)
    else:
        _download_all(todo, out, base_url, result, meter)
    present = [source for source in sources if source.file not in result.missing]
    columns = dict.fromkeys(column for source in earlier + sources for column in source.row)
    _write_tables(earlier + present, list(columns), out)
    return result


def _earlier(sources: list[Source], out: Path) -> list[Source]:
    """List the videos of other selections that are in `out`, as its manifest.csv tells."""
    path, asked = out / "manifest.csv", {source.file.lower() for source in sources}
    if not path.exists():
        return []
    try:
        known = _sources(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, DataError) as error:
        raise DataError(
            f"cannot tell which videos are in {out}: {error} Delete {path} or choose another --out."
        ) from error
    return [s for s in known if s.file.lower() not in asked and (out / s.file).is_file()]


class _Meter:
    """Adds up the bytes of all threads for one progress bar."""

    def __init__(self, total: int, on_bytes: OnBytes | None) -> None:
        self.done, self.total, self._on_bytes, self._lock = 0, total, on_bytes, threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self.done += count
            if self._on_bytes is not None:
                self._on_bytes(self.done, self.total)


def _is_right(path: Path, source: Source) -> bool:
    return path.is_file() and path.stat().st_size == source.bytes and sha256(path) == source.sha256


def _copy_all(todo: list[Source], out: Path, mirror: Path, result: Fetched, meter: _Meter) -> None:
    by_size: dict[int, list[Path]] = {}
    for path in sorted(mirror.rglob("*")):
        if path.is_file():
            by_size.setdefault(path.stat().st_size, []).append(path)
    for source in todo:
        same_size = by_size.get(source.bytes, [])
        candidates = sorted(same_size, key=lambda path: path.name != source.file)
        found = next((path for path in candidates if _is_right(path, source)), None)
        if found is None:
            reason = f"no file in {mirror} has its content (sha256 {source.sha256[:12]}...)"
            result.missing[source.file] = reason
        else:
            with replacing(out / source.file) as temporary:
                temporary.write_bytes(found.read_bytes())
            result.got.append(source.file)
        meter.add(source.bytes)


def _download_all(
    todo: list[Source], out: Path, base_url: str | None, result: Fetched, meter: _Meter
) -> None:
    if not todo:
        return
    parts, line = out / ".partial", Line(count=meter.add)
    with writing(parts):
        parts.mkdir(exist_ok=True)
    with ThreadPoolExecutor(PARALLEL) as pool:
        jobs = {}
        for source in todo:
            download = Download(
                repository=source.repository,
                commit=source.commit,
                path=source.path,
                size=source.bytes,
                sha256=source.sha256,
                target=out / source.file,
                part=parts / f"{source.sha256}.part",
                base_url=base_url,
            )
            jobs[pool.submit(fetch_file, download, line)] = source
        try:
            done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
        finally:  # also after Ctrl-C or a full disk: let no thread run on
            line.stop.set()
            pool.shutdown(cancel_futures=True)
    for job in done:
        job.result()  # raises what stopped it
    for job, source in jobs.items():
        if reason := job.result():
            result.missing[source.file] = f"{reason} ({source.where})"
        else:
            result.got.append(source.file)
    if not any(parts.iterdir()):
        parts.rmdir()


def _write_tables(present: list[Source], columns: list[str], out: Path) -> None:
    """Write subjects.csv (for `data prepare --subjects`) and manifest.csv of what is there."""
    subjects = [{"file": source.file, "subject": source.subject} for source in present]
    write_atomic(out / "subjects.csv", _to_csv(["file", "subject"], subjects))
    write_atomic(out / "manifest.csv", _to_csv(columns, [source.row for source in present]))


def _to_csv(columns: list[str], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
