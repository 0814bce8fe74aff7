"""`fvsr-bench explain`: experiments that test where a published number may come from."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fvsr_bench.explain.finding import Finding

app = typer.Typer(help="Experiments: does a suspected cause explain a published number?")


@app.callback()
def _group() -> None:
    """Experiments: does a suspected cause explain a published number?"""


@app.command()
def phase(
    data: str = typer.Option(
        "data/faceclips", "--data", "-d", help="Dataset with LR frames by bi, or demo."
    ),
    blurred: str = typer.Option("bd15", "--degradation", help="The other: bd15 or bd16."),
    twin: Path | None = typer.Option(
        None, "--twin", help="Folder of the other dataset; made when missing.  [default: DATA-bd15]"
    ),
    out: Path = typer.Option(Path("results/phase"), "--out", "-o", help="Results folder."),
    one_way: bool = typer.Option(
        False, "--one-way", help="Only LR frames by bi: half the time, and all that the test needs."
    ),
    reuse: Path | None = typer.Option(
        None, "--reuse", help="Results folder whose runs are taken over.  [default: results/NAME]"
    ),
    split: str = typer.Option("test", "--split", help="Clips of this split: test, val or train."),
    limit: int = typer.Option(0, "--limit", min=0, help="Only the first N clips; 0 = all."),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1 or mps."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on stdout instead of text."),
) -> None:
    """Do weights for another decimation phase explain the paper's FRVSR and TecoGAN?

    Evaluates FRVSR and TecoGAN with weights made for either kind of LR frames on both kinds, with
    bicubic and VESPCN as references. Networks that are not trained yet are named with the command
    that trains them; what exists is evaluated. Skips what is there.

    Examples:

      fvsr-bench explain phase --data data/faceclips --out results/phase

      fvsr-bench explain phase --data demo --limit 5
    """
    from fvsr_bench.cli.output import print_json, progress_bar, say
    from fvsr_bench.data.store import open_dataset
    from fvsr_bench.explain.finding import level_rows
    from fvsr_bench.explain.phase import make_twin, plan_phase, run_phase, twin_folder
    from fvsr_bench.explain.text import markdown, sentence
    from fvsr_bench.infer import choose_device

    dataset = open_dataset(data)
    folder = twin_folder(dataset, blurred, twin)
    other = None
    if not one_way:
        with progress_bar("degrading") as tick:
            other = make_twin(dataset, blurred, folder, tick)
    plan = plan_phase(data, str(folder), blurred)
    with progress_bar("evaluating") as tick:
        finding = run_phase(
            dataset,
            other,
            plan.jobs,
            out,
            split=split,
            limit=limit,
            device=str(choose_device(device)),
            reuse=reuse or Path("results") / dataset.name,
            progress=tick,
        )
    paths = _write(finding, plan.missing, out)
    if as_json:
        tests = [
            {"method": t.method, "answer": t.answer, "text": sentence(t)} for t in finding.tests
        ]
        files = [str(path) for path in paths]
        missing = list(plan.missing)
        print_json(
            {"tests": tests, "levels": level_rows(finding), "missing": missing, "files": files}
        )
        return
    say(markdown(finding, plan.missing))
    for path in paths:
        say(str(path))


def _write(finding: "Finding", missing: tuple[str, ...], out: Path) -> list[Path]:
    from fvsr_bench.explain.finding import level_rows
    from fvsr_bench.explain.text import figure, markdown
    from fvsr_bench.files import write_atomic
    from fvsr_bench.report.figures import close, render
    from fvsr_bench.report.text import csv_text

    drawing = figure(finding)
    files: dict[str, bytes | str] = {
        "phase.csv": csv_text(level_rows(finding)),
        "phase.md": markdown(finding, missing),
        "phase.png": render(drawing, "png"),
        "phase.svg": render(drawing, "svg"),
    }
    close(drawing)
    for name, content in files.items():
        write_atomic(out / name, content)
    return [out / name for name in files]
