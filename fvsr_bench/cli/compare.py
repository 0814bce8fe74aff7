"""`fvsr-bench compare`: is A better than B, and would the data show it?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fvsr_bench.compare import Comparison, Margin
    from fvsr_bench.manifest import RunManifest
    from fvsr_bench.report.results import Results


def compare(
    a: Annotated[str, typer.Argument(help="METHOD, METHOD@WEIGHTS, METHOD:VARIANT or a run id.")],
    b: Annotated[str, typer.Argument(help="The same; several with commas, or 'all' others.")],
    results: Annotated[
        Path, typer.Option("--results", "--runs", "-r", help="A results folder.")
    ] = Path("results/demo"),
    metric: Annotated[
        str, typer.Option("--metric", help="psnr, ssim, face; several with commas.")
    ] = "psnr,ssim,face",
    protocol: Annotated[str, typer.Option(help="Convention: fapn, sofvsr, …")] = "fapn",
    margin: Annotated[
        float, typer.Option(help="Margin to plan for instead of the paper's (one metric only).")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Compare A with B clip by clip: one line of verdict per metric, then its evidence.

    The interval resamples subjects; Wilcoxon's p values are corrected by Holm over all pairs and
    metrics of the call. Needs stored records only.

    Examples:

      fvsr-bench compare fapn sofvsr --results results/faceclips

      fvsr-bench compare fapn all --metric psnr --results results/faceclips

      fvsr-bench compare fapn@bi fapn@bi-no-nic --margin 0.1 --results results/faceclips
    """
    from fvsr_bench.cli.output import print_json, say
    from fvsr_bench.compare import compare_runs, find_run, row_of, verdict
    from fvsr_bench.protocols import protocol as find_protocol
    from fvsr_bench.report.results import load_results

    metrics = [word.strip() for word in metric.split(",") if word.strip()]
    chosen = find_protocol(protocol)
    loaded = load_results(results)
    first = find_run(loaded, a)
    others = _others(loaded, first, b)
    found = compare_runs(
        loaded, [(first, other) for other in others], chosen, metrics, _margins(margin, metrics)
    )
    if as_json:
        print_json([row_of(c) for c in found])
        return
    for c in found:
        say(verdict(c))
    _print_evidence(found)
    say(f"{loaded.data_note()}; protocol {chosen.name}")


def _others(results: "Results", first: "RunManifest", words: str) -> "list[RunManifest]":
    from fvsr_bench.compare import find_run
    from fvsr_bench.errors import UsageError

    if words == "all":
        found = [m for m in results.complete if m.run_id != first.run_id]
    else:
        found = [find_run(results, word.strip()) for word in words.split(",") if word.strip()]
    if not found or any(m.run_id == first.run_id for m in found):
        raise UsageError(f"'{words}' names no run other than {first.model}; give another as B")
    return found


def _margins(value: float, metrics: list[str]) -> "dict[str, Margin] | None":
    from fvsr_bench.compare import Margin
    from fvsr_bench.errors import UsageError

    if not value:
        return None
    if len(metrics) != 1:
        raise UsageError("--margin needs exactly one --metric, because its unit is the metric's")
    return {metrics[0]: Margin(value=value, where="--margin")}


def _print_evidence(found: "list[Comparison]") -> None:
    from rich.table import Table

    from fvsr_bench.cli.output import box, console
    from fvsr_bench.compare import p_text, spell

    table = Table(box=box(), title="Evidence (A minus B)", title_justify="left")
    for name in ("metric", "A", "B"):
        table.add_column(name)
    names = ("difference", "95 % interval", "SD", "p", "p Holm", "dz", "rank-bis.", "A wins")
    for name in (*names, "clips", "clips needed", "design eff."):
        table.add_column(name, justify="right")
    for c in found:
        d, digits = c.difference, c.metric.digits + 1
        table.add_row(
            c.metric.name,
            spell(c.a),
            spell(c.b),
            f"{d.mean:+.{digits}f}",
            f"{d.low:+.{digits}f} … {d.high:+.{digits}f}",
            f"{c.deviation:.{digits}f}",
            p_text(c.p).removeprefix("= "),
            p_text(c.p_holm).removeprefix("= "),
            f"{c.dz:+.2f}",
            f"{c.rank_biserial:+.2f}",
            str(c.wins),
            str(d.clips),
            f"{c.needed_clustered} for {c.margin.value:g}",
            f"{c.design_effect:.2f}",
        )
    console().print(table)
