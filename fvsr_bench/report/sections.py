"""The page's tables: Table 2, the ablations (Tables 3 and 4), the other judges."""

from collections.abc import Mapping
from dataclasses import dataclass

from fvsr_bench.manifest import RunManifest
from fvsr_bench.report.ablation import (
    AblationCell,
    Printed,
    ablation_cells,
    choose_runs,
    training_notes,
)
from fvsr_bench.report.judges import judge_columns, judge_rows
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import describe_protocol
from fvsr_bench.report.text import number, paired, plus_minus
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.statistics import Estimate

PaperTables = Mapping[str, Printed]  # "Table 3" -> what it prints


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of ablation."""

    what: str
    word: str  # that its variants start with
    table: str  # of FAPN's paper, where it is printed


KINDS = (
    Kind(what="components", word="no-", table="Table 3"),
    Kind(what="losses", word="loss-", table="Table 4"),
)


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
    results: Results, protocol: EvalProtocol, printed: Mapping[str, PaperTables]
) -> list[Plain]:
    """Compute Tables 3 and 4 as far as there are runs for them, and the table of other judges.

    `printed` maps a method and "Table 3" to the paper's numbers by variant and metric. Ablations
    that the paper does not print are tables of their own name.
    """
    tables = []
    for model in dict.fromkeys(m.model for m in results.complete):
        chosen = choose_runs(results, model)
        for kind in KINDS:
            cells = sorted(variant for variant in chosen if variant.startswith(kind.word))
            if "full" in chosen and cells:
                runs = {variant: chosen[variant] for variant in ("full", *cells)}
                paper = printed.get(model, {}).get(kind.table, {})
                if not paper.keys() & set(cells):
                    paper = {}
                tables.append(_ablation(results, protocol, kind, runs, paper))
    judges = _judges(results)
    return [*tables, *([judges] if judges else [])]


def _ablation(
    results: Results,
    protocol: EvalProtocol,
    kind: Kind,
    runs: Mapping[str, RunManifest],
    paper: Printed,
) -> Plain:
    cells = ablation_cells(results, protocol, runs, paper)
    columns = [Column(title="Variant", sort="text")]
    for metric in dict.fromkeys(cell.metric for cell in cells):
        what = ("paper", "ours", "ours minus full [95 % interval]")
        columns += [Column(title=f"{metric.title}, {word}", sort="number") for word in what]
    rows = []
    for variant in runs:
        row = [Entry(text=variant)]
        for cell in cells:
            if cell.variant == variant:
                row += _ablation_entries(cell)
        rows.append(tuple(row))
    full, other = runs["full"], f"{kind.what.capitalize()} of {runs['full'].about.title}"
    name = kind.table.replace(" ", "").lower() if paper else kind.what
    return Plain(
        id=f"{name}-{full.model}",
        caption=f"{kind.table}. {full.about.title} and its {kind.what}" if paper else other,
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            f"Data: {results.data_note()}.",
            f"Protocol {protocol.name}: {describe_protocol(protocol)}.",
            "Ours minus full: paired by clip.",
            *training_notes(cells),
        ),
    )


def _ablation_entries(cell: AblationCell) -> list[Entry]:
    d, digits = cell.to_full, cell.metric.digits
    return [
        Entry(text=number(cell.paper, digits), value=cell.paper),
        Entry(text=plus_minus(cell.ours, digits), value=cell.ours.mean),
        Entry(text=paired(d, digits + 1), value=d.mean if d else None),
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
