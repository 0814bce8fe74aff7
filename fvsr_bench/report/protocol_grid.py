"""How far each method, and each ranking, moves between evaluation conventions; records only.

The grid: {RGB, Y studio, Y full} x crop {0, 4, 8} x {all frames, drop 2+2, first 10} x {mean over
frames, pooled} for PSNR, and SSIM with a Gaussian or a uniform window instead of the averages.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pandas as pd

from fvsr_bench.errors import DataError
from fvsr_bench.protocols import GRID_COLOURS, GRID_CROPS, PRESETS
from fvsr_bench.records import clip_values, protocol_key
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import METRICS, Metric, titles
from fvsr_bench.spec import FAPN_PROTOCOL, Average, EvalProtocol, Frames
from fvsr_bench.statistics import FEWEST, resample_counts

WINDOWS: Mapping[str, Mapping[str, Any]] = {
    "gaussian11": {},
    "uniform7": {"ssim_window": "uniform", "ssim_size": 7, "ssim_sigma": 0.0},
}
AXES = {
    "psnr": ("colour", "crop", "frames", "average"),
    "ssim": ("colour", "crop", "frames", "window"),
}


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way of measuring, and its value on each axis of the grid."""

    name: str
    protocol: EvalProtocol
    axes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods over all conventions: who is ahead, and where the interval excludes zero."""

    a: str  # run id; ahead under the default convention
    b: str
    a_ahead: int
    a_resolved: int
    b_ahead: int
    b_resolved: int


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One metric under every convention."""

    metric: Metric
    conventions: tuple[Convention, ...]  # the default one first
    titles: Mapping[str, str]  # run id -> name of the row
    means: pd.DataFrame  # [convention name, run id]; best first under the default convention
    pairs: tuple[Pair, ...]
    presets: pd.DataFrame  # [preset name, run id]

    @property
    def same_order(self) -> int:
        """Count the conventions that rank all methods as the default one does."""
        return int((self.ranks == self.ranks.iloc[0]).all(axis=1).sum())

    @property
    def ranks(self) -> pd.DataFrame:
        """Rank the methods under each convention, 1 = best."""
        ascending = not self.metric.higher_is_better
        return self.means.rank(axis=1, ascending=ascending, method="min").astype(int)

    def steps(self) -> dict[str, np.ndarray]:
        """Change one axis of the default convention at a time: "crop: 8" -> change per method."""
        base, first = self.means.iloc[0], self.conventions[0].axes
        found = {}
        for c in self.conventions[1:]:
            changed = [axis for axis, value in c.axes.items() if value != first[axis]]
            if len(changed) == 1:
                name = f"{changed[0]}: {c.axes[changed[0]]}"
                found[name] = (self.means.loc[c.name] - base).to_numpy(np.float64)
        return found


def conventions(metric: str) -> tuple[Convention, ...]:
    """List the conventions of a metric (psnr or ssim), the default one first."""
    last: Sequence[tuple[str, Mapping[str, Any]]]
    if metric == "psnr":
        last = [(name, {"average": name}) for name in get_args(Average)]
    else:
        last = list(WINDOWS.items())
    found = []
    for colour, crop, frames, (word, changes) in itertools.product(
        GRID_COLOURS, GRID_CROPS, get_args(Frames), last
    ):
        values = (colour, str(crop), frames, word)
        name = f"{colour} crop {crop} {frames} {word}"
        protocol = dataclasses.replace(
            FAPN_PROTOCOL, name=name, colour=colour, crop=crop, frames=frames, **changes
        )
        axes = dict(zip(AXES[metric], values, strict=True))
        found.append(Convention(name=name, protocol=protocol, axes=axes))
    return tuple(found)


def protocol_grids(results: Results) -> list[Grid]:
    """Compute the grid of PSNR and of SSIM for the full variant of every method with numbers."""
    runs = [m for m in results.complete if m.variant.split("-")[0] == "full"]
    if not runs:
        raise DataError(f"{results.root}: no method has records yet; nothing to compare")
    names = titles(runs)
    ids = [m.run_id for m in runs]
    return [_grid(results, ids, names, m) for m in METRICS if m.name in ("psnr", "ssim")]


def _grid(results: Results, ids: list[str], names: Mapping[str, str], metric: Metric) -> Grid:
    rows = results.records[results.records["metric"] == metric.name]
    by_key = {str(key): part for key, part in rows.groupby("protocol", observed=True)}
    every = conventions(metric.name)
    tables = {}
    for c in every:
        key = protocol_key(metric.name, c.protocol)
        if key in by_key:  # a small frame has no large crop
            tables[c.name] = clip_values(by_key[key], metric.name, c.protocol)[ids]
    if every[0].name not in tables:
        raise DataError(f"{results.root}: no {metric.name} records of the protocol grid; run again")
    means = pd.DataFrame({name: table.mean() for name, table in tables.items()}).T
    order = means.iloc[0].sort_values(ascending=not metric.higher_is_better, kind="stable").index
    presets = {}
    for name, preset in PRESETS.items():
        key = protocol_key(metric.name, preset)
        if key in by_key:
            presets[name] = clip_values(by_key[key], metric.name, preset)[ids].mean()
    return Grid(
        metric=metric,
        conventions=tuple(c for c in every if c.name in tables),
        titles=names,
        means=means[list(order)],
        pairs=_pairs(results, tables, list(order), metric),
        presets=pd.DataFrame(presets).T[list(order)],
    )


def _pairs(
    results: Results, tables: Mapping[str, pd.DataFrame], order: list[str], metric: Metric
) -> tuple[Pair, ...]:
    index = list(itertools.combinations(range(len(order)), 2))
    if not index:
        return ()
    first, second = (np.array(side) for side in zip(*index, strict=True))
    sign = 1 if metric.higher_is_better else -1
    clusters = results.clusters(list(next(iter(tables.values())).index))
    counts = np.concatenate(list(resample_counts(clusters)))
    weights = (counts / counts.sum(axis=1, keepdims=True)).T  # [clips, resamples]
    tally = np.zeros((4, len(index)), dtype=int)  # a ahead, a resolved, b ahead, b resolved
    for table in tables.values():
        values = sign * table[order].to_numpy(np.float64)
        d = values[:, first] - values[:, second]
        low, high = np.percentile(d.T @ weights, [2.5, 97.5], axis=1)
        if len(set(clusters)) < FEWEST:  # their interval decides nothing
            low, high = np.full_like(low, np.nan), np.full_like(high, np.nan)
        mean = d.mean(axis=0)
        tally += np.stack([mean > 0, low > 0, mean < 0, high < 0])
    return tuple(
        Pair(
            a=order[i],
            b=order[j],
            a_ahead=int(tally[0, k]),
            a_resolved=int(tally[1, k]),
            b_ahead=int(tally[2, k]),
            b_resolved=int(tally[3, k]),
        )
        for k, (i, j) in enumerate(index)
    )


def grid_rows(grids: Sequence[Grid]) -> list[dict[str, Any]]:
    """Return every number of the grids: a row per metric x convention x method, for CSV."""
    rows = []
    for grid in grids:
        means, ranks = grid.means.to_numpy(np.float64), grid.ranks.to_numpy()
        for i, c in enumerate(grid.conventions):
            axes = {name: c.axes.get(name, "") for name in (*AXES["psnr"], "window")}
            for j, run_id in enumerate(grid.means.columns):
                rows.append(
                    {"metric": grid.metric.name, **axes, "method": grid.titles[run_id]}
                    | {"mean": round(float(means[i, j]), 6), "rank": int(ranks[i, j])}
                    | {"to_default": round(float(means[i, j] - means[0, j]), 6), "run_id": run_id}
                )
    return rows
