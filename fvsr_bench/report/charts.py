"""The page's charts: what stands in them, computed from the records (`svg` draws them)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import clip_values, frame_values
from fvsr_bench.report import svg
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import METRICS, Metric, Row, Table, is_whole
from fvsr_bench.spec import EvalProtocol

FIRST = 10  # frames of the paper's Fig. 5


@dataclass(frozen=True, kw_only=True)
class Key:
    """One entry of a legend."""

    title: str
    swatch: Markup
    value: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A drawing, its legend, and the same as a table for those who cannot see it."""

    drawing: Markup
    keys: tuple[Key, ...] = ()
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Charts:
    """All charts of a page; None where the records do not hold what it needs."""

    first: Chart | None  # Fig. 5: the first frames
    every: Chart | None  # Fig. 5: all frames; None when there are no more
    paired: tuple[tuple[Metric, Chart], ...]
    cost: Chart | None


def looks(results: Results) -> dict[str, int]:
    """Give each run id a look by the rank of its name among the measured runs, not by its score.

    Whole methods come first: their colours differ, if there are not more than `svg.LOOKS`.
    """
    runs = sorted(
        results.complete,
        key=lambda m: (not is_whole(m), m.model, m.variant, m.weights, m.run_id),
    )
    return {m.run_id: i for i, m in enumerate(runs)}


def build(
    results: Results, protocol: EvalProtocol, table: Table, look: Mapping[str, int]
) -> Charts:
    """Build the charts of the methods of a table."""
    rows = [row for row in table.rows if row.cells]
    if not rows:
        return Charts(first=None, every=None, paired=(), cost=None)
    wide = frame_values(results.records, "psnr", protocol)
    frames = int(wide.columns.max()) + 1
    return Charts(
        first=_frames(wide, rows, look, min(FIRST, frames)),
        every=_frames(wide, rows, look, frames) if frames > FIRST else None,
        paired=_paired(results, protocol, table, rows, look),
        cost=_cost(rows, look),
    )


def _frames(wide: pd.DataFrame, rows: list[Row], look: Mapping[str, int], count: int) -> Chart:
    wide = wide[[frame for frame in range(count) if frame in wide.columns]]
    series = []
    for row in rows:
        mine = wide.loc[row.manifest.run_id]
        series.append(
            svg.Series(
                title=row.title,
                look=look[row.manifest.run_id],
                points=_points(pd.Series(mine.mean(axis=0))),
                behind=[_points(values) for _, values in mine.iterrows()],
            )
        )
    series.sort(key=lambda s: -np.mean([y for _, y in s.points]))
    which = f"first {count} frames" if count == FIRST else f"all {count} frames"
    drawing = svg.line_chart(
        series,
        name=f"Line chart: PSNR in dB against frame number, {which}, mean over clips. "
        "The same numbers stand in the table below.",
        x_label="frame",
        y_label="PSNR (dB), mean over clips",
    )
    return Chart(
        drawing=Markup(drawing),
        keys=tuple(
            _key(s.title, s.look, f"{np.mean([y for _, y in s.points]):.2f} dB") for s in series
        ),
        head=("Method", *(str(int(c) + 1) for c in wide.columns)),
        rows=tuple((s.title, *(f"{y:.2f}" for _, y in s.points)) for s in series),
    )


def _points(values: pd.Series) -> list[tuple[float, float]]:
    return [(int(str(frame)) + 1, float(value)) for frame, value in values.items()]


def _key(title: str, look: int, value: str) -> Key:
    return Key(title=title, swatch=Markup(svg.swatch(look)), value=value)


def _paired(
    results: Results,
    protocol: EvalProtocol,
    table: Table,
    rows: list[Row],
    look: Mapping[str, int],
) -> tuple[tuple[Metric, Chart], ...]:
    """Draw, for each metric, how far every other method is from the best one, clip by clip."""
    charts = []
    for metric in METRICS:
        best = [row for row in rows if metric.name in row.cells and row.cells[metric.name].best]
        others = [row for row in rows if metric.name in row.cells and row not in best]
        if not (best and others) or metric not in table.metrics:
            continue
        wide = clip_values(results.records, metric.name, protocol)
        top = wide[best[0].manifest.run_id]
        dots = []
        for row in others:
            values = wide[row.manifest.run_id]
            e = row.cells[metric.name].to_best
            assert e is not None  # of every row but the best
            pairs = [(str(c), float(v)) for c, v in (values - top).items()]
            dots.append(
                svg.Dots(
                    title=row.title,
                    look=look[row.manifest.run_id],
                    values=pairs,
                    mean=e.mean,
                    low=e.low,
                    high=e.high,
                )
            )
        charts.append((metric, _paired_chart(metric, best[0].title, dots)))
    return tuple(charts)


def _paired_chart(metric: Metric, best: str, dots: list[svg.Dots]) -> Chart:
    better = "right of zero is better" if metric.higher_is_better else "left of zero is better"
    label = f"{metric.title}: method minus {best}"
    dots = [d for d in dots if math.isfinite(d.mean)]
    drawing = svg.dot_rows(dots, name=f"Dot chart: {label}, a dot per clip.", x_label=label)
    digits = metric.digits + 1
    rows = []
    for d in dots:
        finite = [v for _, v in d.values if math.isfinite(v)]
        wins = sum((v > 0) == metric.higher_is_better and v != 0 for v in finite)
        interval = f"[{d.low:+.{digits}f}, {d.high:+.{digits}f}]" if math.isfinite(d.low) else "–"
        rows.append((d.title, f"{d.mean:+.{digits}f}", interval, f"{wins} of {len(finite)}"))
    return Chart(
        drawing=Markup(drawing),
        head=("Method", f"mean difference to {best}", "95 % interval", f"clips better than {best}"),
        rows=tuple(rows),
        note=f"Each dot is a clip, the bar the mean with its 95 % interval; {better}.",
    )


def _cost(rows: list[Row], look: Mapping[str, int]) -> Chart | None:
    """Draw PSNR against time per frame, or against parameters where no time was stored."""
    found = [(row, row.cells["psnr"].ours.mean, _time(row.manifest)) for row in rows]
    times = _same_machine([(row, y, x) for row, y, x in found if x])
    if len(times) >= 2:
        points = [
            (row.title, look[row.manifest.run_id], x, y, float(row.manifest.about.parameters))
            for row, y, x in times
        ]
        label = "time per frame (ms, logarithmic)"
        absent = [row.title for row, _, _ in found if row not in [r for r, _, _ in times]]
        note = (
            f"Whole clips, measured while evaluating on {_machine(times[0][0].manifest)}; other "
            "work of the machine is in it: compare methods, not papers. The circle's area is the "
            "number of parameters."
            + (f" Measured in another setting and left out: {', '.join(absent)}." if absent else "")
        )
    else:
        points = [
            (row.title, look[row.manifest.run_id], float(row.manifest.about.parameters), y, 1.0)
            for row, y, _ in found
            if row.manifest.about.parameters
        ]
        label, note = "parameters (logarithmic)", ""
    if len(points) < 2:
        return None
    name = f"Scatter chart: PSNR in dB against {label}."
    drawing = svg.scatter(points, name=name, x_label=label, y_label="PSNR (dB)")
    return Chart(
        drawing=Markup(drawing),
        head=("Method", "PSNR (dB)", "ms per frame", "parameters"),
        rows=tuple(
            (row.title, f"{y:.2f}", f"{x:.1f}" if x else "–", f"{row.manifest.about.parameters:,}")
            for row, y, x in found
        ),
        note=note,
    )


def _same_machine(found: list[tuple[Row, float, float]]) -> list[tuple[Row, float, float]]:
    """Keep the rows of the device and threads that most runs have: others do not compare."""
    groups: dict[str, list[tuple[Row, float, float]]] = {}
    for entry in found:
        groups.setdefault(_machine(entry[0].manifest), []).append(entry)
    return max(groups.values(), key=len, default=[])


def _time(manifest: RunManifest) -> float:
    value: Any = manifest.circumstance.get("ms_per_frame", 0.0)
    return float(value or 0.0)


def _machine(manifest: RunManifest) -> str:
    c = manifest.circumstance
    threads = f"{c.get('threads', '?')} threads"
    return f"{c.get('device', 'unknown device')} ({c.get('system', '')}, {threads})"
