"""Under which convention would stored records give a published number? No torch.

The same frames give PSNR values a decibel or more apart by colour space, border, frames and
averaging. Whether a number that was printed elsewhere is one of them decides what it can be
compared with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fvsr_bench.errors import DataError, unknown
from fvsr_bench.manifest import RunManifest
from fvsr_bench.protocols import PRESETS
from fvsr_bench.records import clip_values, protocol_key
from fvsr_bench.report.protocol_grid import conventions
from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import METRICS, Metric
from fvsr_bench.report.text import md_table, number
from fvsr_bench.spec import EvalProtocol

WITHIN = {"psnr": 0.1, "ssim": 0.002}  # a number this near counts as given by a convention
NEAREST = 3  # conventions that are named when none comes that near


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a run's records give under one convention."""

    convention: str  # "y-studio crop 8 drop-2-2 mean"; a preset's name
    preset: bool
    value: float


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A number, and the conventions sorted by how near they come to it."""

    metric: Metric
    run: RunManifest
    number: float
    within: float
    default: float  # under the protocol fapn
    readings: tuple[Reading, ...]

    @property
    def near(self) -> tuple[Reading, ...]:
        """Return the conventions that give the number."""
        return tuple(r for r in self.readings if abs(r.value - self.number) <= self.within)


def find_origin(
    results: Results, run: RunManifest, metric: str, printed: float, within: float = 0.0
) -> Origin:
    """Measure a run under every convention of the grid and every preset.

    `within` is what counts as the same, in the metric's unit; 0 = `WITHIN`. Raises UsageError for
    a metric without conventions, DataError where the records hold no grid.
    """
    if metric not in WITHIN:
        raise unknown("metric", metric, WITHIN)
    rows = results.records
    rows = rows[(rows["metric"] == metric) & (rows["run_id"] == run.run_id)]
    stored = set(rows["protocol"].astype(str))

    def value(protocol: EvalProtocol) -> float:
        return float(clip_values(rows, metric, protocol)[run.run_id].mean())

    asked: Mapping[str, EvalProtocol] = {c.name: c.protocol for c in conventions(metric)}
    readings = [
        Reading(convention=name, preset=name in PRESETS, value=value(protocol))
        for name, protocol in (*PRESETS.items(), *asked.items())
        if protocol_key(metric, protocol) in stored
    ]
    default = next((r.value for r in readings if r.convention == "fapn"), None)
    if default is None:
        raise DataError(f"{results.root}: no {metric} records of {run.stem}; run it again")
    return Origin(
        metric=next(m for m in METRICS if m.name == metric),
        run=run,
        number=printed,
        within=within or WITHIN[metric],
        default=default,
        readings=tuple(sorted(readings, key=lambda r: (abs(r.value - printed), not r.preset))),
    )


def origin_text(origin: Origin, note: str) -> str:
    """Say it: does a convention give the number, and how far is it from the default?"""
    digits, unit = origin.metric.digits, " dB" if origin.metric.name == "psnr" else ""
    title, grid = origin.run.about.title, [r for r in origin.readings if not r.preset]
    count = len([r for r in origin.near if not r.preset])
    ours = f"{title} has {number(origin.default, digits)}{unit} under the default convention (fapn)"
    values = [r.value for r in grid]
    span = f"{number(min(values), digits)} to {number(max(values), digits)}{unit}"
    head = f"{number(origin.number, digits)}{unit}: "
    if origin.near:
        which = f"{count} of {len(grid)} conventions give it, within {origin.within:g}{unit}"
        head += which
    else:
        off = number(abs(origin.readings[0].value - origin.number), digits)
        head += f"no convention gives it; the nearest is {off}{unit} away"
    shown: Sequence[Reading] = origin.near or origin.readings[:NEAREST]
    body = []
    for r in shown:
        off = number(r.value - origin.number, digits, signed=True)
        body.append([r.convention, number(r.value, digits), off])
    head_row = ["convention", origin.metric.title, "minus the number"]
    lines = [f"{head}. {ours}; all {len(grid)}: {span}.", "", *md_table(head_row, body), "", note]
    return "\n".join(lines)


def origin_rows(origin: Origin) -> list[dict[str, Any]]:
    """Return every convention as a flat dict, the nearest first."""
    return [
        {
            "convention": r.convention,
            "preset": r.preset,
            "value": round(r.value, 6),
            "difference": round(r.value - origin.number, 6),
            "gives_it": r in origin.near,
        }
        for r in origin.readings
    ]
