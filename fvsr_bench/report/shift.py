"""The shift diagnostic of a results folder: whose output is displaced, and what does it cost?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fvsr_bench.displacement import WARN, Shift, explain
from fvsr_bench.manifest import RunManifest
from fvsr_bench.records import whole_clip_values
from fvsr_bench.report.results import Results

MEASURES = ("shift-x", "shift-y", "shift-psnr-gain", "shift-ssim-gain")


@dataclass(frozen=True, kw_only=True)
class ShiftRow:
    """One method: where its output lies against the ground truth, over the clips."""

    manifest: RunManifest
    shift: Shift  # median over clips, HR px
    spread: float  # largest distance of a clip's shift from the median, px
    clips: int  # where a shift could be found
    above: int  # of them displaced by more than 0.25 px
    psnr_gain: float  # dB, mean over clips: shift-compensated minus plain
    ssim_gain: float

    @property
    def warning(self) -> str | None:
        """Return the likely cause and the fix, when the median clip is displaced."""
        return explain(self.shift)


def shift_rows(results: Results, runs: Sequence[RunManifest] | None = None) -> list[ShiftRow]:
    """Summarise the displacement of each complete run; empty when none was measured."""
    chosen = results.complete if runs is None else [m for m in runs if m.status == "complete"]
    if results.records.empty or not chosen:
        return []
    tables = {name: whole_clip_values(results.records, name) for name in MEASURES}
    rows = []
    for run in chosen:
        if any(run.run_id not in table.columns for table in tables.values()):
            continue
        dx, dy, psnr, ssim = (tables[n][run.run_id].to_numpy(np.float64) for n in MEASURES)
        keep = np.isfinite(dx) & np.isfinite(dy)
        if keep.any():
            rows.append(_row(run, dx[keep], dy[keep], psnr[keep], ssim[keep]))
    return rows


def _row(
    run: RunManifest, dx: np.ndarray, dy: np.ndarray, psnr: np.ndarray, ssim: np.ndarray
) -> ShiftRow:
    middle = Shift(dx=float(np.median(dx)), dy=float(np.median(dy)))
    return ShiftRow(
        manifest=run,
        shift=middle,
        spread=float(np.hypot(dx - middle.dx, dy - middle.dy).max()),
        clips=len(dx),
        above=int((np.hypot(dx, dy) > WARN).sum()),
        psnr_gain=float(psnr.mean()),
        ssim_gain=float(ssim.mean()),
    )


def shift_warnings(results: Results, runs: Sequence[RunManifest] | None = None) -> list[str]:
    """Return one line per displaced method, for the footnotes of a table."""
    return [
        f"Displaced: {row.manifest.about.title} ({row.manifest.weights}): {row.warning}. Without "
        f"the displacement its PSNR would be {row.psnr_gain:+.2f} dB and its SSIM "
        f"{row.ssim_gain:+.3f} from what is printed (inside an 8 px border)."
        for row in shift_rows(results, runs)
        if row.warning
    ]


def shift_dicts(rows: Sequence[ShiftRow]) -> list[dict[str, Any]]:
    """Return the rows as flat dicts, for CSV and JSON."""
    return [
        {
            "method": row.manifest.model,
            "variant": row.manifest.variant,
            "weights": row.manifest.weights,
            "shift_x": round(row.shift.dx, 4),
            "shift_y": round(row.shift.dy, 4),
            "size": round(row.shift.size, 4),
            "spread": round(row.spread, 4),
            "clips": row.clips,
            "clips_displaced": row.above,
            "psnr_gain": _plain(row.psnr_gain),
            "ssim_gain": _plain(row.ssim_gain),
            "warning": row.warning or "",
            "run_id": row.manifest.run_id,
        }
        for row in rows
    ]


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
