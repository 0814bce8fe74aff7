"""Tables 1 and 2 from the records: what stands in which cell (`text` renders it)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fvsr_bench.manifest import About, RunManifest
from fvsr_bench.records import clip_values, measured_frames, protocol_key, select_frames
from fvsr_bench.report.results import Results
from fvsr_bench.report.shift import shift_warnings
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.statistics import FEWEST, Estimate, bootstrap_mean, paired_difference


@dataclass(frozen=True, kw_only=True)
class Metric:
    """How a metric is printed and which way is better."""

    name: str
    title: str
    digits: int
    higher_is_better: bool


METRICS = (
    Metric(name="psnr", title="PSNR (dB)", digits=2, higher_is_better=True),
    Metric(name="ssim", title="SSIM", digits=3, higher_is_better=True),
    Metric(name="face", title="Face distance", digits=3, higher_is_better=False),
)
PAPER_TABLE_1 = {"train": (340, 10880), "val": (15, 480), "test": (45, 1440)}
ONLY_OTHERS = (
    "Only other seeds and ablated networks were measured here, and this table is of whole methods: "
    "for them, fvsr-bench run --models all."
)
SPLIT_TITLES = {"train": "Training", "val": "Validation", "test": "Testing"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One metric of one method: the paper's number, ours, and the distance to the best method."""

    ours: Estimate
    paper: float | None
    where: str  # in the paper
    best: bool
    to_best: Estimate | None  # ours minus the best method's, paired by clip; None for the best

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None else self.ours.mean - self.paper


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method: its cells, or the reason why there are none."""

    manifest: RunManifest
    title: str
    cells: dict[str, Cell]  # metric -> cell; empty without numbers
    frames: int
    faces: int  # frames with a face, where Face distance was measured

    @property
    def clips(self) -> int:
        """Clips that enter the means."""
        return max((cell.ours.clips for cell in self.cells.values()), default=0)

    def paper(self, metric: str) -> float | None:
        """The number the paper prints for this method, measured here or not."""
        known = self.manifest.about.published.get(metric)
        return float(known["value"]) if known else None


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of methods under one protocol."""

    caption: str
    rows: tuple[Row, ...]
    metrics: tuple[Metric, ...]
    protocol: EvalProtocol
    footnotes: tuple[str, ...]


def table2(results: Results, protocol: EvalProtocol) -> Table:
    """Compute Table 2: every method as published by the paper beside our measurement."""
    manifests = [m for m in results.manifests if is_whole(m)]
    table = compare(results, protocol, manifests, "Table 2. Quantitative comparison")
    if results.complete and not manifests:
        return replace(table, footnotes=(*table.footnotes, ONLY_OTHERS))
    return table


def is_whole(run: RunManifest) -> bool:
    """Say whether a run stands in Table 2 and Fig. 5: no ablation, and no other seed."""
    return run.variant.split("-")[0] == "full"


def compare(
    results: Results, protocol: EvalProtocol, manifests: Sequence[RunManifest], caption: str
) -> Table:
    """Compute a table of the given runs: means with 95 % intervals, paired distance to the best.

    Rows with numbers come first, best PSNR on top; rows without follow with their reason.
    """
    runs = [m for m in manifests if m.status == "complete"]
    metrics = tuple(m for m in METRICS if runs and _is_measured(results, m.name, protocol))
    cells: dict[str, dict[str, Cell]] = {m.run_id: {} for m in runs}
    for metric in metrics:
        for run_id, cell in _cells(results, protocol, runs, metric).items():
            cells[run_id][metric.name] = cell
    frames = _counts(results, "psnr", protocol)
    faces = _counts(results, "face", protocol)
    names = titles(manifests)
    rows = [
        Row(
            manifest=m,
            title=names[m.run_id],
            cells=cells.get(m.run_id, {}),
            frames=frames.get(m.run_id, 0),
            faces=faces.get(m.run_id, 0),
        )
        for m in manifests
    ]
    return Table(
        caption=caption,
        rows=tuple(sorted(rows, key=_rank)),
        metrics=metrics or METRICS,
        protocol=protocol,
        footnotes=_footnotes(results, protocol, rows),
    )


def _counts(results: Results, metric: str, protocol: EvalProtocol) -> dict[str, int]:
    if results.records.empty:
        return {}
    counts = measured_frames(results.records, metric, protocol)
    return {str(run_id): int(count) for run_id, count in counts.items()}


def _is_measured(results: Results, metric: str, protocol: EvalProtocol) -> bool:
    if metric != "face":
        return True  # a missing convention is an error that names those there are
    return bool((results.records["protocol"] == protocol_key(metric, protocol)).any())


def _cells(
    results: Results, protocol: EvalProtocol, runs: Sequence[RunManifest], metric: Metric
) -> dict[str, Cell]:
    table = clip_values(results.records, metric.name, protocol)
    values = {run.run_id: table[run.run_id].to_numpy(np.float64) for run in runs}
    clusters = results.clusters(list(table.index))
    ours = {run_id: bootstrap_mean(value, clusters) for run_id, value in values.items()}
    sign = 1 if metric.higher_is_better else -1
    ranked = [run_id for run_id, e in ours.items() if not math.isnan(e.mean)]
    best = max(ranked, key=lambda run_id: sign * ours[run_id].mean, default="")
    cells = {}
    for run in runs:
        known = run.about.published.get(metric.name)
        cells[run.run_id] = Cell(
            ours=ours[run.run_id],
            paper=float(known["value"]) if known else None,
            where=str(known["where"]) if known else "",
            best=run.run_id == best,
            to_best=paired_difference(values[run.run_id], values[best], clusters)
            if best and run.run_id != best
            else None,
        )
    return cells


def _rank(row: Row) -> tuple[bool, float, str]:
    cell = row.cells.get("psnr")
    return (cell is None, -cell.ours.mean if cell else 0.0, row.title.lower())


def titles(manifests: Sequence[RunManifest]) -> dict[str, str]:
    """Name the rows: the title alone where it is unique, else with what tells them apart."""
    names = {}
    for m in manifests:
        alike = [o for o in manifests if o.about.title == m.about.title and o is not m]
        title = m.about.title
        if any(o.variant != m.variant for o in alike):
            title += f" {m.variant}"
        if any(o.variant == m.variant for o in alike):
            title += f" ({m.weights})"
        names[m.run_id] = title + (" †" if m.about.mismatch else "")
    return names


def training_note(networks: Iterable[tuple[str, About]]) -> list[str]:
    """Say for how many steps of which losses networks (title, facts) were trained; [] = unknown."""
    alike: dict[tuple[int, int, str], list[str]] = {}
    for title, about in networks:
        if about.steps:
            key = (about.before + about.steps, about.before, about.losses)
            alike.setdefault(key, []).append(title)
    groups = []
    for (steps, before, losses), names in sorted(alike.items()):
        count = f"{before:,} + {steps - before:,}" if before else f"{steps:,}"
        text = f"{', '.join(names)} {count} steps"
        if losses:
            text += f" on {', '.join(losses.split('+'))}"
        groups.append(text)
    return [f"Training: {'; '.join(groups)}."] if groups else []


def _footnotes(results: Results, protocol: EvalProtocol, rows: Sequence[Row]) -> tuple[str, ...]:
    notes = [
        f"Data: {results.data_note()}.",
        f"Protocol {protocol.name}: {describe_protocol(protocol)}.",
        "Ours: mean over clips ± half its 95 % bootstrap interval; whole subjects are resampled, "
        "since clips of one face are alike. Difference: ours minus paper. The paper measured on "
        "300-VW faces: a difference to it mixes method, training and data.",
    ]
    subjects = len(set(results.facts.clips.values()))
    if subjects == 1:
        notes.append("All clips are of one subject: there are no intervals, nothing is resolved.")
    elif subjects < FEWEST:
        notes.append(
            f"The clips are of {subjects} subjects: an interval is hardly more than their range, "
            f"and no difference counts as resolved (from {FEWEST} on it may)."
        )
    found = _found(results, protocol)
    if found is not None and not found.all():
        notes.append(
            f"The detector found the ground truth's face in {int(found.sum())} of {len(found)} "
            "frames; elsewhere its place comes from the clip's landmarks or the nearest frame. "
            "The frames are the same for every method."
        )
    notes += training_note((row.title, row.manifest.about) for row in rows)
    notes += shift_warnings(results, [row.manifest for row in rows])
    notes += [f"{r.title}: {r.manifest.about.notes}." for r in rows if r.manifest.about.notes]
    marked = [row.manifest.about for row in rows if row.manifest.about.mismatch]
    return (*notes, *(f"† {about.title}: {about.mismatch}." for about in marked))


def _found(results: Results, protocol: EvalProtocol) -> np.ndarray | None:
    """Return whether the detector found the face, per frame of the data; None if not recorded."""
    r = results.records
    if r.empty:
        return None
    key = protocol_key("face", protocol)
    rows = r[(r["metric"] == "face-found") & (r["protocol"] == key)]
    rows = select_frames(rows, protocol.frames).drop_duplicates(["clip", "frame"])
    return rows["value"].to_numpy() > 0 if len(rows) else None


def describe_protocol(p: EvalProtocol) -> str:
    """Spell a protocol out in one line."""
    frames = {
        "all": "all frames",
        "drop-2-2": "without the first and last 2 frames",
        "first-10": "first 10 frames",
    }[p.frames]
    average = "mean over frames, then clips"
    if p.average == "pooled":
        average = "MSE pooled over a clip's frames, then mean over clips"
    window = f"SSIM {p.ssim_window} window {p.ssim_size} px"
    if p.ssim_window == "gaussian":
        window += f" sigma {p.ssim_sigma:g}"
    if p.ssim_range == "prediction":
        window += ", data range of the prediction"
    rounded = "rounded to 8 bit" if p.quantise else "not rounded"
    box = {"gt": "of the ground truth", "each": "of each image", "whole": "the whole frame"}
    return (
        f"{p.colour}, border crop {p.crop} px, {rounded}, {frames}, {average}, "
        f"PSNR at most {p.psnr_cap:g} dB, {window}, face box {box[p.face_box]}"
    )


def table1_rows(results: Results) -> list[dict[str, Any]]:
    """Return Table 1: sequences and frames of each split, the paper's beside ours."""
    rows = []
    for split, title in SPLIT_TITLES.items():
        sequences, frames = results.facts.splits.get(split, (0, 0))
        paper = PAPER_TABLE_1[split]
        rows.append(
            {
                "split": split,
                "title": title,
                "paper_sequences": paper[0],
                "paper_frames": paper[1],
                "sequences": sequences,
                "frames": frames,
            }
        )
    return rows
