"""`fvsr-bench score`: frames made by any other program -> the same records and tables."""

from pathlib import Path

import typer

from fvsr_bench.cli.output import progress_bar
from fvsr_bench.cli.run import (
    JSON,
    JUDGE,
    PROTOCOL,
    Shown,
    default_out,
    finish_run,
    make_setting,
)

app = typer.Typer()


@app.command("score")
def score_command(
    sr: Path = typer.Option(
        ..., "--sr", help="Folder with a folder of PNGs, or a lossless video, per clip."
    ),
    dataset: str = typer.Option(
        "demo", "--dataset", "-d", help="The dataset whose LR frames were super-resolved, or demo."
    ),
    name: str = typer.Option(
        "", "--name", "-n", help="Name of the row in tables.  [default: name of the --sr folder]"
    ),
    split: str = typer.Option("test", "--split", help="Clips of this split: test, val or train."),
    first: int = typer.Option(
        1, "--first", min=0, help="Number of the first frame in file names (0 for BasicSR)."
    ),
    protocol: str = PROTOCOL,
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1 or mps."),
    out: Path | None = typer.Option(
        None, "--out", "-o", help="Results folder.  [default: results/NAME-OF-DATASET]"
    ),
    limit: int = typer.Option(0, "--limit", min=0, help="Only the first N clips; 0 = all."),
    judge: list[str] = JUDGE,
    allow_lossy: bool = typer.Option(
        False, "--allow-lossy", help="Accept JPEG and lossy video; the row is marked †."
    ),
    allow_content: bool = typer.Option(
        False, "--allow-content", help="Accept frames that look shifted or swapped; marked †."
    ),
    as_json: bool = JSON,
) -> None:
    """Score super-resolved frames that another program made, side by side with ours.

    Every clip needs all its frames at the ground truth's size, 8-bit RGB, without loss:
    SR/CLIP/0001.png … or SR/CLIP.mkv (FFV1, HuffYUV, PNG or lossless RGB H.264).

    Examples:

      fvsr-bench data export data/mine --format frames --out for-others

      fvsr-bench score --sr their-output --dataset data/mine --name TecoGAN-theirs
    """
    from fvsr_bench.evaluate.frames import Maker
    from fvsr_bench.protocols import protocol as find_protocol
    from fvsr_bench.score import Source, producer, score

    chosen = find_protocol(protocol)
    setting = make_setting(dataset, split, chosen, device, "fp32", False, limit, judge)
    out = out or default_out(setting.dataset.name, split, limit)
    source = Source(folder=sr, first=first, allow_lossy=allow_lossy, allow_content=allow_content)
    with progress_bar("checking frames") as tick:
        outcome = score(source, name or sr.resolve().name, setting, out, tick)
    maker = Maker(produce=producer(source, setting))
    shown = Shown(setting=setting, makers={m.run_id: maker for m in outcome.manifests})
    finish_run(outcome, shown, out, chosen, as_json)
