"""How much of a difference is the seed: the same method trained again from another start.

A margin between two methods that is no larger than the spread between two seeds of one of them says
little about the methods, however narrow the interval over clips.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import clip_values
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import METRICS, Metric, describe_protocol
from fvsr_bench.report.text import md_table, paired, plus_minus
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.statistics import Estimate, bootstrap_mean, paired_difference


@dataclass(frozen=True, kw_only=True)
class SeedRow:
    """One training of a method under one metric."""

    title: str
    run: RunManifest
    seed: str  # "seed0" is the network of Table 2
    metric: Metric
    ours: Estimate
    to_first: Estimate | None  # minus seed 0, paired by clip; None for itself


def seed_rows(results: Results, protocol: EvalProtocol) -> list[SeedRow]:
    """Compare every method that was trained with more than one seed with its first training."""
    rows = []
    for metric in METRICS:
        known = _groups(results)
        if not known:
            return []
        table = clip_values(results.records, metric.name, protocol)
        clusters = results.clusters(list(table.index))
        for first, others in known:
            base = table[first.run_id].to_numpy(np.float64)
            for run in (first, *others):
                values = table[run.run_id].to_numpy(np.float64)
                rows.append(
                    SeedRow(
                        title=first.about.title,
                        run=run,
                        seed="seed0" if run is first else run.variant,
                        metric=metric,
                        ours=bootstrap_mean(values, clusters),
                        to_first=None
                        if run is first
                        else paired_difference(values, base, clusters),
                    )
                )
    return rows


def _groups(results: Results) -> list[tuple[RunManifest, list[RunManifest]]]:
    groups = []
    for first in results.complete:
        tags = f"{first.weights}-seed"
        again = [
            m
            for m in results.complete
            if m.model == first.model
            and m.variant.startswith("seed")
            and m.weights.startswith(tags)
        ]
        if first.variant == "full" and again:
            groups.append((first, again))
    return groups


def seed_dicts(rows: list[SeedRow]) -> list[dict[str, Any]]:
    """Return flat rows for a CSV."""
    return [
        {
            "method": row.run.model,
            "weights": row.run.weights,
            "seed": row.seed,
            "metric": row.metric.name,
            "mean": round(row.ours.mean, 6),
            "low": round(row.ours.low, 6),
            "high": round(row.ours.high, 6),
            "to_seed0": round(row.to_first.mean, 6) if row.to_first else None,
            "to_seed0_low": round(row.to_first.low, 6) if row.to_first else None,
            "to_seed0_high": round(row.to_first.high, 6) if row.to_first else None,
            "run_id": row.run.run_id,
        }
        for row in rows
    ]


def seeds_markdown(rows: list[SeedRow], note: str, protocol: EvalProtocol) -> str:
    """Return the table: a line per training, each metric with its distance to seed 0."""
    runs = {row.run.run_id: row for row in rows}
    metrics = list(dict.fromkeys(row.metric for row in rows))
    head = ["Method", "seed"]
    for metric in metrics:
        head += [metric.title, "minus seed 0 [95 % interval]"]
    body = []
    for run_id, any_row in runs.items():
        line = [any_row.title, any_row.seed.removeprefix("seed")]
        for metric in metrics:
            row = next(r for r in rows if r.run.run_id == run_id and r.metric == metric)
            apart = paired(row.to_first, metric.digits + 1)
            line += [plus_minus(row.ours, metric.digits), apart]
        body.append(line)
    table = "\n".join(md_table(head, body))
    return (
        f"**The same methods from another seed** ({note})\n\n{table}\n\n"
        f"- Protocol {protocol.name}: {describe_protocol(protocol)}.\n"
        "- Seed 0 is the network of Table 2. The interval says what the clips leave open; two "
        "seeds say only roughly what the training leaves open.\n"
    )
