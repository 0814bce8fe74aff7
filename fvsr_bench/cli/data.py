"""`fvsr-bench data`: raw videos -> face clips, checking them, looking at them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fvsr_bench.cli import data_sources, export
from fvsr_bench.cli.output import print_json, say
from fvsr_bench.cli.run import JSON

if TYPE_CHECKING:
    from fvsr_bench.data.prepare import Prepared
    from fvsr_bench.data.store import Dataset

app = typer.Typer(
    help="Datasets of face clips: make, check and look at them.", no_args_is_help=True
)
app.command()(data_sources.demo)
app.command()(data_sources.fetch)
app.command("export")(export.data_export)


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
    as_json: bool = JSON,
) -> None:
    """Make a dataset of 32-frame face clips (HR 160x160, LR 40x40) from raw videos.

    Interrupted, the same command continues; run again, it changes nothing.

    Examples:

      fvsr-bench data prepare 300VW_Dataset --out data/300vw --max-per-subject 6

      fvsr-bench data prepare videos --out data/mine --subjects who.csv --max-per-subject 6
    """
    from fvsr_bench.data.inputs import PrepareOptions
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
    if as_json:
        print_json(_prepared_json(done))
    else:
        _print_prepared(done)


@app.command()
def recut(
    source: Path = typer.Argument(..., metavar="SRC", help="Folder of videos."),
    index: str = typer.Option(..., help="faceclips, or the index.csv of a dataset."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the new dataset."),
    name: str = typer.Option("", help="Name of the dataset in tables. Default: that of --out."),
    degradation: str = typer.Option("bi", help="How LR is made: bi, bd15 or bd16."),
) -> None:
    """Cut the clips that another dataset's index names: the same pixels on every machine.

    No face is looked for. `data prepare` finds the same clips, but a detector's last digits depend
    on the processor, and crops move by hundredths of a pixel. Interrupted, it continues.

    Examples:

      fvsr-bench data recut data/raw --index faceclips --out data/faceclips

      fvsr-bench data recut videos --index theirs/index.csv --out data/theirs
    """
    from fvsr_bench.cli.output import progress_bar
    from fvsr_bench.data.recut import PINNED
    from fvsr_bench.data.recut import recut as run

    with progress_bar("cutting") as tick:
        made = run(source, index, out, name=name, degradation=degradation, progress=tick)
    say(f"{made.name} ({made.id}): {len(made.index)} clips: {out}")
    if degradation == "bi" and PINNED.get(index, made.id) != made.id:
        say(f"note: the pinned {index} is {PINNED[index]}: the videos were decoded otherwise here.")


@app.command()
def redegrade(
    where: str = typer.Argument(..., metavar="DIR", help="A dataset folder, or demo."),
    degradation: str = typer.Option(..., help="How LR is made: bi, bd15 or bd16."),
    out: Path = typer.Option(..., "--out", "-o", help="Folder of the new dataset."),
) -> None:
    """Make a second dataset of the same HR frames with LR frames of another degradation.

    Interrupted, the same command continues. HR frames are hard links: they take no space.

    Example:

      fvsr-bench data redegrade data/faceclips --degradation bd15 --out data/faceclips-bd15
    """
    from fvsr_bench.cli.output import progress_bar
    from fvsr_bench.data.redegrade import redegrade as run
    from fvsr_bench.data.store import open_dataset

    with progress_bar("degrading") as tick:
        made = run(open_dataset(where), degradation, out, tick)
    say(f"{made.name} ({made.id}): {len(made.index)} clips, LR by {made.degradation.name}: {out}")


@app.command()
def check(
    where: str = typer.Argument(..., metavar="DIR", help="A dataset folder, or demo."),
) -> None:
    """Verify a dataset: pixels, LR frames, counts, ranges, and that no one is in two splits.

    Example:

      fvsr-bench data check data/300vw
    """
    from fvsr_bench.cli.output import progress_bar
    from fvsr_bench.data.check import check_dataset
    from fvsr_bench.data.store import open_dataset
    from fvsr_bench.errors import DataError

    dataset = open_dataset(where)
    with progress_bar("checking") as report:
        problems = check_dataset(dataset, report)
    for problem in problems[:20]:
        typer.echo(f"- {problem}", err=True)
    if problems:
        more = f" (the first 20 of {len(problems)} above)" if len(problems) > 20 else ""
        raise DataError(
            f"{dataset.root} has {len(problems)} problem(s){more}. Delete it and prepare it again."
        )
    frames = int(dataset.index["frames"].sum())
    say(f"{dataset.name} ({dataset.id}): {len(dataset.index)} clips, {frames} frames, all good.")


@app.command()
def show(
    where: str = typer.Argument(..., metavar="DIR", help="A dataset folder, or demo."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Where to write the picture. Default: NAME-sheet.png here."
    ),
    clips: int = typer.Option(16, min=1, help="Most clips on the picture."),
    split: str = typer.Option("", help="Only this split: train, val or test."),
    landmarks: bool = typer.Option(False, help="Draw the five landmarks."),
    as_json: bool = JSON,
) -> None:
    """Print the sizes of a dataset beside the paper's Table 1; write a contact sheet (PNG).

    Examples:

      fvsr-bench data show data/300vw

      fvsr-bench data show demo --split test --clips 45 -o demo.png
    """
    from rich.table import Table

    from fvsr_bench.cli.output import box, console
    from fvsr_bench.data.sheet import contact_sheet, table_1
    from fvsr_bench.data.store import open_dataset

    dataset = open_dataset(where)
    path = out or Path(f"{dataset.name}-sheet.png")
    contact_sheet(dataset, path, clips=clips, split=split or None, landmarks=landmarks)
    rows = table_1(dataset)
    if as_json:
        names = ("split", "paper_clips", "paper_frames", "clips", "frames", "subjects")
        table_1_rows = [dict(zip(names, row, strict=True)) for row in rows]
        facts = {"name": dataset.name, "id": dataset.id, "picture": str(path)}
        print_json({**facts, "table1": table_1_rows, "notes": dataset.meta.notes})
        return
    table = Table("split", "paper: clips", "frames", "ours: clips", "frames", "subjects", box=box())
    for row in rows:
        table.add_row(*map(str, row))
    console().print(table)
    meta = dataset.meta
    say(
        f"{dataset.name} ({dataset.id}): LR {meta.degradation.name}, phase "
        f"{meta.degradation.phase}; crop {meta.crop}, margin {meta.margin}; "
        f"split by {meta.split_by}, seed {meta.seed}."
    )
    if meta.notes:
        say(meta.notes)
    say(f"picture: {path}")


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


def _split_sizes(dataset: "Dataset") -> dict[str, dict[str, int]]:
    """Count clips, frames and subjects of each split."""
    sizes = {}
    for split in ("train", "val", "test"):
        rows = dataset.index[dataset.index["split"] == split]
        counts = {"clips": len(rows), "frames": int(rows["frames"].sum())}
        sizes[split] = {**counts, "subjects": int(rows["subject"].nunique())}
    return sizes


def _prepared_json(done: "Prepared") -> dict[str, Any]:
    """Return what `_print_prepared` prints."""
    return {
        "name": done.dataset.name,
        "id": done.dataset.id,
        "folder": str(done.dataset.root),
        "unchanged": done.unchanged,
        "splits": _split_sizes(done.dataset),
        "left_out_frames": dict(done.skipped),
        "notes": list(done.notes),
    }


def _print_prepared(done: "Prepared") -> None:
    """Print what was made, what was left out and why."""
    from rich.table import Table

    from fvsr_bench.cli.output import box, console

    dataset, out = done.dataset, console()
    if done.unchanged:
        say(f"nothing to do: {dataset.root} is complete ({dataset.id}).")
    table = Table("split", "clips", "frames", "subjects", box=box(), title=dataset.name)
    for split, sizes in _split_sizes(dataset).items():
        table.add_row(split, *map(str, sizes.values()))
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
