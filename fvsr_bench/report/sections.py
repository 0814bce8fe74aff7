"""The page's tables: Table 2, the ablations (Tables 3 and 4), the other judges."""

from collections.abc import Mapping
from dataclasses import dataclass

from fvsr_bench.manifest import RunManifest
from fvsr_bench.report.ablation import AblationCell, Printed, ablation_cells
from fvsr_bench.report.judges import judge_columns, judge_rows
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import describe_protocol
from fvsr_bench.report.text import number, plus_minus
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.statistics import Estimate

PAPER_TABLES = ("Table 3", "Table 4")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a plain table."""

    title: str
    sort: str  # text | number


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A cell of a plain table: what is read, and what it is sorted by."""

    text: str
    value: float | None = None


@dataclass(frozen=True, kw_only=True)
class Plain:
    """A table whose cells are ready to print."""

    id: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    notes: tuple[str, ...] = ()


def plain_tables(
    results: Results, protocol: EvalProtocol, printed: Mapping[str, Printed]
) -> list[Plain]:
    """Compute Tables 3 and 4 as far as there are runs for them, and the table of other judges.

    `printed` maps "Table 3" to the paper's numbers by variant and metric.
    """
    tables = []
    for model in dict.fromkeys(m.model for m in results.complete):
        variants = {m.variant: m for m in results.complete if m.model == model}
        for name, word in zip(PAPER_TABLES, ("no-", "loss-"), strict=True):
            runs = {v: m for v, m in variants.items() if v == "full" or v.startswith(word)}
            if "full" in runs and len(runs) > 1:
                tables.append(_ablation(results, protocol, name, runs, printed.get(name, {})))
    judges = _judges(results)
    return [*tables, *([judges] if judges else [])]


def _ablation(
    results: Results,
    protocol: EvalProtocol,
    name: str,
    runs: Mapping[str, RunManifest],
    printed: Printed,
) -> Plain:
    order = {"full": runs["full"]} | {v: runs[v] for v in sorted(runs) if v != "full"}
    cells = ablation_cells(results, protocol, order, printed)
    columns = [Column(title="Variant", sort="text")]
    for metric in dict.fromkeys(cell.metric for cell in cells):
        what = ("paper", "ours", "ours minus full [95 % interval]")
        columns += [Column(title=f"{metric.title}, {word}", sort="number") for word in what]
    rows = []
    for variant in order:
        row = [Entry(text=variant)]
        for cell in cells:
            if cell.variant == variant:
                row += _ablation_entries(cell)
        rows.append(tuple(row))
    title = runs["full"].about.title
    return Plain(
        id=name.replace(" ", "").lower() + f"-{runs['full'].model}",
        caption=f"{name}. {title} and its {'losses' if name == 'Table 4' else 'components'}",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            f"Data: {results.data_note()}.",
            f"Protocol {protocol.name}: {describe_protocol(protocol)}.",
            "Ours minus full: paired by clip; a network without a part was trained in the same way "
            "as the full one.",
        ),
    )


def _ablation_entries(cell: AblationCell) -> list[Entry]:
    d, digits = cell.to_full, cell.metric.digits
    paired = "–"
    if d is not None:
        more = digits + 1
        paired = f"{d.mean:+.{more}f} [{d.low:+.{more}f}, {d.high:+.{more}f}]"
    return [
        Entry(text=number(cell.paper, digits), value=cell.paper),
        Entry(text=plus_minus(cell.ours, digits), value=cell.ours.mean),
        Entry(text=paired, value=d.mean if d else None),
    ]


def _judges(results: Results) -> Plain | None:
    """Turn the other judges' measures into a table; None when there are none."""
    rows = judge_rows(results)
    found = judge_columns(rows)
    if not found:
        return None
    columns = [Column(title="Method", sort="text")]
    columns += [
        Column(title=f"{judge.title} ({key.split(' ')[1]})", sort="number") for key, judge in found
    ]
    body = []
    for row in rows:
        entries = [Entry(text=str(row["method"]))]
        for key, judge in found:
            cell = row.get(key)
            if isinstance(cell, Estimate):
                entries.append(Entry(text=plus_minus(cell, judge.digits), value=cell.mean))
            else:
                entries.append(Entry(text="–"))
        body.append(tuple(entries))
    return Plain(
        id="judges",
        caption="Other judges: time, perception, identity",
        columns=tuple(columns),
        rows=tuple(body),
        notes=(f"Data: {results.data_note()}.", "Mean over clips ± half the 95 % interval."),
    )
