"""`fvsr-bench enhance`: an ordinary video -> the same video with its faces super-resolved."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from fvsr_bench.cli.output import print_json, progress_bar, say
from fvsr_bench.cli.run import JSON

if TYPE_CHECKING:
    from fvsr_bench.enhance import Summary

app = typer.Typer()


@app.command("enhance")
def enhance_command(
    source: Path = typer.Argument(..., metavar="IN", help="A video, or a folder of images."),
    out: Path = typer.Option(
        ..., "--out", "-o", help="A video (.mp4, .mkv, .mov), or a folder for PNG frames."
    ),
    model: str = typer.Option("fapn", "--model", "-m", help="Method: NAME, NAME@TAG or FILE.py."),
    scale: int = typer.Option(4, "--scale", help="Enlargement of the video: 4 or 2."),
    codec: str = typer.Option("h264", "--codec", help="h264 or h265."),
    crf: int = typer.Option(16, "--crf", min=0, max=51, help="Quality; lower is better, larger."),
    faces_only: bool = typer.Option(
        False, "--faces-only", help="Write the faces as PNG crops into the folder -o."
    ),
    compare: bool = typer.Option(
        False, "--compare", help="Also write a video: enlarged only | with faces enhanced."
    ),
    audio: bool = typer.Option(True, "--audio/--no-audio", help="Copy the sound."),
    min_face: float = typer.Option(24.0, "--min-face", help="Smaller faces stay as they are, px."),
    max_face: float = typer.Option(160.0, "--max-face", help="Larger faces stay as they are, px."),
    face_size: int = typer.Option(
        0, "--face-size", help="Reduce faces to this window first (40: as in training); 0 = not."
    ),
    fps: float = typer.Option(25.0, "--fps", min=0.1, help="Frame rate of a folder of images."),
    device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, cuda:1 or mps."),
    precision: str = typer.Option("fp32", "--precision", help="fp32 or bf16 (faster)."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an existing output."),
    as_json: bool = JSON,
) -> None:
    """Super-resolve the faces of a video; sound, frame times, colours and tags are kept.

    Details are estimated, not recorded: the output says so in its metadata and is no evidence of
    anybody's identity.

    Examples:

      fvsr-bench enhance phone.mp4 -o better.mp4 --compare

      fvsr-bench enhance phone.mp4 -o faces --faces-only

      fvsr-bench enhance frames/ -o better.mkv --fps 30 --model sofvsr
    """
    from fvsr_bench import registry
    from fvsr_bench.cli import Interrupted
    from fvsr_bench.enhance import Options, enhance
    from fvsr_bench.errors import unknown
    from fvsr_bench.infer import choose_device

    for word, value, known in (
        ("codec", codec, ("h264", "h265")),
        ("precision", precision, ("fp32", "bf16")),
    ):
        if value not in known:
            raise unknown(word, value, known)
    name, _, tag = model.partition("@")
    where = choose_device(device)
    network = registry.load_model(name, tag or None, device=where)
    kinds: dict[str, Any] = {"codec": codec, "precision": precision}
    options = Options(
        scale=scale,
        codec=kinds["codec"],
        crf=crf,
        faces_only=faces_only,
        compare=compare,
        audio=audio,
        min_face=min_face,
        max_face=max_face,
        face_size=face_size,
        fps=fps,
        overwrite=overwrite,
    )
    try:
        with progress_bar(f"enhancing {source.name}") as tick:
            summary = enhance(
                source,
                out,
                network,
                registry.load_spec(name).title,
                lookahead=registry.load_spec(name).lookahead,
                options=options,
                device=where,
                precision=kinds["precision"],
                progress=tick,
            )
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted; {out} was not written") from stop
    _print(summary, as_json)


def _print(summary: "Summary", as_json: bool) -> None:
    import dataclasses

    if as_json:
        print_json(dataclasses.asdict(summary))
        return
    for note in summary.notes:
        say(f"note: {note}")
    if summary.ms_per_face_frame:
        say(
            f"enhanced {summary.faces} face(s) in {summary.frames} frames: "
            f"{summary.ms_per_face_frame:.1f} ms per face and frame, "
            f"{summary.frames / max(summary.seconds, 1e-6):.1f} frames/s overall"
        )
    say(f"wrote {summary.output}")
    if summary.compare:
        say(f"wrote {summary.compare} (left: enlarged only, right: with enhanced faces)")
    say("Details are estimated and are no evidence of anybody's identity.")
