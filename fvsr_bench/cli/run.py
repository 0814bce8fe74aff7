"""The commands that evaluate: run, models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fvsr_bench.cli.output import (
    box,
    console,
    print_json,
    print_table,
    progress_bar,
    say,
    table_json,
)

if TYPE_CHECKING:
    from fvsr_bench.evaluate import Outcome
    from fvsr_bench.evaluate.frames import Maker
    from fvsr_bench.evaluate.plan import Setting
    from fvsr_bench.spec import EvalProtocol

app = typer.Typer()

PROTOCOL = typer.Option("fapn", "--protocol", help="Convention of the table: fapn, sofvsr, …")
JUDGE = typer.Option(
    [], "--judge", help="Also measure: temporal, lpips:FOLDER, arcface:FILE.onnx (repeatable)."
)
JSON = typer.Option(False, "--json", help="Print JSON on stdout instead of a table.")


@app.command("run")
def run_command(
    models: str = typer.Option(
        "all", "--models", "-m", help="all, names (fapn,bicubic@TAG), or a file: ./my_model.py"
    ),
    dataset: str = typer.Option(
        "demo", "--dataset", "-d", help="A folder made by `data prepare`, or demo."
    ),
    split: str = typer.Option("test", "--split", help="Clips of this split: test, val or train."),
    protocol: str = PROTOCOL,
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1 or mps."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Results folder.  [default: results/NAME-OF-DATASET]"
    ),
    precision: str = typer.Option("fp32", "--precision", help="fp32, or bf16 (other numbers)."),
    allow_mismatch: bool = typer.Option(
        False, "--allow-mismatch", help="Evaluate weights made for other LR frames; marked †."
    ),
    limit: int = typer.Option(0, "--limit", min=0, help="Only the first N clips; 0 = all."),
    judge: list[str] = JUDGE,
    as_json: bool = JSON,
) -> None:
    """Evaluate methods on face clips: records, Table 2, Fig. 5 and a page to look at.

    Skips what is there; interrupted, the same command continues where it stopped.

    Examples:

      fvsr-bench run --models all

      fvsr-bench run --models fapn,bicubic --dataset data/mine --split val

      fvsr-bench run --models ./my_model.py --limit 2

      fvsr-bench run --models all --judge temporal --judge arcface:w600k_r50.onnx
    """
    from fvsr_bench.protocols import protocol as find_protocol

    chosen = find_protocol(protocol)
    _check_precision(precision)
    setting = make_setting(dataset, split, chosen, device, precision, allow_mismatch, limit, judge)
    out = out or default_out(setting.dataset.name, split, limit)
    from fvsr_bench.evaluate import evaluate
    from fvsr_bench.evaluate.frames import Maker
    from fvsr_bench.evaluate.plan import choose_jobs

    jobs = choose_jobs(models)
    with progress_bar("evaluating") as tick:
        outcome = evaluate(jobs, setting, out, tick)
    makers = {m.run_id: Maker(job=job) for m, job in zip(outcome.manifests, jobs, strict=True)}
    finish_run(outcome, Shown(setting=setting, makers=makers), out, chosen, as_json)


def _check_precision(precision: str) -> None:
    from fvsr_bench.errors import unknown

    if precision not in ("fp32", "bf16"):
        raise unknown("precision", precision, ("fp32", "bf16"))


def make_setting(
    dataset: str,
    split: str,
    protocol: "EvalProtocol",
    device: str,
    precision: Any,
    allow_mismatch: bool,
    limit: int,
    judges: Sequence[str] = (),
) -> "Setting":
    """Open the dataset and collect what all rows of a table share."""
    from fvsr_bench.cli.data_sources import open_data
    from fvsr_bench.evaluate.judges import make_judges
    from fvsr_bench.evaluate.plan import Setting, choose_clips
    from fvsr_bench.infer import choose_device

    data = open_data(dataset)
    where = str(choose_device(device))
    return Setting(
        dataset=data,
        clips=choose_clips(data, split, limit),
        split=split,
        protocol=protocol,
        device=where,
        judges=make_judges(judges, where),
        precision=precision,
        allow_mismatch=allow_mismatch,
    )


def default_out(name: str, split: str, limit: int) -> Path:
    """Other clips are other results: they get a folder of their own."""
    parts = [name, *([split] if split != "test" else []), *([f"first{limit}"] if limit else [])]
    return Path("results") / "-".join(parts)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How the frames that the page shows are made."""

    setting: "Setting"
    makers: Mapping[str, "Maker"]  # by run id


def finish_run(
    outcome: "Outcome", shown: Shown, out: Path, protocol: "EvalProtocol", as_json: bool
) -> None:
    """Render the results folder and print Table 2; raises ModelError if no row has numbers."""
    from fvsr_bench.cli.report import keep_again, print_paths, write_html
    from fvsr_bench.errors import ModelError
    from fvsr_bench.report import write_report
    from fvsr_bench.report.tables import table2

    results, paths = write_report(out, protocol)
    keep_again(results, protocol, shown.setting, shown.makers)
    paths.append(write_html(out, protocol))
    table = table2(results, protocol)
    if as_json:
        print_json(table_json(table, paths))
    else:
        print_table(table)
        for name in outcome.replaced:
            say(f"replaced the older run {name}")
        shown_ids = {m.run_id for m in results.manifests}
        for m in outcome.manifests:
            if m.run_id not in shown_ids:
                say(f"{m.about.title}: {m.reason} (the table keeps its older numbers)")
        came = {m.status for m in outcome.manifests}
        if outcome.ran == 0 and "complete" in came and not came & {"failed", "unavailable"}:
            say("nothing to do: every record was there already")
        print_paths(out, paths)
    mine = outcome.manifests
    if not any(m.status == "complete" for m in mine):
        reasons = "; ".join(f"{m.model}: {m.reason}" for m in mine[:3])
        more = f" (and {len(mine) - 3} more)" if len(mine) > 3 else ""
        raise ModelError(f"no method could be evaluated: {reasons}{more}")


@app.command("models")
def models_command(
    speed: bool = typer.Option(
        False, "--speed", help="Also measure ms per face and frame when streaming, here and now."
    ),
    as_json: bool = JSON,
) -> None:
    """List the methods: parameters, GMAC per 40x40 frame, look-ahead, weights, origin, licence.

    Examples:

      fvsr-bench models --json

      fvsr-bench models --speed
    """
    from fvsr_bench.cli.models import describe_methods

    rows = describe_methods(speed=speed)
    if as_json:
        print_json(rows)
        return
    from rich.table import Table as RichTable

    table = RichTable(box=box(), title="Methods", title_justify="left")
    names = ("method", "title", "parameters", "GMAC/frame", "look-ahead", "weights", "origin")
    times = ("fp32 ms", "bf16 ms") if speed else ()
    for name in (*names, "licence", *times):
        right = name in ("parameters", "GMAC/frame", *times)
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for row in rows:
        reason = row["reason"]
        if reason:
            table.add_row(row["method"], f"unavailable: {reason}", *[""] * 6)
            continue
        look = {0: "none", None: "whole clip"}.get(row["lookahead"], f"{row['lookahead']} frame")
        table.add_row(
            row["method"],
            row["title"],
            f"{row['parameters']:,}",
            f"{row['gmac_per_frame']:.3f}",
            look,
            ", ".join(row["weights"]) or ("none needed" if not row["trainable"] else "none"),
            row["origin"],
            row["licence"],
            *(_ms(row[name.replace(" ", "_")]) for name in times),
        )
    console().print(table)


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
