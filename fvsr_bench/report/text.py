"""Tables as text: Markdown, CSV and plain dicts."""

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import Cell, Metric, Row, Table, table1_rows
from fvsr_bench.statistics import Estimate


def markdown(table: Table) -> str:
    """Render a table, the paired distances to the best method and the footnotes as Markdown."""
    head = ["Method"]
    for m in table.metrics:
        arrow = "↑" if m.higher_is_better else "↓"
        head += [f"{m.title} {arrow} paper", "ours", "difference"]
    head += ["clips", "frames"]
    noted = any(not row.cells for row in table.rows)
    if noted:
        head.append("why not measured")
    body = [
        [row.title, *_md_cells(row, table.metrics), *([row.manifest.reason] if noted else [])]
        for row in table.rows
    ]
    lines = [f"**{table.caption}** ({table.footnotes[0].removeprefix('Data: ').rstrip('.')})", ""]
    lines += md_table(head, body)
    paired = _md_paired(table)
    if paired:
        lines += ["", "Paired difference to the best method, mean [95 % interval]:", "", *paired]
    lines += ["", *(f"- {note}" for note in table.footnotes), ""]
    return "\n".join(lines)


def md_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a Markdown table, columns padded; the first is left-aligned, the others right."""
    cells = [[text.replace("|", "\\|") for text in row] for row in [head, *body]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(head))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    out = []
    for row in [cells[0], rule, *cells[1:]]:
        first, *rest = (
            f"{text:<{w}}" if i == 0 else f"{text:>{w}}"
            for i, (text, w) in enumerate(zip(row, widths, strict=True))
        )
        out.append("| " + " | ".join([first, *rest]) + " |")
    return out


def _md_cells(row: Row, metrics: Sequence[Metric]) -> list[str]:
    out = []
    for metric in metrics:
        cell = row.cells.get(metric.name)
        ours = plus_minus(cell.ours, metric.digits) if cell else "–"
        out += [
            number(row.paper(metric.name), metric.digits),
            f"**{ours}**" if cell and cell.best else ours,
            number(cell.difference if cell else None, metric.digits, signed=True),
        ]
    return [*out, str(row.clips), str(row.frames)]


def _md_paired(table: Table) -> list[str]:
    rows = [row for row in table.rows if row.cells]
    if len(rows) < 2:
        return []
    body = [
        [row.title, *(interval(row.cells[m.name], m.digits) for m in table.metrics)] for row in rows
    ]
    return md_table(["Method", *(m.title for m in table.metrics)], body)


def number(value: float | None, digits: int, *, signed: bool = False) -> str:
    """Print a number, "–" for none; minus is the ASCII one so that it can be searched for."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    return text.replace("-", "+" if signed else "") if float(text) == 0 else text


def plus_minus(estimate: Estimate, digits: int) -> str:
    """Print mean ± half-width; the mean alone where there is no interval."""
    if not estimate.bounded:
        return number(estimate.mean, digits)
    return f"{estimate.mean:.{digits}f} ± {estimate.half_width:.{digits}f}"


def interval(cell: Cell, digits: int) -> str:
    """Print the paired difference to the best method with its interval."""
    if cell.to_best is None:
        return "best" if cell.best else "–"
    return paired(cell.to_best, digits + 1)  # an order narrower than the means' intervals


def paired(d: Estimate | None, digits: int, unit: str = "") -> str:
    """Print a paired difference with its interval; "–" for none, or in place of the interval."""
    if d is None or math.isnan(d.mean):
        return "–"
    bounds = f"{d.low:+.{digits}f}, {d.high:+.{digits}f}" if d.bounded else "–"
    return f"{d.mean:+.{digits}f}{unit} [{bounds}]"


def rows_of(table: Table) -> list[dict[str, Any]]:
    """Return a table as one dict per method x metric, full precision: the CSV and JSON form."""
    out = []
    for row in table.rows:
        m = row.manifest
        same = {
            "method": m.model,
            "title": m.about.title,
            "variant": m.variant,
            "weights": m.weights,
            "protocol": table.protocol.name,
            "status": m.status,
            "reason": m.reason,
            "run_id": m.run_id,
        }
        for metric in table.metrics:
            cell = row.cells.get(metric.name)
            out.append(same | {"metric": metric.name} | _cell_fields(row, metric, cell))
    return out


def _cell_fields(row: Row, metric: Metric, cell: Cell | None) -> dict[str, Any]:
    if cell is None:
        return {"paper": row.paper(metric.name)} | dict.fromkeys(_NUMBERS[1:])
    near = cell.to_best
    values = (
        cell.paper,
        cell.ours.mean,
        cell.ours.low,
        cell.ours.high,
        cell.difference,
        cell.best,
        near.mean if near else None,
        near.low if near else None,
        near.high if near else None,
        cell.ours.clips,
        row.faces if metric.name == "face" else row.frames,
    )
    return {name: _plain(value) for name, value in zip(_NUMBERS, values, strict=True)}


_NUMBERS = (
    *("paper", "ours", "low", "high", "difference", "best"),
    *("to_best", "to_best_low", "to_best_high", "clips", "frames"),
)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Render dict rows as CSV: None is empty, lines end in \\n on every system."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: None if v != v else v for k, v in row.items()} for row in rows)  # NaN
    return text.getvalue()


def table1_markdown(results: Results) -> str:
    """Render Table 1 as Markdown."""
    head = ["Split", "sequences, paper", "ours", "frames, paper", "ours"]
    body = [
        [
            str(row["title"]),
            str(row["paper_sequences"]),
            str(row["sequences"]),
            str(row["paper_frames"]),
            str(row["frames"]),
        ]
        for row in table1_rows(results)
    ]
    note = results.data_note()
    return "\n".join([f"**Table 1. Datasets** ({note})", "", *md_table(head, body), ""])
