"""`fvsr-bench data`: raw videos -> face clips, checking them, looking at them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fvsr_bench.cli import data_sources
from fvsr_bench.cli.output import say

if TYPE_CHECKING:
    from fvsr_bench.data.prepare import Prepared

app = typer.Typer(
    help="Datasets of face clips: make, check and look at them.", no_args_is_help=True
)
app.command()(data_sources.demo)
app.command()(data_sources.fetch)


@app.command()
def prepare(
    source: Path = typer.Argument(..., metavar="SRC", help="Folder of videos, or one video."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the new dataset."),
    name: str = typer.Option("", help="Name of the dataset in tables. Default: that of --out."),
    degradation: str = typer.Option("bi", help="How LR is made: bi, bd15 or bd16."),
    crop: str = typer.Option("per-frame", help="per-frame (the paper's) or steady (one box)."),
    margin: float = typer.Option(1.0, help="Side of the crop / longer side of MTCNN's face box."),
    smooth: float = typer.Option(
        0.0, help="Smooth per-frame boxes over time: sigma in frames; 0 = as MTCNN gives them."
    ),
    min_face: float = typer.Option(64.0, help="Smallest face (longer side of its box) in px."),
    subjects: Path | None = typer.Option(None, help="CSV with columns file,subject."),
    only_listed: bool = typer.Option(False, help="Use only the videos that --subjects names."),
    max_per_subject: int = typer.Option(0, help="Most clips of one subject; 0 = no limit."),
    split: str = typer.Option("subject", help="subject (nobody in two splits) or sequence."),
    counts: tuple[int, int, int] = typer.Option(
        (340, 15, 45), help="Clips for train, val and test, as in the paper's Table 1."
    ),
    seed: int = typer.Option(0, help="Seed of the division into splits."),
    jobs: int = typer.Option(0, help="Videos worked on at once; 0 = one per core."),
) -> None:
    """Make a dataset of 32-frame face clips (HR 160x160, LR 40x40) from raw videos.

    Interrupted, the same command continues; run again, it changes nothing.

    Examples:

      fvsr-bench data prepare 300VW_Dataset --out data/300vw

      fvsr-bench data prepare videos --out data/mine --subjects who.csv --max-per-subject 6
    """
    from fvsr_bench.data.prepare import PrepareOptions
    from fvsr_bench.data.prepare import prepare as run
    from fvsr_bench.data.video import count_frames, find_videos

    options = PrepareOptions(
        name=name or out.resolve().name,
        degradation=degradation,
        crop=crop,
        margin=margin,
        smooth=smooth,
        min_face=min_face,
        split=split,
        counts=counts,
        max_per_subject=max_per_subject,
        seed=seed,
    )
    total = sum(count_frames(video) for video in find_videos(source))
    with _frames_bar(total) as tick:
        done = run(
            source,
            out,
            options,
            subjects=subjects,
            only_listed=only_listed,
            jobs=jobs,
            progress=tick,
        )
    _print_prepared(done)


@contextmanager
def _frames_bar(total: int) -> Iterator[Callable[[int], None]]:
    """Show frames done, frames/s and the time left on stderr, if that is a terminal."""
    from rich import progress
    from rich.console import Console

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{task.speed:,.0f} frames/s" if task.speed else ""

    stderr = Console(stderr=True)
    columns = (
        progress.TextColumn("frames"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        Rate(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(
        *columns, console=stderr, disable=not stderr.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("", total=total or None)
        yield lambda frames: bar.advance(task, frames)


def _print_prepared(done: "Prepared") -> None:
    """Print what was made, what was left out and why."""
    from rich.table import Table

    from fvsr_bench.cli.output import box, console

    dataset, out = done.dataset, console()
    if done.unchanged:
        say(f"nothing to do: {dataset.root} is complete ({dataset.id}).")
    table = Table("split", "clips", "frames", "subjects", box=box(), title=dataset.name)
    for split in ("train", "val", "test"):
        rows = dataset.index[dataset.index["split"] == split]
        values = (len(rows), int(rows["frames"].sum()), rows["subject"].nunique())
        table.add_row(split, *map(str, values))
    out.print(table)
    if done.skipped:
        left = Table("left out because", "frames", box=box(), title="skipped.csv")
        for reason, frames in done.skipped.most_common(12):
            left.add_row(reason, str(frames) if frames else "whole file")
        out.print(left)
    for note in done.notes:
        say(f"note: {note}")
    if not done.unchanged:
        say(f"made {dataset.root} ({dataset.id}): {len(dataset.index)} clips.")
