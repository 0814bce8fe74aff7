"""`fvsr-bench claims`: the paper's numbers and statements against its own arithmetic and ours."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fvsr_bench.claims import Judgement


def claims(
    results: Annotated[Path, typer.Option("--results", "-r", help="A results folder.")] = Path(
        "results/faceclips"
    ),
    ledger: Annotated[
        Path | None, typer.Option(help="Another ledger (TOML).  [default: the FAPN paper's]")
    ] = None,
    protocol: Annotated[str, typer.Option(help="Convention: fapn, sofvsr, …")] = "fapn",
    arithmetic: Annotated[
        bool, typer.Option("--arithmetic", help="Judge by the paper's own tables only.")
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="Print the table cells too, not only statements.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Judge every claim of the paper twice: does it follow from its tables, do our runs show it?

    Writes claims.md and claims.csv into the results folder. Needs stored records only.

    Examples:

      fvsr-bench claims --results results/faceclips

      fvsr-bench claims --arithmetic

      fvsr-bench claims --json | jq '.claims[] | select(.measured == "contradicted")'
    """
    from fvsr_bench.claims import judge, load_ledger
    from fvsr_bench.claims.text import files, rows_of
    from fvsr_bench.cli.output import print_json, say
    from fvsr_bench.files import write_atomic
    from fvsr_bench.protocols import protocol as find_protocol
    from fvsr_bench.report.results import load_results

    book = load_ledger(ledger)
    chosen = find_protocol(protocol)
    judgement = judge(book, None if arithmetic else load_results(results), chosen)
    paths = []
    if not arithmetic:
        suffix = "" if chosen.name == "fapn" else f"-{chosen.name}"
        for name, content in files(judgement).items():
            stem, _, kind = name.rpartition(".")
            paths.append(results / f"{stem}{suffix}.{kind}")
            write_atomic(paths[-1], content)
    if as_json:
        sums, seen = judgement.counts()
        counts = {"arithmetic": sums, "measured": seen}
        listed = [str(path) for path in paths]
        print_json({"counts": counts, "claims": rows_of(judgement), "files": listed})
        return
    _print(judgement, every)
    for path in paths:
        say(str(path))


def _print(judgement: "Judgement", every: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    from fvsr_bench.claims.text import evidence_text, header, statement
    from fvsr_bench.cli.output import box, console

    out = console()
    table = Table(box=box(), title="Claims", title_justify="left")
    for name, width in (("claim", 28), ("says", 30), ("arithmetic", 42), ("measured", 50)):
        table.add_column(name, max_width=width, overflow="fold")
    for j in judgement.claims:
        if j.claim.kind == "cell" and not every:
            continue
        cells = (
            j.claim.id,
            statement(j, judgement.ledger),
            f"{j.arithmetic.verdict}: {j.arithmetic.detail}".removesuffix(": "),
            f"{j.measured}: {evidence_text(j)}".removesuffix(": "),
        )
        table.add_row(*map(escape, cells))
    out.print(table)
    for line in header(judgement):
        out.print(line, highlight=False, markup=False)
