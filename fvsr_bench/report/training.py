"""The curves of training runs: one run's losses, or several runs side by side.

Runs are compared over steps and over arithmetic (FLOP), since a step of one method may cost twice
that of another. What is compared is kept as a CSV, from which everything can be drawn again.
"""

import io
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from fvsr_bench.errors import DataError
from fvsr_bench.report.figures import DASHES, MARKERS, STYLE
from fvsr_bench.report.text import md_table

# GFLOP of one step, forth and back; the network (of the same file) that the training started from
COLUMNS = ("network", "step", "mse", "val_psnr", "gflop", "start")
EVERY = 50  # steps that a row of the kept curves averages


def read_log(run: Path) -> pd.DataFrame:
    """Read `log.jsonl` of a run folder (or the file itself): one row per step.

    Raises DataError if there is none, or if it is empty or damaged.
    """
    path = run / "log.jsonl" if run.is_dir() else run
    if not path.is_file():
        raise DataError(
            f"{run} has no log.jsonl; expected a run folder such as runs/fapn-bi-… that "
            "`fvsr-bench train` made."
        )
    try:
        rows = [
            json.loads(line)
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.endswith("}")
        ]
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}.") from error
    if not rows:
        raise DataError(f"{path} is empty: the run has made no step yet.")
    return pd.DataFrame(rows).set_index("step")


def training_figure(log: pd.DataFrame, title: str) -> bytes:
    """Draw every loss term (faint: each step; bold: mean of 50) and validation PSNR; PNG."""
    terms = [name for name in log.columns if not name.startswith("val_")]
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
        for name in terms:
            (line,) = left.plot(log.index, log[name], alpha=0.25, linewidth=0.7)
            smooth = log[name].rolling(50, min_periods=10).mean()
            left.plot(log.index, smooth, color=line.get_color(), label=name)
        left.set_yscale("log")
        left.set_title("Loss terms")
        left.set_xlabel("step")
        left.legend()
        if "val_psnr" in log.columns:
            known = log["val_psnr"].dropna()
            right.plot(known.index, known, marker="o", color="#0072B2")
        right.set_title("Validation PSNR (dB)")
        right.set_xlabel("step")
        figure.suptitle(title, fontsize=11)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        plt.close(figure)
    return picture.getvalue()


def run_name(run: Path) -> tuple[str, str]:
    """Return method and tag of a run folder, `frvsr-bi-seed1-4a2afef2ef7d`.

    Raises DataError if the folder is not named like that.
    """
    method, _, rest = run.name.partition("-")
    tag, _, digest = rest.rpartition("-")
    if not (method and tag and len(digest) == 12):
        raise DataError(f"{run} is not named METHOD-TAG-DIGEST as the run folders of `train` are.")
    return method, tag


def kept_curve(log: pd.DataFrame, network: str, gflop: float, start: str = "") -> pd.DataFrame:
    """Return a run's curve for `COLUMNS`: MSE averaged over 50 steps, validation PSNR in dB."""
    block = (log.index.to_series() - 1) // EVERY
    curve = pd.DataFrame({"mse": log["mse"].groupby(block).mean()})
    curve.index = (curve.index + 1) * EVERY
    curve = curve[curve.index <= log.index.max()].join(log["val_psnr"].dropna(), how="outer")
    curve = curve.rename_axis("step").reset_index()
    return curve.assign(network=network, gflop=round(gflop, 4), start=start)[list(COLUMNS)]


def read_curves(path: Path | io.StringIO) -> pd.DataFrame:
    """Read kept curves. Raises DataError if the file holds something else."""
    try:
        curves = pd.read_csv(path, keep_default_na=False, na_values={"val_psnr": "", "mse": ""})
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}.") from error
    if list(curves.columns) != list(COLUMNS):
        raise DataError(f"{path} has the columns {list(curves.columns)}; expected {list(COLUMNS)}.")
    return curves


def curves_csv(curves: pd.DataFrame) -> str:
    """Return kept curves as text."""
    return curves.round({"mse": 8, "val_psnr": 4}).to_csv(index=False, lineterminator="\n")


def spent_before(curves: pd.DataFrame, network: str) -> tuple[int, float]:
    """Return the steps and PFLOP of the trainings that a network's own started from."""
    start = str(curves.loc[curves["network"] == network, "start"].iloc[0])
    theirs = curves[curves["network"] == start]
    if theirs.empty:
        return 0, 0.0
    steps, cost = spent_before(curves, start)
    own = int(theirs["step"].max())
    return steps + own, cost + own * float(theirs["gflop"].iloc[0]) / 1e6


def curves_markdown(curves: pd.DataFrame, note: str) -> str:
    """Return a row per network: its steps, what they cost, and the best validation PSNR.

    A network that started from another one counts that one's steps and arithmetic as well.
    """
    body = []
    for network, curve in curves.groupby("network", sort=False):
        known, cost = curve.dropna(subset="val_psnr"), float(curve["gflop"].iloc[0])
        best = known.iloc[int(known["val_psnr"].to_numpy().argmax())]
        steps, (before, spent) = int(curve["step"].max()), spent_before(curves, str(network))
        count = f"{before:,} + {steps:,}" if before else f"{steps:,}"
        row = [str(network), count, f"{cost:.0f}", f"{spent + cost * steps / 1e6:.3f}"]
        body.append((*row, f"{best['val_psnr']:.2f}", f"{before + int(best['step']):,}"))
    body.sort(key=lambda row: -float(row[4]))
    head = ["network", "steps", "GFLOP / step", "PFLOP in all", "best val. PSNR (dB)", "at step"]
    table = "\n".join(md_table(head, body))
    return f"**Training of the networks** ({note})\n\n{table}\n"


def curves_figure(curves: pd.DataFrame, note: str) -> bytes:
    """Draw validation PSNR of all networks over steps and over arithmetic; PNG."""
    networks = list(dict.fromkeys(curves["network"]))
    ranked = curves.groupby("network")["val_psnr"].max().sort_values(ascending=False)
    colours = sns.color_palette("colorblind", 10)
    with plt.rc_context(STYLE):
        figure, (left, right) = plt.subplots(
            1, 2, figsize=(11, 4.2), layout="constrained", sharey=True
        )
        for network in ranked.index:
            i = networks.index(network)
            steps, spent, known = _path(curves, str(network))
            look = {
                "color": colours[i % 10],
                "marker": MARKERS[(i + i // 10) % len(MARKERS)],
                "linestyle": DASHES[(i // 10 + i) % len(DASHES)],
                "markersize": 4,
            }
            left.plot(steps, known, **look)
            right.plot(spent, known, label=f"{network}  {ranked[network]:.2f}", **look)
        left.set(xlabel="step", ylabel="validation PSNR (dB)")
        right.set(xlabel="PFLOP spent")
        left.set_title("At equal steps")
        right.set_title("At equal arithmetic")
        right.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), title="network  best (dB)")
        for axes in (left, right):
            axes.grid(color="0.92")
            sns.despine(ax=axes)
        figure.suptitle(note, fontsize=9, color="0.35")
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        plt.close(figure)
    return picture.getvalue()


def _path(curves: pd.DataFrame, network: str) -> tuple[list[float], list[float], list[float]]:
    """Return steps, PFLOP and validation PSNR; a continuation begins where its start ended."""
    known = curves[curves["network"] == network].dropna(subset="val_psnr")
    before, spent = spent_before(curves, network)
    steps = [before + float(step) for step in known["step"]]
    cost = [spent + float(f) for f in known["step"] * known["gflop"] / 1e6]
    values = [float(value) for value in known["val_psnr"]]
    if before:
        origin = _path(curves, str(known["start"].iloc[0]))
        return ([origin[0][-1], *steps], [origin[1][-1], *cost], [origin[2][-1], *values])
    return steps, cost, values
