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
        "data/faceclips", "--data", "--dataset", "-d", help="Dataset with LR frames by bi, or demo."
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

      fvsr-bench explain phase --data demo --limit 5 --out runs/phase
    """
    from fvsr_bench.cli.output import print_json, progress_bar, say
    from fvsr_bench.data.redegrade import redegrade
    from fvsr_bench.data.store import open_dataset
    from fvsr_bench.explain.finding import level_rows
    from fvsr_bench.explain.phase import check_out, plan_phase, run_phase, twin_folder
    from fvsr_bench.explain.text import markdown, sentence
    from fvsr_bench.infer import choose_device

    dataset = open_dataset(data)
    check_out(out, blurred, dataset)
    folder = twin_folder(dataset, blurred, twin)
    other = None
    if not one_way:
        with progress_bar("degrading") as tick:
            other = redegrade(dataset, blurred, folder, tick)
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


@app.command()
def number(
    value: float = typer.Argument(help="The number, as printed somewhere: 31.06"),
    method: str = typer.Argument(help="METHOD, METHOD@WEIGHTS or a run id of the results."),
    metric: str = typer.Option("psnr", "--metric", help="psnr or ssim."),
    results: Path = typer.Option(
        Path("results/demo"), "--results", "-r", help="Results folder that holds the run."
    ),
    within: float = typer.Option(
        0.0, "--within", min=0, help="What counts as the same.  [default: 0.1 dB; SSIM 0.002]"
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on stdout instead of text."),
) -> None:
    """Under which convention would the stored records of METHOD give a number that was printed?

    Goes through {RGB, Y studio, Y full} x crop {0, 4, 8} x frames x average (or SSIM window), and
    the conventions of published code. Runs no network.

    Examples:

      fvsr-bench explain number 34.2 fapn --results results/faceclips

      fvsr-bench explain number 0.941 sofvsr --metric ssim --results results/faceclips
    """
    from fvsr_bench.cli.output import print_json, say
    from fvsr_bench.compare import find_run
    from fvsr_bench.explain.number import find_origin, origin_rows, origin_text
    from fvsr_bench.report.results import load_results

    loaded = load_results(results)
    origin = find_origin(loaded, find_run(loaded, method), metric, value, within)
    if as_json:
        print_json(origin_rows(origin))
    else:
        say(origin_text(origin, f"{loaded.data_note()}."))


@app.command()
def network(
    networks: list[str] = typer.Argument(help="METHOD or METHOD@WEIGHTS, e.g. fapn frvsr@bi."),
    data: str = typer.Option(
        "data/faceclips", "--data", "--dataset", "-d", help="Dataset folder, or demo."
    ),
    split: str = typer.Option("val", "--split", help="Clips of this split: val, train or test."),
    limit: int = typer.Option(0, "--limit", min=0, help="Only the first N clips; 0 = all."),
    out: Path = typer.Option(Path("runs/network"), "--out", "-o", help="Results folder."),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1 or mps."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON on stdout instead of text."),
) -> None:
    """What does a trained network make of its parts: motion, memory, the frames around?

    Takes parts of the state away while it runs, and measures what its flow aligns, how many
    channels are dead, and how strongly the loss pulls at the flow network.

    Examples:

      fvsr-bench explain network fapn frvsr sofvsr --data data/faceclips

      fvsr-bench explain network fapn --data demo --split test --limit 2
    """
    from fvsr_bench.cli.data_sources import open_data
    from fvsr_bench.cli.output import print_json, progress_bar, say
    from fvsr_bench.evaluate.plan import choose_clips
    from fvsr_bench.explain.network import portrait_markdown, portrait_rows, portray, streaming
    from fvsr_bench.files import write_atomic
    from fvsr_bench.infer import choose_device
    from fvsr_bench.report.text import csv_text

    dataset = open_data(data)
    clips = choose_clips(dataset, split, limit)
    kind, portraits = dataset.degradation.name, []
    asked = [(word, *word.partition("@")[::2]) for word in networks]
    for _, method, tag in asked:  # before the first of them takes its minutes
        streaming(method, tag or kind)
    with progress_bar("examining") as tick:
        for i, (words, method, tag) in enumerate(asked):
            tick(words, i, len(networks))
            portraits.append(portray(method, tag or kind, dataset, clips, choose_device(device)))
        tick("done", len(networks), len(networks))
    note = f"dataset {dataset.name}; {split} split, {len(clips)} clips"
    rows, text = portrait_rows(portraits), portrait_markdown(portraits, note)
    write_atomic(out / "network.csv", csv_text(rows))
    write_atomic(out / "network.md", text)
    if as_json:
        print_json(rows)
        return
    say(text)
    say(str(out / "network.md"))


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
