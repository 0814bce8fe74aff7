"""The table of the other judges: time, perception, identity; whatever the records hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fvsr_bench.report.results import Results
from fvsr_bench.report.tables import titles
from fvsr_bench.report.text import md_table, plus_minus
from fvsr_bench.statistics import Estimate, bootstrap_mean

SAME_PERSON = 0.6  # Face distance below which face_recognition calls two faces one person


@dataclass(frozen=True, kw_only=True)
class JudgeColumn:
    """How a judge's measure is printed."""

    metric: str
    title: str
    digits: int


COLUMNS = (
    JudgeColumn(metric="same-person", title="Face distance < 0.6 (share) ↑", digits=3),
    JudgeColumn(metric="identity-jitter", title="Identity jitter", digits=3),
    JudgeColumn(metric="tof", title="tOF (px) ↓", digits=3),
    JudgeColumn(metric="warping-error", title="Warping error", digits=5),
    JudgeColumn(metric="tpsnr", title="tPSNR (dB) ↑", digits=2),
    JudgeColumn(metric="lpips", title="LPIPS ↓", digits=3),
    JudgeColumn(metric="tlp100", title="tLP100 ↓", digits=3),
    JudgeColumn(metric="arcface", title="ArcFace cosine ↑", digits=3),
)


def judge_rows(results: Results) -> list[dict[str, str | Estimate]]:
    """Return one row per complete run: method, and mean with interval of each measure there is.

    Frames are averaged per clip, then clips; frames without a value (frame 0 of temporal measures,
    frames without a face) are left out. A measure with several conventions has a column for each.
    """
    records = results.records
    if records.empty:
        return []
    faces = records[records["metric"] == "face"].dropna(subset=["value"])
    same = faces.assign(metric="same-person", value=(faces["value"] < SAME_PERSON).astype(float))
    wanted = [column.metric for column in COLUMNS]
    chosen = pd.concat([records[records["metric"].isin(wanted)], same]).astype({"metric": str})
    clips = chosen.groupby(["run_id", "metric", "protocol", "clip"], observed=True)["value"].mean()
    values: dict[tuple[str, str, str], Estimate] = {}
    wide = clips.unstack("clip").sort_index()
    clusters = results.clusters([str(clip) for clip in wide.columns])
    for (run_id, metric, protocol), row in zip(wide.index, wide.to_numpy(float), strict=True):
        values[str(run_id), str(metric), str(protocol)] = bootstrap_mean(row, clusters)
    names = titles(results.complete)
    rows: list[dict[str, str | Estimate]] = []
    for run in results.complete:
        found: dict[str, str | Estimate] = {"method": names[run.run_id]}
        for (run_id, metric, protocol), estimate in sorted(values.items()):
            if run_id == run.run_id:
                found[f"{metric} {protocol}"] = estimate
        rows.append(found)
    return rows


def judge_columns(rows: Sequence[Mapping[str, str | Estimate]]) -> list[tuple[str, JudgeColumn]]:
    """Return the keys that occur in any row, in the order of `COLUMNS`, with how to print them."""
    keys = sorted({key for row in rows for key in row if key != "method"})
    return [(k, column) for column in COLUMNS for k in keys if k.split(" ")[0] == column.metric]


def judges_markdown(rows: Sequence[Mapping[str, str | Estimate]], note: str) -> str:
    """Render the table with its footnotes."""
    columns = judge_columns(rows)
    head = ["Method", *(f"{column.title} `{key.split(' ')[1]}`" for key, column in columns)]
    body = []
    for row in rows:
        cells = [row.get(key) for key, _ in columns]
        body.append(
            [
                str(row["method"]),
                *(
                    plus_minus(cell, column.digits) if isinstance(cell, Estimate) else "–"
                    for cell, (_, column) in zip(cells, columns, strict=True)
                ),
            ]
        )
    notes = [
        f"Data: {note}.",
        "Mean over clips ± half its 95 % bootstrap interval; whole subjects are resampled. Warping "
        "error and identity jitter are neither better high nor low: the ground truth has its own, "
        "which is not measured here, and blur lowers both.",
    ]
    lines = ["**Other judges**", "", *md_table(head, body), "", *(f"- {n}" for n in notes), ""]
    return "\n".join(lines)


def judges_csv(rows: Sequence[Mapping[str, str | Estimate]]) -> str:
    """Render the rows as CSV: one row per method x measure."""
    flat = []
    for row in rows:
        for key, cell in row.items():
            if isinstance(cell, Estimate):
                metric, protocol = key.split(" ")
                flat.append(
                    {
                        "method": row["method"],
                        "metric": metric,
                        "protocol": protocol,
                        "mean": round(cell.mean, 6),
                        "low": round(cell.low, 6),
                        "high": round(cell.high, 6),
                        "clips": cell.clips,
                    }
                )
    return pd.DataFrame(flat).to_csv(index=False, lineterminator="\n")
