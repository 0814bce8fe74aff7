"""Is method A better than method B? Paired by clip, with intervals, tests and the clips it takes.

Every statement is about the same clips under both methods. A difference counts as resolved when
its 95 % bootstrap interval (whole subjects resampled) excludes zero and Wilcoxon's signed-rank
test, corrected by Holm over everything asked in one call, stays below 5 %. Both must agree.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fvsr_bench.errors import DataError, UsageError, unknown
from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import clip_values
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import METRICS, Metric
from fvsr_bench.report.text import paired
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.statistics import (
    FEWEST,
    Estimate,
    clips_needed,
    cohen_dz,
    design_effect,
    holm,
    paired_difference,
    rank_biserial,
    wilcoxon,
)

ALPHA = 0.05
Winner = Literal["a", "b", ""]  # "" = not resolved


@dataclass(frozen=True, kw_only=True)
class Margin:
    """A difference between two methods that a paper claims; positive = in the claimed direction."""

    value: float
    where: str


# What FAPN claims over the second best of its Table 2 (SOF-VSR): asked of pairs that the paper
# prints no numbers for.
HEADLINE: Mapping[str, Margin] = {
    "psnr": Margin(value=0.31, where="Table 2, Ours - SOF-VSR"),
    "ssim": Margin(value=0.007, where="Table 2, Ours - SOF-VSR"),
    "face": Margin(value=0.004, where="Table 2, SOF-VSR - Ours"),
}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One metric of one pair: the evidence and what follows from it."""

    metric: Metric
    a: RunManifest
    b: RunManifest
    difference: Estimate  # A minus B, mean over clips, interval by resampling subjects
    deviation: float  # standard deviation of the differences between clips
    subjects: int
    p: float  # Wilcoxon signed-rank, two-sided
    p_holm: float
    dz: float  # Cohen's d_z: mean / deviation
    rank_biserial: float  # -1..1
    wins: int  # clips where A is better
    margin: Margin
    needed: int  # independent clips that resolve `margin` with 80 % power
    design_effect: float  # how much clips of one subject resemble each other; 1 = not at all

    @property
    def needed_clustered(self) -> int:
        """Clips needed when subjects have as many clips each, and as alike, as here."""
        return math.ceil(self.needed * max(1.0, self.design_effect))

    @property
    def winner(self) -> Winner:
        """Which of the two is better, when interval and corrected test agree that one is."""
        if not (self.difference.excludes_zero and self.p_holm < ALPHA):
            return ""
        return "a" if (self.difference.mean > 0) == self.metric.higher_is_better else "b"


def find_run(results: Results, word: str) -> RunManifest:
    """Find the complete run that a user means: METHOD, METHOD@WEIGHTS, METHOD:VARIANT or a run id.

    A bare method name means its full variant with the weights made for the dataset's degradation.
    Raises UsageError when there is none, or more than one that fits equally well.
    """
    runs = results.complete
    by_id = [m for m in runs if len(word) >= 6 and m.run_id.startswith(word)]
    if len(by_id) == 1:
        return by_id[0]
    name, _, rest = word.partition(":")
    name, _, weights = name.partition("@")
    variant, _, late = rest.partition("@")  # METHOD:VARIANT@WEIGHTS too
    weights = weights or late
    mine = [m for m in runs if m.model == name]
    if not mine:
        _explain_missing(results, name)
    fit = [m for m in mine if m.variant == (variant or "full")]
    if weights and not variant:  # weights tell a seed or a part left out by themselves
        named = [m for m in mine if m.weights == weights]
        exact = [m for m in named if not m.variant.endswith("-bf16")] or named
        fit = [m for m in exact if m.variant != "full"] or exact
    fit = [m for m in fit if m.weights == weights] if weights else _preferred(fit, results)
    if len(fit) != 1:
        known = [spell(m) for m in (fit or mine)]
        if not fit:
            raise unknown("run", word, known)
        raise UsageError(f"'{word}' fits {len(fit)} runs: {', '.join(known)}; name one of them")
    return fit[0]


def spell(run: RunManifest) -> str:
    """Write a run the way `find_run` reads it."""
    variant = "" if run.variant == "full" else f":{run.variant}"
    return f"{run.model}{variant}" + ("" if run.weights == "none" else f"@{run.weights}")


def _preferred(runs: Sequence[RunManifest], results: Results) -> list[RunManifest]:
    if len(runs) < 2:
        return list(runs)
    exact = [m for m in runs if m.weights == results.facts.degradation]
    return exact or [m for m in runs if not m.about.mismatch]


def _explain_missing(results: Results, name: str) -> None:
    failed = [m for m in results.manifests if m.model == name]
    if failed:
        raise DataError(f"{name} has no numbers in {results.root}: {failed[0].reason}")
    known = sorted({m.model for m in results.complete})
    raise unknown(f"method of {results.root}", name, known)


def compare_runs(
    results: Results,
    pairs: Sequence[tuple[RunManifest, RunManifest]],
    protocol: EvalProtocol,
    metrics: Sequence[str] = ("psnr", "ssim", "face"),
    margins: Mapping[str, Margin] | None = None,
) -> list[Comparison]:
    """Compare pairs of runs on the same clips under several metrics; Holm corrects over all.

    `margins` overrides, by metric, the claimed difference whose sample size is computed; without
    it the paper's own difference of the two methods counts, or else its headline.
    """
    by_name = {metric.name: metric for metric in METRICS}
    found = []
    for name in metrics:
        if name not in by_name:
            raise unknown("metric", name, by_name)
        table = clip_values(results.records, name, protocol)
        clusters = results.clusters(list(table.index))
        for a, b in pairs:
            margin = (margins or {}).get(name) or claimed_margin(a, b, by_name[name])
            values = (table[a.run_id].to_numpy(np.float64), table[b.run_id].to_numpy(np.float64))
            found.append(_evidence(by_name[name], (a, b), values, clusters, margin))
    corrected = holm([item["p"] for item in found])
    return [Comparison(**item, p_holm=p) for item, p in zip(found, corrected, strict=True)]


def _evidence(
    metric: Metric,
    runs: tuple[RunManifest, RunManifest],
    values: tuple[np.ndarray, np.ndarray],
    clusters: list[str],
    margin: Margin,
) -> dict[str, Any]:
    d = values[0] - values[1]
    both = np.isfinite(d)
    if both.sum() < 2:
        raise DataError(
            f"{spell(runs[0])} and {spell(runs[1])} share {int(both.sum())} clips with "
            f"{metric.title}; a comparison needs at least 2"
        )
    deviation = float(d[both].std(ddof=1))
    wins = d[both] > 0 if metric.higher_is_better else d[both] < 0
    return {
        "metric": metric,
        "a": runs[0],
        "b": runs[1],
        "difference": paired_difference(*values, clusters),
        "deviation": deviation,
        "subjects": len({name for name, kept in zip(clusters, both, strict=True) if kept}),
        "p": wilcoxon(d),
        "dz": cohen_dz(d),
        "rank_biserial": rank_biserial(d),
        "wins": int(wins.sum()),
        "margin": margin,
        "needed": clips_needed(margin.value, deviation),
        "design_effect": design_effect(d, clusters),
    }


def claimed_margin(a: RunManifest, b: RunManifest, metric: Metric) -> Margin:
    """Return what the paper prints between two methods, without sign; else its headline margin."""
    printed = [run.about.published.get(metric.name) for run in (a, b)]
    if printed[0] and printed[1] and "full" == a.variant == b.variant:
        value = abs(float(printed[0]["value"]) - float(printed[1]["value"]))
        if value > 0:
            where = f"{printed[0]['where']}, against {b.about.title}"
            return Margin(value=round(value, metric.digits), where=where)
    return HEADLINE[metric.name]


def verdict(c: Comparison) -> str:
    """Say in one line what the evidence of one comparison amounts to."""
    d, digits = c.difference, c.metric.digits + 1
    unit = " dB" if c.metric.name == "psnr" else ""
    numbers = (
        f"{paired(d, digits, unit)}, {d.clips} clips of {c.subjects} "
        f"subject{'s' if c.subjects != 1 else ''}, better in {c.wins}, Wilcoxon p "
        f"{p_text(c.p_holm)} (Holm), dz {c.dz:+.2f}"
    )
    name, a, b = c.metric.title.removesuffix(" (dB)"), spell(c.a), spell(c.b)
    margin = (
        f"a margin of {c.margin.value:g}{unit} ({c.margin.where}) takes {c.needed_clustered} clips"
    )
    head = {
        "a": f"{name}: {a} is better than {b}",
        "b": f"{name}: {b} is better than {a}",
        "": f"{name}: no difference between {a} and {b} is resolved",
    }[c.winner]
    if c.difference.clips < FEWEST:
        head += f" (nor could it be with {c.difference.clips} clips)"
    elif not c.difference.conclusive:
        head += f" (nor could it be with {c.subjects} subject{'s' if c.subjects > 1 else ''})"
    return f"{head}: {numbers}; {margin}"


def p_text(p: float) -> str:
    """Print a p value: `= 0.012`, or `< 0.0001`."""
    return "< 0.0001" if p < 0.0001 else f"= {p:.2g}"


def row_of(c: Comparison) -> dict[str, Any]:
    """Return a comparison as a flat dict, for JSON and CSV."""
    numbers = {
        "difference": c.difference.mean,
        "low": c.difference.low,
        "high": c.difference.high,
        "deviation": c.deviation,
        "p_wilcoxon": c.p,
        "p_holm": c.p_holm,
        "cohen_dz": c.dz,
        "rank_biserial": c.rank_biserial,
        "margin": c.margin.value,
        "design_effect": c.design_effect,
    }
    finite = {key: round(v, 9) if math.isfinite(v) else None for key, v in numbers.items()}
    return {
        "metric": c.metric.name,
        "a": spell(c.a),
        "b": spell(c.b),
        "winner": {"a": spell(c.a), "b": spell(c.b), "": None}[c.winner],
        **finite,
        "clips": c.difference.clips,
        "subjects": c.subjects,
        "wins": c.wins,
        "margin_where": c.margin.where,
        "clips_needed": c.needed,
        "clips_needed_clustered": c.needed_clustered,
        "run_a": c.a.run_id,
        "run_b": c.b.run_id,
        "verdict": verdict(c),
    }
