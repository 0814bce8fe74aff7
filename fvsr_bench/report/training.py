"""The curves of a training run: loss terms and validation PSNR over steps, from its log."""

import io
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from fvsr_bench.errors import DataError
from fvsr_bench.report.figures import STYLE


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
        rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
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
