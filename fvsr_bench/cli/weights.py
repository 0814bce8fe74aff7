"""`fvsr-bench weights`: convert other people's checkpoints, list and show what is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fvsr_bench.convert import Converted

app = typer.Typer(
    help="Other people's weights: convert them, list and show all there are.",
    no_args_is_help=True,
)

CONVERTED = "converted from "  # how the origin of a converted file's card begins


@app.command()
def convert(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Checkpoint: .pth, .pt, .safetensors, or a TensorFlow PREFIX.index. Several if "
            "the network's parts were saved apart.",
        ),
    ],
    method: Annotated[
        str, typer.Option(help="Which method the weights are of: sofvsr, frvsr, ./my_model.py, …")
    ],
    out: Annotated[Path, typer.Option(help="File to write: NAME.safetensors.")],
    degradation: Annotated[
        str, typer.Option(help="What LR the weights were trained for: bi, bd15 or bd16.")
    ] = "",
    licence: Annotated[
        str, typer.Option(help="Licence of the weights, for the card. Default: as the code says.")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite weights that are not converted ones.")
    ] = False,
) -> None:
    """Convert a checkpoint of other people's code, so that it computes what their code computes.

    A method without layouts of other people's code takes its own network's state dict: of
    ./my_model.py, say, trained elsewhere. Beside the file, as my_model.safetensors, `run` finds it.

    The layout is recognised from the tensors' names and shapes; every tensor is used or named. The
    card says what the weights mean: degradation and phase, colour, units of the flow, resizing. No
    code from FILE is ever run. Examples:

        fvsr-bench weights convert SOFVSR_x4.pth --method sofvsr --out sofvsr.safetensors

        fvsr-bench weights convert FRVSR_BI_iter400000.pth --method frvsr --degradation bi
        --out weights/frvsr/port-bi.safetensors

        fvsr-bench weights convert model/TecoGAN.index --method tecogan --out teco.safetensors

        fvsr-bench weights convert model_best_mc.pt model_best_espcn.pt --method vespcn_jy
        --out jy.safetensors

        fvsr-bench weights convert mine.pth --method ./my_model.py --degradation bi
        --out my_model.safetensors
    """
    from fvsr_bench.cli.output import say
    from fvsr_bench.convert import convert as run
    from fvsr_bench.convert import save_converted

    _check_target(out, force)
    done = run(files, method, degradation=degradation, tag=out.stem, licence=licence)
    card = save_converted(done, out)
    say(f"{out}: {_summary(done)}")
    say(f"  {card.degradation}, {card.phase} phase; {card.semantics['authors_code']}")
    for note in (*done.notes, *_left_out(done)):
        say(f"  {note}")
    say(f"  sha256 {card.sha256[:16]}…; card: {out.with_suffix('.json')}")


def _summary(done: "Converted") -> str:
    count = sum(tensor.numel() for tensor in done.state.values())
    return f"{done.fit.layout.name}, {len(done.state)} tensors, {count:,} parameters"


def _left_out(done: "Converted") -> list[str]:
    names = done.fit.ignored
    return [f"{len(names)} tensors that are no weights left out, e.g. {names[0]}"] if names else []


def _check_target(out: Path, force: bool) -> None:
    """Refuse to write something else than .safetensors, or over weights trained here."""
    from fvsr_bench.errors import UsageError, WeightsError
    from fvsr_bench.registry import read_card

    if out.suffix != ".safetensors":
        raise UsageError(f"--out {out} must end in .safetensors: {out.with_suffix('.safetensors')}")
    if not out.exists() or force:
        return
    try:
        replaceable = read_card(out).origin.startswith(CONVERTED)
    except WeightsError:
        replaceable = False
    if not replaceable:
        raise UsageError(
            f"{out} exists and was not converted from another file; choose another --out, or "
            "--force to overwrite it."
        )


@app.command("list")
def list_weights(
    method: Annotated[str, typer.Argument(help="Only those of this method.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List all weights that `run` finds: tag, degradation, phase, origin, file.

    Examples:

        fvsr-bench weights list

        fvsr-bench weights list sofvsr --json
    """
    from rich.table import Table

    from fvsr_bench.cli.output import box, console, print_json, say

    rows = _rows(method)
    if json:
        print_json(rows)
        return
    if not rows:
        say(f"no weights{f' of {method}' if method else ''}; see `fvsr-bench train --help`.")
        return
    table = Table(box=box())
    for column in ("method", "tag", "trained for", "origin", "sha256"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(str(row[c]) for c in ("method", "tag", "trained_for", "origin", "sha256")))
    console().print(table)


def _rows(method: str) -> list[dict[str, Any]]:
    from fvsr_bench import registry
    from fvsr_bench.errors import WeightsError, unknown

    names = list(registry.methods())
    if method and method not in names:
        raise unknown("method", method, names)
    rows: list[dict[str, Any]] = []
    for name in [method] if method else names:
        for tag in registry.weights_tags(name):
            path = registry.find_weights(name, tag)
            row = {"method": name, "tag": tag, "file": str(path), "trained_for": "", "sha256": ""}
            try:
                card = registry.read_card(path)
            except WeightsError as error:
                rows.append({**row, "origin": f"unreadable card: {error}"})
                continue
            trained_for = f"{card.degradation} ({card.phase})"
            facts = {"trained_for": trained_for, "origin": card.origin, "sha256": card.sha256[:12]}
            rows.append({**row, **facts})
    return rows


@app.command()
def show(
    what: Annotated[str, typer.Argument(metavar="METHOD[@TAG] | FILE", help="What to show.")],
    method: Annotated[
        str, typer.Option(help="Hold a foreign FILE against this method's layouts, key by key.")
    ] = "",
) -> None:
    """Show the card of a method's weights, or what tensors a checkpoint of other people holds.

    Examples:

        fvsr-bench weights show fapn

        fvsr-bench weights show FRVSR_BI_iter400000.pth --method frvsr
    """
    from fvsr_bench import registry
    from fvsr_bench.cli.output import print_json
    from fvsr_bench.convert.tf_bundle import bundle_prefix
    from fvsr_bench.errors import WeightsError

    path = Path(what)
    foreign = path.is_file() or bundle_prefix(path) is not None
    if not foreign or path.suffix == ".safetensors":
        name, _, tag = what.partition("@")
        try:
            card = registry.read_card(path) if foreign else registry.load_card(name, tag or None)
        except WeightsError:
            if not foreign:
                raise
        else:
            print_json(vars(card))
            return
    _show_foreign(path, method)


def _show_foreign(path: Path, method: str) -> None:
    from fvsr_bench.cli.output import say
    from fvsr_bench.convert import layouts_of
    from fvsr_bench.convert.layout import fit
    from fvsr_bench.convert.readers import read_checkpoint

    checkpoint = read_checkpoint(path)
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    say(f"{path}: {checkpoint.format}, {len(shapes)} tensors")
    for note in checkpoint.notes:
        say(f"  {note}")
    if not method:
        for name, shape in shapes.items():
            say(f"  {name}  {list(shape)}")
        return
    best = max((fit(layout, shapes) for layout in layouts_of(method)), key=lambda f: f.share)
    say(f"held against {best.layout.name} ({best.layout.code}):")
    for rule in best.rules:
        found = list(shapes[rule.theirs]) if rule.theirs in shapes else "MISSING"
        say(f"  {rule.theirs}  {found}  -> {rule.ours}")
    for name in best.unexpected:
        say(f"  {name}  {list(shapes[name])}  -> UNKNOWN")
    for name in best.ignored:
        say(f"  {name}  {list(shapes[name])}  -> left out: no weight of the network")
