"""What the phase experiment found: levels, the cost of the mismatch, and the paper's gap. No torch.

FAPN's Table 2 puts FRVSR 4.75 dB and TecoGAN 5.15 dB below VESPCN. The hypothesis: their released
weights, made for LR frames that keep pixel 0 of every 4x4 block (BD), were fed frames that take its
centre (BI). Levels depend on the data, so what is compared is the gap to VESPCN, clip by clip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from fvsr_bench.displacement import Shift
from fvsr_bench.errors import DataError
from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import clip_values
from fvsr_bench.report.results import Results, load_results
from fvsr_bench.report.shift import shift_rows
from fvsr_bench.spec import EvalProtocol
from fvsr_bench.statistics import Estimate, bootstrap_mean, paired_difference

PAPER = {  # FAPN, Table 2: PSNR in dB and SSIM
    "frvsr": (25.25, 0.823),
    "tecogan": (24.85, 0.811),
    "vespcn": (30.00, 0.907),
}
NEAR = 1.0  # dB: gaps closer than this to the paper's count as the same
Values = pd.Series | None  # by clip
Answer = Literal["supported", "too small", "too large", "not resolved", "not tested"]


@dataclass(frozen=True, kw_only=True)
class Level:
    """One method with one set of weights on one kind of LR frames."""

    manifest: RunManifest
    data: str  # degradation of the LR frames
    trained: str  # degradation the weights were made for; "" without weights
    matched: bool
    psnr: Estimate
    ssim: Estimate
    shift: Shift | None
    psnr_gain: float  # dB that taking the shift out brings; NaN when not measured


@dataclass(frozen=True, kw_only=True)
class Test:
    """The hypothesis for one method: its BD weights on BI frames against VESPCN on BI frames."""

    method: str
    title: str
    answer: Answer
    paper_gap: float  # dB, method minus VESPCN in the paper
    gap: Estimate | None  # the same, mismatched, measured here
    matched_gap: Estimate | None  # the same with weights made for BI frames
    cost: Estimate | None  # mismatched minus matched weights on the same BI frames
    reverse_gap: Estimate | None  # BI weights on BD frames, minus VESPCN on BI frames
    reverse_cost: Estimate | None  # BI weights on BD frames, minus the same on BI frames
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """All levels and the test of each method."""

    note: str
    levels: tuple[Level, ...]
    tests: tuple[Test, ...]


def read_phase(out: Path, protocol: EvalProtocol) -> Finding:
    """Compute the finding from the records in OUT/bi and OUT/bd15 or bd16."""
    names = sorted(path.parent.name for path in out.glob("b*/manifests"))
    if "bi" not in names:
        raise DataError(
            f"{out} holds no phase experiment; make it with: fvsr-bench explain phase --out {out}"
        )
    folders = {name: load_results(out / name) for name in ["bi", *(n for n in names if n != "bi")]}
    return find(folders, protocol)


def find(folders: Mapping[str, Results], protocol: EvalProtocol) -> Finding:
    """Compute the finding from one results folder per degradation ("bi", and a BD one)."""
    levels = [level for name, r in folders.items() for level in _levels(r, name, protocol)]
    bi = folders["bi"]
    other = next((r for name, r in folders.items() if name != "bi"), None)
    tests = tuple(_test(name, bi, other, protocol) for name in ("frvsr", "tecogan"))
    note = f"{bi.data_note()}; protocol {protocol.name}{_trained(levels)}"
    return Finding(note=note, levels=tuple(levels), tests=tests)


def _trained(levels: Sequence[Level]) -> str:
    """Say for how many steps the networks were trained, where their cards tell."""
    steps = sorted({level.manifest.about.steps for level in levels} - {0})
    if not steps:
        return ""
    few = " to ".join(f"{count:,}" for count in dict.fromkeys((steps[0], steps[-1])))
    return f"; networks trained for {few} steps" + (", so unequally" if len(steps) > 1 else "")


def _levels(results: Results, data: str, protocol: EvalProtocol) -> list[Level]:
    if not results.complete:
        return []
    tables = {name: clip_values(results.records, name, protocol) for name in ("psnr", "ssim")}
    clusters = results.clusters(list(tables["psnr"].index))
    shifts = {row.manifest.run_id: row for row in shift_rows(results)}
    levels = []
    for run in results.complete:
        psnr, ssim = (
            bootstrap_mean(tables[name][run.run_id].to_numpy(np.float64), clusters)
            for name in ("psnr", "ssim")
        )
        row = shifts.get(run.run_id)
        levels.append(
            Level(
                manifest=run,
                data=data,
                trained=trained_for(run),
                matched=not run.about.mismatch and (bool(trained_for(run)) or data == "bi"),
                psnr=psnr,
                ssim=ssim,
                shift=row.shift if row else None,
                psnr_gain=row.psnr_gain if row else float("nan"),
            )
        )
    return levels


def trained_for(run: RunManifest) -> str:
    """Return the degradation that a run's weights were made for; "" without weights."""
    return run.about.trained_for.partition("/")[0]


def _pick(results: Results, method: str, kind: str) -> RunManifest | None:
    runs = [m for m in results.complete if m.model == method and m.variant == "full"]
    fit = [m for m in runs if trained_for(m).startswith(kind)]
    return min(fit, key=lambda m: (not m.weights.startswith(kind), m.stem), default=None)


def _psnr(results: Results | None, run: RunManifest | None, protocol: EvalProtocol) -> Values:
    """Return a run's PSNR by clip; None without the run."""
    if results is None or run is None:
        return None
    return clip_values(results.records, "psnr", protocol)[run.run_id]


def _gap(a: Values, b: Values, results: Results) -> Estimate | None:
    """Estimate a minus b over the clips that both have."""
    if a is None or b is None:
        return None
    a, b = a.align(b, join="inner")
    clusters = results.clusters(list(a.index))
    return paired_difference(a.to_numpy(np.float64), b.to_numpy(np.float64), clusters)


def _test(method: str, bi: Results, other: Results | None, protocol: EvalProtocol) -> Test:
    runs = {
        f"{method}, weights made for BD frames": _pick(bi, method, "bd"),
        f"{method}, weights made for BI frames": _pick(bi, method, "bi"),
        "vespcn, weights made for BI frames": _pick(bi, "vespcn", "bi"),
    }
    wrong, right, _ = runs.values()
    missing = tuple(name for name, run in runs.items() if run is None)
    bad, good, vespcn = (_psnr(bi, run, protocol) for run in runs.values())
    back = _psnr(other, _pick(other, method, "bi") if other else None, protocol)
    measured, paper = _gap(bad, vespcn, bi), PAPER[method][0] - PAPER["vespcn"][0]
    known = [run for run in (wrong, right) if run is not None]
    return Test(
        method=method,
        title=known[0].about.title.removesuffix(" †") if known else method,
        answer=answer(measured, paper),
        paper_gap=round(paper, 2),
        gap=measured,
        matched_gap=_gap(good, vespcn, bi),
        cost=_gap(bad, good, bi),
        reverse_gap=_gap(back, vespcn, bi),
        reverse_cost=_gap(back, good, bi),
        missing=missing,
    )


def answer(gap: Estimate | None, paper: float) -> Answer:
    """Judge a measured gap (dB) by the paper's: supported when its interval lies within 1 dB of it.

    "too small": the whole interval lies nearer to zero than that, so the mismatch alone does not
    explain the paper's number; "too large": it would make it even lower.
    """
    if gap is None:
        return "not tested"
    if not gap.conclusive:
        return "not resolved"
    if gap.low > paper + NEAR:
        return "too small"
    if gap.high < paper - NEAR:
        return "too large"
    inside = paper - NEAR <= gap.low and gap.high <= paper + NEAR
    return "supported" if inside else "not resolved"


def level_rows(finding: Finding) -> list[dict[str, Any]]:
    """Return the levels as flat dicts, for CSV and JSON."""
    rows = []
    for level in finding.levels:
        m, shift = level.manifest, level.shift
        paper = PAPER.get(m.model)
        rows.append(
            {
                "method": m.model,
                "weights": m.weights,
                "trained_for": level.trained,
                "data": level.data,
                "matched": level.matched,
                "psnr": round(level.psnr.mean, 6),
                "psnr_low": round(level.psnr.low, 6),
                "psnr_high": round(level.psnr.high, 6),
                "ssim": round(level.ssim.mean, 6),
                "shift_x": round(shift.dx, 4) if shift else None,
                "shift_y": round(shift.dy, 4) if shift else None,
                "psnr_without_shift": round(level.psnr.mean + level.psnr_gain, 4)
                if np.isfinite(level.psnr_gain)
                else None,
                "paper_psnr": paper[0] if paper else None,
                "paper_ssim": paper[1] if paper else None,
                "clips": level.psnr.clips,
                "steps": m.about.steps,
                "run_id": m.run_id,
            }
        )
    return rows
