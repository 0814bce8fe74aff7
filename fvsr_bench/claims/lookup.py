"""Find in a results folder what a claim is about: the runs, and the numbers with intervals."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fvsr_bench.claims.ledger import (
    Claim,
    Frames,
    Ledger,
    Mean,
    Method,
    Order,
    Paired,
    Rise,
    Split,
    Worst,
    named_methods,
)
from fvsr_bench.claims.rules import Evidence, Item
from fvsr_bench.errors import DataError
from fvsr_bench.manifest import DatasetFacts, RunManifest
from fvsr_bench.records import clip_values, frame_values
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import METRICS
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.statistics import Estimate, bootstrap_mean, bootstrap_ratio

LOWER_IS_BETTER = frozenset(m.name for m in METRICS if not m.higher_is_better)
# The terms that each loss of the paper's Table 4 adds to MSE, as training recipes call them.
LOSS_TERMS: Mapping[str, frozenset[str]] = {
    "mse": frozenset(),
    "mse+gan": frozenset({"gan"}),
    "mse+vgg": frozenset({"vgg"}),
    "mse+face": frozenset({"face", "organ"}),
}
_EXTRA_TERMS = frozenset({"gan", "vgg", "face", "organ", "tgan", "feature", "ping-pong"})


def is_papers_data(facts: DatasetFacts, ledger: Ledger) -> bool:
    """Say whether results were measured on the paper's dataset: it goes by the dataset's name."""
    name = re.sub(r"[^a-z0-9]", "", facts.name.lower())
    return facts.kind == "faces" and name.startswith(ledger.paper.data)


def find_method(method: Method, results: Results) -> RunManifest | str:
    """Find the run that stands for a column of the paper's tables, or say why there is none."""
    runs = [m for m in results.complete if m.model == method.model and stands_for(m, method)]
    if not runs:
        if method.trained_with and not isinstance(
            find_method(replace(method, trained_with=()), results), str
        ):
            return f"only networks trained without {', '.join(method.trained_with)}"
        tried = [m for m in results.manifests if m.model == method.model and m.reason]
        plain = not method.without and not method.loss
        return tried[0].reason if tried and plain else "no run in these results"
    facts = results.facts
    named = "loss-" if method.loss else "full"  # an ablation's own run before one that equals it

    def rank(m: RunManifest) -> tuple[bool, bool, bool, str]:
        fits = m.variant.startswith(named)
        return bool(m.about.mismatch), not fits, m.weights != facts.degradation, m.stem

    return min(runs, key=rank)


def stands_for(run: RunManifest, method: Method) -> bool:
    """Say whether a run has exactly the method's ablated parts and its training loss.

    Ablated parts stand in the variant ("no-fsrc-no-nic") or the weights' tag; the loss in the
    variant ("loss-gan") or, for a full network, among the terms on the weights' card. Runs at
    reduced precision stand for nothing, nor do networks that are known to have been trained without
    a term that makes the method.
    """
    terms = frozenset(filter(None, run.about.losses.split("+")))
    if terms and not terms.issuperset(method.trained_with):
        return False
    words = set(re.split(r"[-+,_ ]", f"{run.variant}-{run.weights}".lower()))
    if "bf16" in words:
        return False
    if method.without:
        name = "-".join(f"no-{part}" for part in sorted(method.without))
        return run.variant == name or (run.variant, run.weights.partition("-")[2]) == ("full", name)
    if method.loss and run.variant.startswith("loss-"):
        return run.variant.removeprefix("loss-") == method.loss.removeprefix("mse+")
    if run.variant != "full" or "no" in words:
        return False
    if not method.loss:
        return True
    return "mse" in terms and terms & _EXTRA_TERMS == LOSS_TERMS.get(method.loss)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where evidence is looked up."""

    ledger: Ledger
    results: Results
    protocol: EvalProtocol


def gather(claim: Claim, source: Source) -> Evidence:
    """Look up the numbers that bear on a claim; missing methods are listed with the reason."""
    measured, results = claim.measured, source.results
    if measured is None or claim.kind == "arithmetic":
        return Evidence(missing=(claim.untested,) if claim.untested else ())
    if isinstance(measured, Split):
        counts = results.facts.splits.get(measured.split, (0, 0))
        value = float(counts[0 if measured.what == "sequences" else 1])
        fixed = Estimate(mean=value, low=value, high=value, clips=0)
        return Evidence(items=(Item(label=measured.split, estimate=fixed, strict=fixed),))
    found: dict[str, RunManifest] = {}
    missing = []
    for name in dict.fromkeys(named_methods(measured)):
        method = source.ledger.methods[name]
        run = find_method(method, results)
        if isinstance(run, str):
            missing.append(f"{method.title}: {run}")
        else:
            found[name] = run
    try:
        items = _items(claim, source, found)
    except DataError as error:  # the metric is not among these records
        return Evidence(missing=(str(error),))
    used = dict.fromkeys(run.run_id for run in found.values()) if items else {}
    return Evidence(items=items, missing=tuple(missing), runs=tuple(used))


def _items(claim: Claim, source: Source, found: dict[str, RunManifest]) -> tuple[Item, ...]:
    measured, metric = claim.measured, claim.judged_metric
    titles = {name: source.ledger.methods[name].title for name in source.ledger.methods}
    if not found:
        return ()
    table = clip_values(source.results.records, metric, source.protocol)
    clusters = source.results.clusters(list(table.index))
    if isinstance(measured, Mean):
        if measured.of not in found:
            return ()
        values = table[found[measured.of].run_id].to_numpy(np.float64)
        e = bootstrap_mean(values, clusters)
        return (Item(label=titles[measured.of], estimate=e, strict=e),)
    if isinstance(measured, Rise):
        return _rise(measured, metric, source, found)
    pairs = [(a, b) for a, b in _pairs(claim) if a in found and b in found]
    if isinstance(measured, Frames):
        return _per_frame(measured, metric, pairs, source, found)
    relative = isinstance(measured, Paired) and measured.relative
    level = 1 - 0.05 / max(1, len(pairs))
    items = []
    for a, b in pairs:
        better, worse = (table[found[name].run_id].to_numpy(np.float64) for name in (a, b))
        d = _sign(metric) * (better - worse)
        if relative:
            e, strict = (bootstrap_ratio(100 * d, worse, clusters, level=x) for x in (0.95, level))
        else:
            e, strict = (bootstrap_mean(d, clusters, level=x) for x in (0.95, level))
        items.append(Item(label=f"{titles[a]} over {titles[b]}", estimate=e, strict=strict))
    return tuple(items)


def _sign(metric: str) -> int:
    """Return what turns differences of a metric round, so that more is better."""
    return -1 if metric in LOWER_IS_BETTER else 1


def _pairs(claim: Claim) -> list[tuple[str, str]]:
    """List the pairs (better, worse) that a claim is about."""
    measured = claim.measured
    if isinstance(measured, Paired | Frames):
        return [(measured.better, other) for other in measured.than]
    if isinstance(measured, Worst):
        return [(other, measured.worst) for other in measured.than]
    if isinstance(measured, Order):
        return list(zip(measured.best_first, measured.best_first[1:], strict=False))
    return []


def _per_frame(
    measured: Frames,
    metric: str,
    pairs: Sequence[tuple[str, str]],
    source: Source,
    found: dict[str, RunManifest],
) -> tuple[Item, ...]:
    every = frame_values(source.results.records, metric, source.protocol)
    tables = {name: pd.DataFrame(every.loc[run.run_id]) for name, run in found.items()}
    level = 1 - 0.05 / max(1, len(pairs) * measured.first)
    items = []
    for a, b in pairs:
        d = _sign(metric) * (tables[a] - tables[b])
        clusters = source.results.clusters(list(d.index))
        for frame in range(measured.first):
            if frame not in d.columns:
                continue
            values = d[frame].to_numpy(np.float64)
            e, strict = (bootstrap_mean(values, clusters, level=x) for x in (0.95, level))
            label = f"frame {frame + 1}, over {source.ledger.methods[b].title}"
            items.append(Item(label=label, estimate=e, strict=strict))
    return tuple(items)


def _rise(
    measured: Rise, metric: str, source: Source, found: dict[str, RunManifest]
) -> tuple[Item, ...]:
    if measured.of not in found:
        return ()
    values = frame_values(source.results.records, metric, source.protocol)
    wide = pd.DataFrame(values.loc[found[measured.of].run_id])
    columns = wide.columns.to_numpy(dtype=int)
    early, late = (
        wide.loc[:, keep] for keep in (columns < measured.early, columns >= measured.late)
    )
    d = _sign(metric) * (late.mean(axis=1) - early.mean(axis=1)).to_numpy(np.float64)
    e = bootstrap_mean(d, source.results.clusters(list(wide.index)))
    label = f"frames from {measured.late + 1} on over the first {measured.early}"
    return (Item(label=label, estimate=e, strict=e),)
