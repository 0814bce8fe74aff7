"""Tables 3 and 4: variants of one method, each compared with the whole one, paired by clip."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import clip_values
from fvsr_bench.report.figures import STYLE
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import METRICS, Metric, describe_protocol
from fvsr_bench.report.text import md_table, number, paired, plus_minus
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.statistics import Estimate, bootstrap_mean, paired_difference

Printed = Mapping[str, Mapping[str, float]]  # variant -> metric -> the paper's number


@dataclass(frozen=True, kw_only=True)
class AblationCell:
    """One metric of one variant."""

    variant: str
    metric: Metric
    paper: float | None
    ours: Estimate
    to_full: Estimate | None  # ours minus the whole method's, paired by clip; None for itself
    steps: int  # of the training


def choose_runs(results: Results, model: str) -> dict[str, RunManifest]:
    """Choose one complete run of a method for each variant: made for these frames, plainly tagged.

    On BI frames that is `bi` for "full" and `bi-no-nic` for "no-nic". What `run --models
    fapn@bi-no-nic` measured is called "full" as well, but does not count as the whole network.
    """
    plain = results.facts.degradation

    def rank(m: RunManifest) -> tuple[bool, bool, str]:
        tag = plain if m.variant == "full" else f"{plain}-{m.variant}"
        return bool(m.about.mismatch), m.weights != tag, m.stem

    chosen: dict[str, RunManifest] = {}
    for m in sorted((m for m in results.complete if m.model == model), key=rank):
        if m.variant != "full" or not is_cell(m):
            chosen.setdefault(m.variant, m)
    return chosen


def is_cell(run: RunManifest) -> bool:
    """Say whether a run is of a network without a part or with another loss, however it was named.

    Measured by `ablate` it has a variant of its own, by `run --models fapn@bi-no-nic` only a tag.
    """
    return run.variant.startswith(("no-", "loss-")) or bool(
        run.variant.startswith("full") and re.search(r"-(no|loss)-", run.weights)
    )


def ablation_cells(
    results: Results,
    protocol: EvalProtocol,
    runs: Mapping[str, RunManifest],
    printed: Printed,
) -> list[AblationCell]:
    """Compute every cell of an ablation; `runs` maps variant -> its complete run, "full" first."""
    cells = []
    for metric in METRICS:
        table = clip_values(results.records, metric.name, protocol)
        clusters = results.clusters(list(table.index))
        values = {v: table[run.run_id].to_numpy(np.float64) for v, run in runs.items()}
        for variant, mine in values.items():
            apart = variant != "full" and "full" in values
            cells.append(
                AblationCell(
                    variant=variant,
                    metric=metric,
                    paper=printed.get(variant, {}).get(metric.name),
                    ours=bootstrap_mean(mine, clusters),
                    to_full=paired_difference(mine, values["full"], clusters) if apart else None,
                    steps=runs[variant].about.steps,
                )
            )
    return cells


def ablation_markdown(
    cells: Sequence[AblationCell],
    caption: str,
    lacking: Mapping[str, str],
    protocol: EvalProtocol,
    data_note: str,
    names: Mapping[str, str],
    printed: Printed,
) -> str:
    """Render the cells: paper | ours | difference to the whole method with its interval.

    `lacking` says of each variant without numbers why it has none, `names` what the paper calls it,
    `printed` has the paper's numbers.
    """
    head = ["Variant"]
    for metric in METRICS:
        arrow = "↑" if metric.higher_is_better else "↓"
        head += [f"{metric.title} {arrow} paper", "ours", "to full"]
    head.append("training steps")
    body = []
    for variant in dict.fromkeys(cell.variant for cell in cells):
        row = [variant]
        for cell in cells:
            if cell.variant == variant:
                digits = cell.metric.digits
                row += [
                    number(cell.paper, digits),
                    plus_minus(cell.ours, digits),
                    paired(cell.to_full, digits + 1),
                ]
        body.append([*row, str(next(c.steps for c in cells if c.variant == variant))])
    for name in lacking:
        paper = printed.get(name, {})
        cells_of = ((number(paper.get(m.name), m.digits), "–", "–") for m in METRICS)
        body.append([name, *(text for three in cells_of for text in three), "–"])
    rows = [*dict.fromkeys(cell.variant for cell in cells), *lacking]
    called = [f"{variant} = {names[variant]}" for variant in rows if variant in names]
    notes = [
        f"Data: {data_note}.",
        *training_notes(cells),
        *([f"In the paper: {', '.join(called)}."] if called else []),
        f"Protocol {protocol.name}: {describe_protocol(protocol)}.",
        "To full: mean difference to the whole method with its 95 % interval, paired by clip.",
        *(f"{name}: {reason}." for name, reason in lacking.items()),
    ]
    lines = [f"**{caption}**", "", *md_table(head, body), "", *(f"- {note}" for note in notes), ""]
    return "\n".join(lines)


def training_notes(cells: Sequence[AblationCell]) -> list[str]:
    """Say that the networks were trained unequally, if they were."""
    unequal = "The networks were not trained for the same number of steps: no comparison of parts."
    return [unequal] if len({cell.steps for cell in cells}) > 1 else []


def ablation_csv(
    cells: Sequence[AblationCell], lacking: Mapping[str, str], printed: Printed
) -> str:
    """Render the cells as CSV: variant x metric; of `lacking` ones the paper's numbers alone."""
    rows = [
        {
            "variant": cell.variant,
            "metric": cell.metric.name,
            "paper": cell.paper,
            "ours": cell.ours.mean,
            "low": cell.ours.low,
            "high": cell.ours.high,
            "to_full": cell.to_full.mean if cell.to_full else None,
            "to_full_low": cell.to_full.low if cell.to_full else None,
            "to_full_high": cell.to_full.high if cell.to_full else None,
            "clips": cell.ours.clips,
            "steps": cell.steps,
        }
        for cell in cells
    ]
    rows += [
        {"variant": variant, "metric": metric.name, "paper": printed[variant].get(metric.name)}
        for metric in METRICS
        for variant in lacking
        if variant in printed
    ]
    table = pd.DataFrame(rows).astype({"clips": "Int64", "steps": "Int64"})
    return table.to_csv(index=False, lineterminator="\n", float_format="%.6f")


def ablation_figure(cells: Sequence[AblationCell], caption: str, names: Mapping[str, str]) -> bytes:
    """Draw the paired differences to the whole method as bars with their intervals (PNG).

    Diamonds are the paper's differences; `names` says what the paper calls a variant.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(METRICS), figsize=(9, 3.2), layout="constrained")
        for axis, metric in zip(axes, METRICS, strict=True):
            mine = [c for c in cells if c.metric == metric and c.to_full is not None]
            rows = [_called(c.variant, names) for c in mine]
            means = [c.to_full.mean for c in mine if c.to_full]
            low = [c.to_full.mean - c.to_full.low for c in mine if c.to_full]
            high = [c.to_full.high - c.to_full.mean for c in mine if c.to_full]
            axis.barh(rows, means, xerr=[low, high], color="#0072B2", capsize=3, height=0.6)
            theirs = _paper_differences(cells, metric)
            known = [c for c in mine if c.variant in theirs]
            axis.plot(
                [theirs[c.variant] for c in known],
                [_called(c.variant, names) for c in known],
                "D",
                color="#D55E00",
                markersize=5,
            )
            axis.invert_yaxis()  # the table's order
            axis.axvline(0, color="black", linewidth=0.8)
            better = "better: right" if metric.higher_is_better else "better: left"
            axis.set_title(f"{metric.title}, {better}")
            axis.set_xlabel("difference to the whole network")
            axis.tick_params(axis="y", labelleft=axis is axes[0])
            axis.locator_params(axis="x", nbins=4)  # the ticks of distances are long
        figure.suptitle(caption, fontsize=11)
        legend = (
            "bars: ours with 95 % interval, subjects resampled; diamonds: the paper's difference"
        )
        figure.supxlabel(legend, fontsize=8)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        plt.close(figure)
    return picture.getvalue()


def _called(variant: str, names: Mapping[str, str]) -> str:
    return f"{variant}\n({names[variant]})" if variant in names else variant


def _paper_differences(cells: Sequence[AblationCell], metric: Metric) -> dict[str, float]:
    """Return the paper's differences to its whole network: variant -> difference."""
    paper = {c.variant: c.paper for c in cells if c.metric == metric and c.paper is not None}
    full = paper.pop("full", None)
    return {v: value - full for v, value in paper.items()} if full is not None else {}
