"""`fvsr-bench data export` and `fvsr-bench export`: our frames and networks for other programs."""

from pathlib import Path

import typer

from fvsr_bench.cli.output import progress_bar, say

app = typer.Typer()


def data_export(
    dataset: str = typer.Argument(..., metavar="DIR", help="A dataset folder, or demo."),
    out: Path = typer.Option(..., "--out", "-o", help="New folder for the exported frames."),
    layout: str = typer.Option(
        "frames", "--format", help="frames (PNG per clip), basicsr, or mp4 (lossless H.264)."
    ),
    split: str = typer.Option("test", "--split", help="test, val, train or all."),
) -> None:
    """Write exactly our LR and HR frames in a layout that other people's code reads.

    A README.txt beside them says what lies where and how to score what comes back.

    Examples:

      fvsr-bench data export demo --out for-others

      fvsr-bench data export data/mine --format basicsr --out basicsr/datasets/mine
    """
    from fvsr_bench.cli.data_sources import open_data
    from fvsr_bench.data.export import export_dataset

    data = open_data(dataset)
    with progress_bar("exporting") as tick:
        count = export_dataset(
            data, out, layout, split=None if split == "all" else split, progress=tick
        )
    say(f"wrote {count} clips to {out} (read {out / 'README.txt'})")
