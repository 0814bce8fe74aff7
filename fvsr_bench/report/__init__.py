"""Everything derived from a results folder: tables and figures, pure functions of the records."""

from collections.abc import Mapping
from pathlib import Path

from fvsr_bench.errors import DataError
from fvsr_bench.files import write_atomic
from fvsr_bench.report import (
    diagnostics,
    figures,
    judges,
    protocol_grid,
    seeds,
    shift,
    tables,
    text,
)
from fvsr_bench.report.results import Results, load_results
from fvsr_bench.spec import FAPN_PROTOCOL, EvalProtocol

__all__ = [
    "Results",
    "load_results",
    "render_figure5",
    "render_tables",
    "write_grid",
    "write_report",
]

Files = Mapping[str, bytes | str]  # file name -> content


def render_tables(results: Results, protocol: EvalProtocol = FAPN_PROTOCOL) -> Files:
    """Render Tables 1 and 2 as CSV and Markdown."""
    table = tables.table2(results, protocol)
    return {
        "table1.csv": text.csv_text(tables.table1_rows(results)),
        "table1.md": text.table1_markdown(results),
        "table2.csv": text.csv_text(text.rows_of(table)),
        "table2.md": text.markdown(table),
    }


def render_figure5(results: Results, protocol: EvalProtocol = FAPN_PROTOCOL) -> Files:
    """Render Fig. 5 (per-frame PSNR): `fig5` first 10 frames as in the paper, `fig5-all` all."""
    runs = [m for m in results.complete if tables.is_whole(m)]
    if results.complete and not runs:
        raise DataError(f"{results.root}: nothing to plot. {tables.ONLY_OTHERS}")
    files: dict[str, bytes | str] = {}
    for name, first in (("fig5", 10), ("fig5-all", 0)):
        curves = figures.per_frame_curves(results, protocol, runs, first)
        which = "first 10 frames" if first else f"all {len(curves[0].frames)} frames"
        title = f"Per-frame PSNR, {which}"
        figure = figures.per_frame_figure(curves, title, figure_note(results, protocol))
        files |= {f"{name}.{kind}": figures.render(figure, kind) for kind in ("png", "svg")}
        files[f"{name}.csv"] = text.csv_text(figures.curve_rows(curves))
        figures.close(figure)
    return files


def render_shift(results: Results) -> Files:
    """Render the shift diagnostic as CSV and Markdown; nothing when it was not measured."""
    rows = shift.shift_rows(results)
    if not rows:
        return {}
    return {
        "shift.csv": text.csv_text(shift.shift_dicts(rows)),
        "shift.md": diagnostics.shift_markdown(rows, results.data_note()),
    }


def render_judges(results: Results) -> Files:
    """Render the other judges as CSV and Markdown; nothing when none was recorded."""
    rows = judges.judge_rows(results)
    if not judges.judge_columns(rows):
        return {}
    return {
        "judges.csv": judges.judges_csv(rows),
        "judges.md": judges.judges_markdown(rows, results.data_note()),
    }


def render_seeds(results: Results, protocol: EvalProtocol) -> Files:
    """Render the spread between seeds as CSV and Markdown; nothing without a second seed."""
    rows = seeds.seed_rows(results, protocol)
    if not rows:
        return {}
    return {
        "seeds.csv": text.csv_text(seeds.seed_dicts(rows)),
        "seeds.md": seeds.seeds_markdown(rows, results.data_note(), protocol),
    }


def write_grid(root: Path) -> tuple[list[protocol_grid.Grid], list[Path]]:
    """Write how far methods and rankings move between conventions; returns grids and paths."""
    results = load_results(root)
    grids = protocol_grid.protocol_grids(results)
    files = {
        "protocol-grid.csv": text.csv_text(protocol_grid.grid_rows(grids)),
        "protocol-grid.md": diagnostics.grid_markdown(grids, results.data_note()),
    }
    for name, content in files.items():
        write_atomic(root / name, content)
    return grids, [root / name for name in files]


def figure_note(results: Results, protocol: EvalProtocol) -> str:
    """Say under a figure's title what the data and the protocol are."""
    f = results.facts
    kind = results.data_note().split(";")[0]
    what = f"{f.split} split, {len(f.clips)} clips; {f.degradation} x{f.scale}"
    return f"{kind}; {what}; protocol {protocol.name}"


def write_report(root: Path, protocol: EvalProtocol = FAPN_PROTOCOL) -> tuple[Results, list[Path]]:
    """Render everything that can be derived from a results folder into it; returns the paths.

    The same records give the same bytes. A protocol other than the default is rendered beside it:
    `table2-sofvsr.md`.
    """
    results = load_results(root)
    files = dict(render_tables(results, protocol))
    if any(tables.is_whole(m) for m in results.complete):
        files |= render_figure5(results, protocol)
        files |= render_seeds(results, protocol)
    if protocol == FAPN_PROTOCOL:
        files |= render_shift(results)
        files |= render_judges(results)
    suffix = "" if protocol == FAPN_PROTOCOL else f"-{protocol.name}"
    paths = []
    for name, content in sorted(files.items()):
        stem, _, kind = name.rpartition(".")
        path = root / f"{stem}{suffix}.{kind}"
        write_atomic(path, content)
        paths.append(path)
    return results, paths
