"""Figures from the records, with the plotted points as CSV. Same records, same bytes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from fvsr_bench.errors import DataError
from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import frame_curve
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import titles
from fvsr_bench.spec import EvalProtocol

STYLE: Any = {  # matplotlib's types name every key
    "svg.hashsalt": "fvsr-bench",  # ids inside an SVG are random without it
    "svg.fonttype": "none",  # text stays text: searchable, and no outlines of this machine's fonts
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
}
MARKERS = "osD^vPX*<>"
DASHES = ("-", "--", "-.", ":")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One method's line: a value per frame."""

    title: str
    model: str
    run_id: str
    frames: tuple[int, ...]
    values: tuple[float, ...]  # dB, mean over clips


def per_frame_curves(
    results: Results, protocol: EvalProtocol, runs: Sequence[RunManifest], first: int = 0
) -> list[Curve]:
    """Average PSNR over the clips frame by frame (the first `first` frames if > 0), best on top.

    This is the paper's Fig. 5. Raises DataError when no run has records.
    """
    if not runs:
        raise DataError(f"{results.root}: no method has records yet; nothing to plot")
    table = frame_curve(results.records, "psnr", protocol)
    if first:
        table = table[table.index < first]
    names = titles(runs)
    curves = [
        Curve(
            title=names[run.run_id],
            model=run.model,
            run_id=run.run_id,
            frames=tuple(int(frame) for frame in table.index),
            values=tuple(float(value) for value in table[run.run_id]),
        )
        for run in runs
    ]
    return sorted(curves, key=lambda c: (-sum(c.values) / len(c.values), c.title))


def curve_rows(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Return the plotted points: a row per method x frame; frames from 1, as in the paper."""
    return [
        {
            "method": c.model,
            "title": c.title,
            "frame": f + 1,
            "psnr": round(v, 6),
            "run_id": c.run_id,
        }
        for c in curves
        for f, v in zip(c.frames, c.values, strict=True)
    ]


def per_frame_figure(curves: Sequence[Curve], title: str, note: str) -> Figure:
    """Draw one line per method: mean PSNR in dB against the frame number (from 1)."""
    count = len(curves[0].frames)
    many = count > 16
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08)  # inches: the legend off the edge
    with plt.rc_context(_theme() | STYLE):
        figure, axes = plt.subplots(figsize=(7.5 if many else 6.5, 4.2), layout=layout)
        for curve, look in zip(curves, looks(curves), strict=True):
            axes.plot(
                [frame + 1 for frame in curve.frames],
                curve.values,
                label=f"{curve.title}  {sum(curve.values) / len(curve.values):.2f}",
                markevery=1 if not many else 4,
                **look,
            )
        axes.set(xlabel="frame", ylabel="PSNR (dB), mean over clips")
        axes.set_title(title, pad=22)
        axes.text(0, 1.02, note, transform=axes.transAxes, fontsize=8, color="0.35", va="bottom")
        step = 4 if many else 1
        axes.set_xticks(sorted({1, *range(step, count + 1, step)}))
        axes.legend(
            loc="center left", bbox_to_anchor=(1.01, 0.5), title="method  mean (dB)", fontsize=9
        )
        sns.despine(figure)
    return figure


def looks(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Give each line a colour, marker and dash by the rank of its name, not of its score."""
    order = {name: i for i, name in enumerate(sorted({(c.model, c.title) for c in curves}))}
    colours = sns.color_palette("colorblind", 10)
    return [
        {
            "color": colours[order[c.model, c.title] % 10],
            "marker": MARKERS[order[c.model, c.title] % len(MARKERS)],
            "linestyle": DASHES[order[c.model, c.title] % len(DASHES)],
            "linewidth": 1.8,
            "markersize": 5,
        }
        for c in curves
    ]


def _theme() -> Any:
    return {**sns.axes_style("ticks"), "axes.grid": True, "grid.color": "0.92"}


def render(figure: Figure, kind: str) -> bytes:
    """Encode a figure as "png", "svg" or "pdf", with nothing in it that depends on the clock."""
    metadata: dict[str, Any] = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    }[kind]
    buffer = io.BytesIO()
    with plt.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def close(figure: Figure) -> None:
    """Free a figure's memory."""
    plt.close(figure)
