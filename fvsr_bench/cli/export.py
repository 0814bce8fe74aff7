"""`fvsr-bench data export` and `fvsr-bench export`: our frames and networks for other programs."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fvsr_bench.cli.output import print_json, progress_bar, say
from fvsr_bench.cli.run import JSON

if TYPE_CHECKING:
    from fvsr_bench.export import Exported

app = typer.Typer()


def data_export(
    dataset: str = typer.Argument(..., metavar="DIR", help="A dataset folder, or demo."),
    out: Path = typer.Option(..., "--out", "-o", help="New folder for the exported frames."),
    layout: str = typer.Option(
        "frames", "--format", help="frames (PNG per clip), basicsr, or mp4 (lossless H.264)."
    ),
    split: str = typer.Option("test", "--split", help="test, val, train or all."),
) -> None:
    """Write exactly our LR and HR frames in a layout that other people's code reads.

    A README.txt beside them says what lies where and how to score what comes back.

    Examples:

      fvsr-bench data export demo --out for-others

      fvsr-bench data export data/mine --format basicsr --out basicsr/datasets/mine
    """
    from fvsr_bench.cli.data_sources import open_data
    from fvsr_bench.data.export import export_dataset

    data = open_data(dataset)
    with progress_bar("exporting") as tick:
        count = export_dataset(
            data, out, layout, split=None if split == "all" else split, progress=tick
        )
    say(f"wrote {count} clips to {out} (read {out / 'README.txt'})")


@app.command("export")
def export_command(
    model: str = typer.Argument("fapn", metavar="METHOD", help="NAME, NAME@TAG or FILE.py."),
    onnx: bool = typer.Option(False, "--onnx", help="As ONNX: the only format so far."),
    out: Path | None = typer.Option(None, "--out", "-o", help="File.  [default: METHOD.onnx]"),
    size: int = typer.Option(40, "--size", min=8, help="Side of the LR frames, px."),
    check: bool = typer.Option(True, "--check/--no-check", help="Compare 8 frames with torch's."),
    as_json: bool = JSON,
) -> None:
    """Write a method's streaming step as an ONNX model, its states as inputs and outputs.

    METHOD-first.onnx takes the first frame and makes the states; METHOD.onnx takes every later
    frame and the states of the frame before.

    Example:

      fvsr-bench export fapn --onnx
    """
    import dataclasses

    from fvsr_bench import registry
    from fvsr_bench.errors import UsageError
    from fvsr_bench.export import export_onnx

    if not onnx:
        raise UsageError("choose a format; expected --onnx")
    name, _, tag = model.partition("@")
    spec, network = registry.load_spec(name), registry.load_model(name, tag or None)
    path = out or Path(f"{registry.method_name(name)}.onnx")
    about = {"method": registry.method_name(name), "licence": spec.licence, "title": spec.title}
    done = export_onnx(network, path, lookahead=spec.lookahead, size=size, about=about)
    difference = _check(done, network, size) if check else None
    if as_json:
        print_json({**dataclasses.asdict(done), "largest_difference": difference})
        return
    for file in filter(None, (done.first, done.step)):
        say(f"wrote {file}")
    if difference is not None:
        say(f"checked in onnxruntime over 8 frames: largest difference {difference:.1e}")


def _check(done: "Exported", network: Any, size: int) -> float:
    """Run both sides; raises ModelError if they differ by more than 1e-4."""
    import torch

    from fvsr_bench.errors import ModelError
    from fvsr_bench.export import largest_difference
    from fvsr_bench.infer import stream

    frames = list(torch.rand(8, 1, 3, size, size, generator=torch.Generator().manual_seed(1)))
    ours = stream(network, frames, lookahead=done.lookahead)
    difference = largest_difference(done, ours, [frame.numpy() for frame in frames])
    if difference > 1e-4:
        raise ModelError(f"{done.step}: onnxruntime's frames differ from torch's by {difference}")
    return difference
