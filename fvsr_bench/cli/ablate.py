"""`fvsr-bench ablate`: what a method is worth without a part, or with another loss."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fvsr_bench.cli.output import print_json, progress_bar, say

if TYPE_CHECKING:
    from fvsr_bench.ablate import Cell
    from fvsr_bench.spec import EvalProtocol


def ablate(
    parts: Annotated[list[str], typer.Argument(help="Components (nic fsrc …), or 'loss'.")],
    method: Annotated[str, typer.Option(help="The method to take apart.")] = "fapn",
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="Dataset folder, or demo.")
    ] = "demo",
    split: Annotated[str, typer.Option(help="Clips of this split.")] = "test",
    protocol: Annotated[str, typer.Option(help="Convention of the table.")] = "fapn",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Results folder.  [default: results/NAME-OF-DATASET]"),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Train what is missing first (on the train split).")
    ] = False,
    minutes: Annotated[
        float, typer.Option(min=0, help="Time limit of each training; 0 = none.")
    ] = 0,
    steps: Annotated[int, typer.Option(min=0, help="Steps of each training; 0 = recipe's.")] = 0,
    encoder: Annotated[str, typer.Option(help="Recogniser of the loss 'face': onnx:FILE.")] = "",
    vgg: Annotated[
        Path | None, typer.Option(help="VGG19 weights of the loss 'vgg', if not in torch's cache.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Compare a method with itself: all combinations of leaving parts out, or all losses.

    `nic fsrc` is the paper's Table 3, `loss` its Table 4. Examples:

        fvsr-bench ablate nic fsrc --dataset data/faceclips

        fvsr-bench ablate loss --dataset data/faceclips --train --minutes 60

        fvsr-bench ablate motion --method vespcn --dataset data/faceclips --train
    """
    from fvsr_bench.ablate import expand, explain_missing, missing
    from fvsr_bench.cli.report import write_html
    from fvsr_bench.cli.run import default_out, make_setting
    from fvsr_bench.errors import DataError, FvsrError, WeightsError
    from fvsr_bench.evaluate import evaluate
    from fvsr_bench.protocols import protocol as find_protocol
    from fvsr_bench.report import write_report

    chosen, cells = find_protocol(protocol), expand(method, parts)
    lacking = missing(cells)
    if train:
        _check_frames(dataset)
        for cell in lacking:
            try:
                _train(cell, dataset, device, minutes, steps, encoder, vgg)
            except FvsrError as error:  # the others do not wait for this one
                typer.echo(f"{method}/{cell.tag} was not trained: {error}", err=True)
        lacking = missing(cells)
    for line in explain_missing(lacking, dataset):
        typer.echo(line, err=as_json)
    there = [cell for cell in cells if cell not in lacking]
    if len(there) < 2:
        raise WeightsError(
            f"an ablation compares at least two networks, {len(there)} of {len(cells)} are there; "
            "train the others as above, or add --train."
        )
    setting = make_setting(dataset, split, chosen, device, "fp32", False, 0)
    folder = out or default_out(setting.dataset.name, split, 0)
    with progress_bar("evaluating") as tick:
        outcome = evaluate([cell.job() for cell in there], setting, folder, tick)
    reasons = {m.variant: m.reason for m in outcome.manifests if m.status != "complete"}
    if len(there) - len(reasons) < 2:
        raise DataError(f"nothing to compare: {next(iter(reasons.values()))}")
    reasons |= {cell.variant: "no weights" for cell in lacking}
    for name in outcome.replaced:
        typer.echo(f"replaced the older run {name}", err=True)
    write_report(folder, chosen)
    _render(folder, method, parts, cells, reasons, chosen, as_json)
    write_html(folder, chosen)


def _check_frames(dataset: str) -> None:
    """Refuse to call networks `bi-…` that would be trained on other LR frames."""
    from fvsr_bench.cli.data_sources import open_data
    from fvsr_bench.errors import UsageError

    name = open_data(dataset).degradation.name
    if name != "bi":
        raise UsageError(
            f"--train makes the cells of a network for bi frames, and these are {name}; train each "
            "with `fvsr-bench train METHOD --without PART`."
        )


def _train(
    cell: "Cell",
    dataset: str,
    device: str,
    minutes: float,
    steps: int,
    encoder: str,
    vgg: Path | None,
) -> None:
    from fvsr_bench.cli.data_sources import open_data
    from fvsr_bench.cli.progress import show_training
    from fvsr_bench.judges import load_judges
    from fvsr_bench.registry import weight_folders
    from fvsr_bench.train import launch
    from fvsr_bench.train import train as loop

    job, fabric = cell.train_job(steps), launch(device)
    judges = load_judges(job.recipe, encoder=encoder, vgg=vgg, device=fabric.device)
    events = loop(
        job,
        open_data(dataset),
        out=weight_folders()[0],  # where the evaluation looks first
        runs=Path("runs"),
        fabric=fabric,
        judges=judges,
        minutes=minutes,
    )
    show_training(events, f"{cell.method} ({cell.tag})")


def _render(
    folder: Path,
    method: str,
    parts: list[str],
    cells: "list[Cell]",
    reasons: dict[str, str],
    protocol: "EvalProtocol",
    as_json: bool,
) -> None:
    from fvsr_bench.ablate import table_name
    from fvsr_bench.claims.ledger import load_ledger
    from fvsr_bench.cli.report import printed_names
    from fvsr_bench.files import write_atomic
    from fvsr_bench.registry import load_spec, method_name
    from fvsr_bench.report import load_results
    from fvsr_bench.report.ablation import (
        ablation_cells,
        ablation_csv,
        ablation_figure,
        ablation_markdown,
    )

    results, spec = load_results(folder), load_spec(method)
    model = method_name(method)
    mine = {(m.variant, m.weights): m for m in results.complete if m.model == model}
    runs = {c.variant: mine[c.variant, c.tag] for c in cells if (c.variant, c.tag) in mine}
    name = table_name(method, parts)
    title = {"table3": "Table 3", "table4": "Table 4"}.get(name, "Ablation")
    caption = f"{title}. {spec.title} and its variants"
    printed = spec.printed.get(title, {})
    found = ablation_cells(results, protocol, runs, printed)
    lacking = {c.variant: reasons.get(c.variant, "no run") for c in cells if c.variant not in runs}
    note = results.data_note()
    names = printed_names(load_ledger(), model, title)
    text = ablation_markdown(found, caption, lacking, protocol, note, names, printed)
    suffix = "" if protocol.name == "fapn" else f"-{protocol.name}"
    for kind, content in (
        ("md", text),
        ("csv", ablation_csv(found, lacking, printed)),
        ("png", ablation_figure(found, f"{caption} ({note})", names)),
    ):
        write_atomic(folder / f"{name}{suffix}.{kind}", content)
    if as_json:
        print_json(
            [
                {
                    "variant": cell.variant,
                    "metric": cell.metric.name,
                    "paper": cell.paper,
                    "ours": cell.ours.mean,
                    "to_full": cell.to_full.mean if cell.to_full else None,
                }
                for cell in found
            ]
        )
    else:
        typer.echo(text)
        say(f"table     {folder / f'{name}{suffix}.md'}")
