"""What the commands share: console, progress bar, tables on a terminal or as JSON."""

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from fvsr_bench.report.tables import Row, Table

WIDTH = 160  # columns, for files and pipes, which have no width of their own


def console() -> "Console":
    """Return a console on stdout; NO_COLOR is respected by rich itself."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH)


def say(text: str) -> None:
    """Print one line on stdout, without markup or wrapping."""
    typer.echo(text)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar with the time left on stderr; nothing at all when stderr is no terminal.

    Yields a function of (what is done now, steps done, steps in all).
    """
    from rich import progress
    from rich.console import Console

    stderr = Console(stderr=True)
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
    )
    bar = progress.Progress(
        *columns, console=stderr, disable=not stderr.is_terminal, transient=True
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda text, done, total: bar.update(
            task, description=text, completed=done, total=total
        )


def box() -> Any:
    """Return the line style of all tables."""
    from rich import box as styles

    return styles.SIMPLE_HEAD


def print_table(table: "Table") -> None:
    """Print a table of methods: paper | ours ± interval | difference per metric; reasons below."""
    from rich.table import Table as RichTable

    out = console()
    grid = RichTable(box=box(), title=table.caption, title_justify="left")
    grid.add_column("\nmethod")
    for metric in table.metrics:
        grid.add_column(f"{metric.title}\npaper", justify="right")
        grid.add_column("\nours", justify="right")
        grid.add_column("\ndiff.", justify="right")
    grid.add_column("\nclips", justify="right")
    for row in table.rows:
        grid.add_row(*_cells(row, table))
    out.print(grid)
    for row in table.rows:
        if not row.cells:
            out.print(f"{row.title}: {row.manifest.reason}", highlight=False, markup=False)
    for note in table.footnotes:
        out.print(note, style="dim", highlight=False, markup=False)


def _cells(row: "Row", table: "Table") -> list[str]:
    from rich.markup import escape

    from fvsr_bench.report.text import number, plus_minus

    cells = [escape(row.title)]
    for metric in table.metrics:
        cell = row.cells.get(metric.name)
        ours = plus_minus(cell.ours, metric.digits) if cell else "–"
        cells += [
            number(row.paper(metric.name), metric.digits),
            f"[bold]{ours}[/bold]" if cell and cell.best else ours,
            number(cell.difference if cell else None, metric.digits, signed=True),
        ]
    return [*cells, str(row.clips)]


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    typer.echo(json.dumps(_finite(value), indent=1, ensure_ascii=False, default=str))


def _finite(value: Any) -> Any:
    """Put null in place of NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table_json(table: "Table", paths: list[Path]) -> dict[str, Any]:
    """Return a table as JSON-like value: caption, footnotes, rows (method x metric), files."""
    from fvsr_bench.report.text import rows_of

    return {
        "caption": table.caption,
        "footnotes": list(table.footnotes),
        "rows": rows_of(table),
        "files": [str(path) for path in paths],
    }
