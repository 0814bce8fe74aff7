"""`fvsr-bench plot`: the paper's figures from what is stored, and the curves of trainings."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fvsr_bench.cli.output import progress_bar, say
from fvsr_bench.cli.report import DATASET, OUT, PRIVATE, PROTOCOL, RESULTS, find_setting

if TYPE_CHECKING:
    import pandas as pd

    from fvsr_bench.report.results import Results
    from fvsr_bench.spec import EvalProtocol

app = typer.Typer(help="Draw the paper's figures again from what is stored.", no_args_is_help=True)


@app.command("training")
def plot_training(
    runs: list[Path] = typer.Argument(
        help="Run folders of `train`, e.g. runs/fapn-bi-…; or kept curves, a training.csv."
    ),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Folder of the figure.  [default: that of the run or CSV]"
    ),
) -> None:
    """Draw the curves of a training run, or compare several over steps and over arithmetic.

    One run: loss terms and validation PSNR (training.png). Several: training.csv, .md and .png;
    from such a CSV the same can be made again without the runs, and more runs added.

    Examples:

      fvsr-bench plot training runs/fapn-bi-70f3b3fe9c22

      fvsr-bench plot training runs/*-bi-* --out results/faceclips

      fvsr-bench plot training results/faceclips/training.csv

      fvsr-bench plot training results/faceclips/training.csv runs/fapn-mine-… --out results/mine
    """
    from fvsr_bench.errors import UsageError
    from fvsr_bench.files import write_atomic
    from fvsr_bench.report.training import read_curves, read_log, training_figure

    runs = [run for run in runs if not run.name.endswith(".lock")]
    if len(runs) == 1 and runs[0].suffix != ".csv":
        run = runs[0]
        path = (out or (run if run.is_dir() else run.parent)) / "training.png"
        write_atomic(path, training_figure(read_log(run), run.name))
        say(str(path))
    elif len(runs) == 1:
        _write_curves(read_curves(runs[0]), out or runs[0].parent)
    elif out is None:
        raise UsageError("several runs go into one figure: say where with --out FOLDER.")
    else:
        _write_curves(_gather_curves(runs), out)


def _gather_curves(runs: list[Path]) -> "pd.DataFrame":
    import pandas as pd

    from fvsr_bench.errors import DataError, UsageError
    from fvsr_bench.registry import load_card, start_of, weights_tags
    from fvsr_bench.report.training import kept_curve, read_curves, read_log, run_name
    from fvsr_bench.speed import training_gflop

    curves: dict[str, pd.DataFrame] = {}
    with progress_bar("counting arithmetic") as tick:
        for done, run in enumerate(runs):
            if run.suffix == ".csv":
                by_network = read_curves(run).groupby("network", sort=False)
                kept = {str(name): curve for name, curve in by_network}
                if twice := sorted(kept.keys() & curves.keys()):
                    raise UsageError(f"two of these hold {twice[0]}: leave one out")
                curves |= kept
                continue
            method, tag = run_name(run)
            name = f"{method} {tag}"
            tick(name, done, len(runs))
            log = read_log(run) if tag in weights_tags(method) else None
            card = None if log is None else load_card(method, tag)
            steps = card.recipe.get("steps") if card else None
            if log is None or card is None or "val_psnr" not in log or log.index.max() != steps:
                say(f"{run} is left out: it is not the finished training of {method}/{tag}")
                continue
            if name in curves:
                raise UsageError(f"two of these runs are of {name}: leave one out")
            start = start_of(card)
            began = f"{method} {start.tag}" if start else ""
            curves[name] = kept_curve(log, name, training_gflop(card), began)
    if not curves:
        raise DataError(
            f"none of these {len(runs)} trainings has finished, so there is nothing to compare; "
            "the command `fvsr-bench train …` that began one continues it, and `fvsr-bench plot "
            "training RUN` draws a single one as far as it is."
        )
    return pd.concat(curves.values(), ignore_index=True)


def _write_curves(curves: "pd.DataFrame", folder: Path) -> None:
    import io

    from fvsr_bench.files import write_atomic
    from fvsr_bench.report.training import curves_csv, curves_figure, curves_markdown, read_curves

    note = "PSNR on whole validation clips while training; arithmetic of the network alone"
    text = curves_csv(curves)
    curves = read_curves(io.StringIO(text))  # rounded as it is kept: the same figure from either
    files: dict[str, bytes | str] = {
        "training.csv": text,
        "training.md": curves_markdown(curves, note),
        "training.png": curves_figure(curves, note),
    }
    for name, content in files.items():
        write_atomic(folder / name, content)
        say(str(folder / name))


@app.command("per-frame-psnr")
def plot_per_frame(
    results: Path = RESULTS, protocol: str = PROTOCOL, out: Path | None = OUT
) -> None:
    """Draw Fig. 5: mean PSNR frame by frame, first 10 frames and all; PNG, SVG and CSV.

    Example:

      fvsr-bench plot per-frame-psnr --results results/demo --out figures
    """
    from fvsr_bench.files import write_atomic
    from fvsr_bench.protocols import protocol as find_protocol
    from fvsr_bench.report import load_results, render_figure5

    loaded = load_results(results)
    for name, content in render_figure5(loaded, find_protocol(protocol)).items():
        path = (out or results) / name
        write_atomic(path, content)
        say(str(path))


CLIP = typer.Option(None, "--clip", help="Clips to draw, with commas.  [default: those kept]")


def _picture(name: str, what: str, example: str) -> None:
    """Add the command that draws one of the paper's pictures."""

    def command(
        results: Path = RESULTS,
        clip: str | None = CLIP,
        dataset: Path | None = DATASET,
        protocol: str = PROTOCOL,
        out: Path | None = OUT,
        private: bool = PRIVATE,
    ) -> None:
        draw_pictures(name, results, clip, dataset, protocol, out, private)

    title = name.replace("fig", "Fig. ")
    text = f"Draw {title}: {what}; PNG and PDF.\n\nExample:\n\n  fvsr-bench plot {name} {example}"
    app.command(name, help=text)(command)


_picture(
    "fig1",
    "LR, ours and ground truth over six consecutive frames",
    "--results results/demo --clip median",
)
_picture(
    "fig6",
    "three faces by every method, eyes and mouth enlarged",
    "--results results/demo --clip worst,median,best",
)
_picture(
    "fig7",
    "six consecutive frames by every method, eyes and mouth enlarged",
    "--results results/demo --clip worst",
)
_picture(
    "fig8",
    "one face by the whole network and by its ablations",
    "--results results/faceclips --dataset data/faceclips --clip median",
)


def draw_pictures(
    name: str,
    results: Path,
    clip: str | None,
    dataset: Path | None,
    protocol: str,
    out: Path | None,
    private: bool,
) -> None:
    """Draw one of the paper's pictures; frames of clips that are not kept are made first."""
    from fvsr_bench.files import write_atomic
    from fvsr_bench.protocols import protocol as find_protocol
    from fvsr_bench.report import load_results
    from fvsr_bench.report.choose import choose, ranking
    from fvsr_bench.report.pictures import Source, render_pictures
    from fvsr_bench.strips import read_clip, read_shown

    chosen, loaded = find_protocol(protocol), load_results(results)
    kept = read_shown(results)
    if clip is not None:
        ranked = ranking(loaded, chosen)
        found = choose(ranked, clip)
        if any(read_clip(results, name) is None for name in found):
            found = choose(ranked, clip, make_frames(loaded, chosen, clip, dataset, private))
        kept = [c for c in (read_clip(results, name) for name in found) if c is not None]
    for file, content in render_pictures(
        name, Source(results=loaded, protocol=chosen, clips=kept)
    ).items():
        path = (out or results) / file
        write_atomic(path, content)
        say(str(path))


def make_frames(
    results: "Results",
    protocol: "EvalProtocol",
    words: str,
    dataset: Path | None,
    private: bool,
) -> list[str]:
    """Make the missing frames of some clips; returns the clips that may be shown."""
    from fvsr_bench.evaluate.frames import keep_frames, showable
    from fvsr_bench.report.choose import choose, ranking

    setting = find_setting(results, protocol, dataset)
    ranked = ranking(results, protocol)
    able = showable(setting.dataset, ranked, private=private)
    clips = {clip: able[clip] for clip in choose(ranked, words, able)}
    with progress_bar("frames to draw") as tick:
        notes = keep_frames(results.root, clips, results.complete, setting, {}, tick)
    for note in notes:
        typer.echo(note, err=True)
    return list(able)
