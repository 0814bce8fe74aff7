"""`fvsr-bench data demo` and `data fetch`: datasets that need no videos of your own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fvsr_bench.cli.output import progress_bar, say

if TYPE_CHECKING:
    from fvsr_bench.data.sources import Fetched, Source
    from fvsr_bench.data.store import Dataset


def demo(
    again: bool = typer.Option(False, "--again", help="Make it anew even if it is there."),
) -> None:
    """Make the built-in demo set: 45 clips animated from photographs in installed packages.

    It is made once and kept in the cache folder ($FVSR_BENCH_CACHE, else the platform's). `run`,
    `train`, `data show` and `data check` take it as the dataset called demo.

    Examples:

      fvsr-bench data demo

      fvsr-bench data show demo
    """
    from fvsr_bench.data.demo import demo_ready

    there = demo_ready() and not again
    make_demo(again=again)
    dataset = open_data("demo")
    people = dataset.index["subject"].nunique()
    if there:
        say(f"nothing to do: {dataset.root} is complete ({dataset.id}).")
    else:
        say(f"made {dataset.root} ({dataset.id}): {len(dataset.index)} clips of {people} people.")
    say(f"note: {dataset.meta.notes}")


def open_data(where: str | Path) -> "Dataset":
    """Open a dataset for a command; the demo set is made first, with a progress bar."""
    from fvsr_bench.data.store import open_dataset

    if str(where) == "demo":
        make_demo()
    return open_dataset(where)


def make_demo(*, again: bool = False) -> None:
    """Make the demo set with a progress bar, unless it is there."""
    from fvsr_bench.data.demo import demo_ready, ensure_demo

    if demo_ready() and not again:
        return
    with progress_bar("demo set (once)") as show:
        ensure_demo(lambda done, total: show("demo set (once)", done, total), again=again)


def fetch(
    name: str = typer.Argument(..., metavar="NAME", help="faceclips, or a manifest of your own."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder for the videos."),
    mirror: Path | None = typer.Option(
        None, help="Take the files from this local folder, by name or content; no download."
    ),
    base_url: str | None = typer.Option(
        None, help="Download from URL/owner/name/commit/path instead of GitHub."
    ),
    tier: str | None = typer.Option(None, help="Only this tier: A is a face of 130 px or more."),
    min_fps: float = typer.Option(0.0, help="Only videos with at least this frame rate."),
    min_sharpness: float = typer.Option(
        0.0, help="Only faces at least this sharp; 60 is not soft."
    ),
) -> None:
    """Fetch a pinned public dataset of face videos, each file from its own public repository.

    Every file is checked against the SHA-256 in the manifest. Interrupted, the same command
    continues; run again, it fetches only what is missing. Beside the videos it writes subjects.csv
    (for `data prepare`) and manifest.csv (origin and licence). The videos are for research: several
    of their sources do not allow passing them on.

    Examples:

      fvsr-bench data fetch faceclips --out data/raw

      fvsr-bench data fetch faceclips --out data/raw --tier A --min-fps 20 --min-sharpness 60

    and then the command that it prints at its end: `data recut` where the package's own index fits,
    else `data prepare`.
    """
    from fvsr_bench.data.sources import fetch as run
    from fvsr_bench.data.sources import load_manifest, select

    sources = select(load_manifest(name), tier=tier, min_fps=min_fps, min_sharpness=min_sharpness)
    with _bytes_bar(name) as show:
        result = run(sources, out, mirror=mirror, base_url=base_url, on_bytes=show)
    _print_fetched(name, result, sources, out)


@contextmanager
def _bytes_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show MB done, MB/s and the time left on stderr, if that is a terminal."""
    from rich import progress
    from rich.console import Console

    stderr = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(
        *columns, console=stderr, disable=not stderr.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_fetched(name: str, result: "Fetched", sources: "list[Source]", out: Path) -> None:
    """Print a summary; raise DataError with the way on if a file is missing."""
    from fvsr_bench.data.recut import PINNED, read_index
    from fvsr_bench.data.sources import PREPARE
    from fvsr_bench.errors import DataError

    size = sum(source.bytes for source in sources if source.file in set(result.got))
    say(
        f"{out}: {len(result.got)} fetched ({size / 1e6:.0f} MB), {len(result.there)} there "
        f"before, {len(result.missing)} missing, of {len(sources)} files."
    )
    for file, reason in sorted(result.missing.items()):
        say(f"missing {file}: {reason}")
    if result.missing:
        raise DataError(
            f"{len(result.missing)} of {len(sources)} files are missing in {out} (listed above). "
            "Run the same command again to try them again (behind a proxy: set HTTPS_PROXY; from "
            "a local copy: --mirror DIR), or prepare the others as they are."
        )
    if name in PINNED and {info.source for info in read_index(name)[0]} <= {
        s.file for s in sources
    }:
        say(f"next: fvsr-bench data recut {out} --index {name} --out data/{name}")
        return
    command = f"fvsr-bench data prepare {out} --out DIR --subjects {out / 'subjects.csv'}"
    say(f"next: {command} {PREPARE.get(name, '')}".rstrip())
