"""Download one pinned file from a public repository: resumed, retried, verified, whole or not."""

import http.client
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fvsr_bench.files import sha256, writing

RAW = "https://raw.githubusercontent.com"
LFS = "https://media.githubusercontent.com/media"  # where the content of git LFS files lies
ATTEMPTS = 5  # in a row that bring no new byte
BACKOFF = 1.0  # seconds before the second attempt; doubles with each further one
TIMEOUT = 20.0  # seconds without an answer
UNREACHABLE = 8  # failed connections in a row, over all files, until the network counts as down
CHUNK = 1 << 16  # bytes
GONE = frozenset({400, 401, 404, 410, 451})  # HTTP status codes that trying again does not change
POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True, kw_only=True)
class Download:
    """What to fetch, and where it goes."""

    repository: str
    commit: str
    path: str
    size: int
    sha256: str
    target: Path
    part: Path  # where an unfinished download waits for the next run
    base_url: str | None = None  # instead of GitHub's two addresses (LFS content below /media)

    def address(self, *, lfs: bool) -> str:
        """Return the file's address, or that of its content if the file is a git LFS pointer."""
        base = self.base_url.rstrip("/") if self.base_url else LFS if lfs else RAW
        if self.base_url and lfs:
            base += "/media"
        return f"{base}/{self.repository}/{self.commit}/{urllib.parse.quote(self.path)}"


@dataclass(kw_only=True)
class Line:
    """What all downloads of one run share: the byte counter, the stop sign, is anybody there?"""

    count: Callable[[int], None]  # negative when a part had to be thrown away
    stop: threading.Event = field(default_factory=threading.Event)
    down: str = ""  # why nothing can be reached; then no further file is tried
    _silent: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self) -> None:
        """Note that a server answered."""
        with self._lock:
            self._silent = 0

    def unanswered(self, reason: str) -> None:
        """Note that no server answered; after `UNREACHABLE` times in a row the line is down."""
        with self._lock:
            self._silent += 1
            if self._silent >= UNREACHABLE:
                self.down = reason


class _TryAgain(Exception):
    def __init__(self, reason: str, after: float = 0.0) -> None:
        super().__init__(reason)
        self.after = after  # seconds the server asks us to wait


class _GiveUp(Exception):
    pass


def fetch_file(download: Download, line: Line) -> str:
    """Fetch one file into its place. Return "" when it is there, verified, else why it is not.

    Raises DataError when the disk refuses.
    """
    with writing(download.part):
        download.part.touch()
    line.count(_have(download))
    failures, furthest, lfs, guessed = 0, _have(download), False, False
    reason = "interrupted"
    while not line.stop.is_set() and not line.down:
        try:
            if _receive(download, line, lfs=lfs):
                lfs, guessed = True, _have(download) > 0  # no pointer was seen, only a refusal
                continue
            _finish(download, line, resumed=furthest > 0)
            return ""
        except _GiveUp as error:
            _discard(download, line)
            if guessed:  # the part was of no use: from the beginning, at the first address
                lfs, guessed, furthest = False, False, 0
                continue
            reason = str(error)
            break
        except _TryAgain as error:
            failures = 1 if _have(download) > furthest else failures + 1
            furthest = max(furthest, _have(download)) if _have(download) else 0
            if not furthest:  # with nothing in hand both addresses are asked again
                lfs = guessed = False
            if failures >= ATTEMPTS:
                reason = f"{error}; gave up after {ATTEMPTS} attempts"
                break
            line.stop.wait(max(error.after, BACKOFF * 2 ** (failures - 1)))
    if not _have(download):
        download.part.unlink(missing_ok=True)
    return line.down or reason


def _have(download: Download) -> int:
    return download.part.stat().st_size if download.part.exists() else 0


def _discard(download: Download, line: Line) -> None:
    line.count(-_have(download))
    with writing(download.part):
        download.part.write_bytes(b"")


def _receive(download: Download, line: Line, *, lfs: bool) -> bool:
    """Append what is missing to the part. Returns True if git LFS must be asked for it."""
    offset = _have(download)
    if offset > download.size:
        _discard(download, line)
        offset = 0
    if offset == download.size:
        return False
    headers = {"User-Agent": "fvsr-bench"} | ({"Range": f"bytes={offset}-"} if offset else {})
    request = urllib.request.Request(download.address(lfs=lfs), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            line.answered()
            if answer.status != 206 and offset:  # the server ignores Range: from the beginning
                _discard(download, line)
                offset = 0
            started = f"bytes {offset}-"
            if answer.status == 206 and not answer.headers.get("Content-Range", "").startswith(
                started
            ):
                _discard(download, line)
                raise _TryAgain("the server continued at another byte than asked")
            promised = offset + int(answer.headers.get("Content-Length") or download.size - offset)
            _append(answer, download, line)
    except urllib.error.HTTPError as error:
        line.answered()
        if error.code == 416 and not lfs:  # a pointer is shorter than our part of its content
            error.close()
            return True
        _refused(error, download, line)
    except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
        reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        if isinstance(error, urllib.error.URLError):
            line.unanswered(f"cannot reach {urllib.parse.urlsplit(request.full_url).netloc}")
        raise _TryAgain(f"connection failed: {reason}") from error
    return _judge(download, line, promised, lfs=lfs)


def _append(answer: http.client.HTTPResponse, download: Download, line: Line) -> None:
    room = download.size + 1 - _have(download)  # one byte more tells that the file is too long
    with writing(download.part), download.part.open("ab") as part:
        while room > 0 and not line.stop.is_set():
            try:
                chunk = answer.read(min(CHUNK, room))
            except (OSError, http.client.HTTPException):
                break  # what came is kept; the caller sees that it is too short
            if not chunk:
                break
            part.write(chunk)
            room -= len(chunk)
            line.count(len(chunk))


def _refused(error: urllib.error.HTTPError, download: Download, line: Line) -> None:
    with error:
        wait = error.headers.get("Retry-After", "")
        reason = f"HTTP {error.code} {error.reason}"
    if error.code in GONE:
        raise _GiveUp(reason)
    if error.code == 416:  # our part is not a beginning of their file
        _discard(download, line)
    raise _TryAgain(reason, after=min(float(wait), 60.0) if wait.isdigit() else 0.0)


def _judge(download: Download, line: Line, promised: int, *, lfs: bool) -> bool:
    """Decide what an ended answer means: all there, cut short, an LFS pointer or another file."""
    have = _have(download)
    if have == download.size:
        return False
    with download.part.open("rb") as part:
        pointer = part.read(len(POINTER)) == POINTER
    if pointer and not lfs:
        _discard(download, line)
        return True
    if have < download.size and have < promised:
        raise _TryAgain(f"connection closed after {have} of {download.size} bytes")
    size = promised if have < download.size else "more"
    raise _GiveUp(f"wrong content: {size} bytes, expected {download.size}")


def _finish(download: Download, line: Line, *, resumed: bool) -> None:
    found = sha256(download.part)
    if found == download.sha256:
        with writing(download.target):
            os.replace(download.part, download.target)
        return
    reason = f"wrong content: sha256 {found[:12]}..., expected {download.sha256[:12]}..."
    if resumed:  # perhaps only the older part was bad
        _discard(download, line)
        raise _TryAgain(reason)
    raise _GiveUp(reason)
