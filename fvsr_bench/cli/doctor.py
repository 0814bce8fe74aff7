"""`fvsr-bench doctor`: what is installed, where things lie, what is missing, and a self-test."""

from typing import TYPE_CHECKING

import typer

from fvsr_bench.cli.output import box, console, print_json, progress_bar, say
from fvsr_bench.cli.run import JSON

if TYPE_CHECKING:
    from fvsr_bench.doctor import Check

app = typer.Typer()
_MARKS = {"ok": "ok", "missing": "missing", "failed": "FAILED", "info": ""}


@app.command("doctor")
def doctor_command(
    test: bool = typer.Option(True, "--test/--no-test", help="Run the self-test (a minute)."),
    as_json: bool = JSON,
) -> None:
    """Check the installation: versions, device, folders, optional features, a self-test.

    Nothing is changed or downloaded. Exit code 1 if the self-test fails.

    Examples:

      fvsr-bench doctor

      fvsr-bench doctor --no-test --json
    """
    import dataclasses

    from fvsr_bench.doctor import examine
    from fvsr_bench.errors import FvsrError

    checks = list(examine())
    if test:
        from fvsr_bench.doctor.selftest import TESTS, self_test

        with progress_bar("self-test") as tick:
            for number, check in enumerate(self_test(), start=1):
                tick(check.name, number, len(TESTS))
                checks.append(check)
    if as_json:
        print_json([dataclasses.asdict(check) for check in checks])
    else:
        _print(checks)
    failed = [check.name for check in checks if check.state == "failed"]
    if failed:
        raise FvsrError(f"{len(failed)} check(s) failed: {', '.join(failed)}")


def _print(checks: "list[Check]") -> None:
    from rich.markup import escape
    from rich.table import Table

    out = console()
    for group in dict.fromkeys(check.group for check in checks):
        table = Table(box=box(), title=group, title_justify="left", show_header=False)
        for check in (c for c in checks if c.group == group):
            advice = f"-> {check.advice}" if check.advice else ""
            mark = _MARKS[check.state]
            table.add_row(escape(check.name), mark, escape(check.value), escape(advice))
        out.print(table)
    missing = sum(check.state == "missing" for check in checks)
    say(
        f"{missing} optional thing(s) missing; the command behind -> brings each of them."
        if missing
        else "Nothing is missing."
    )
