"""`fvsr-bench train`: train a method on a dataset; resumes where it stopped."""

from pathlib import Path
from typing import Annotated

import typer


def train(
    method: Annotated[
        str, typer.Argument(help="A method's name (see `fvsr-bench models`) or file.")
    ],
    data: Annotated[str, typer.Option(help="Dataset folder made by `data prepare`, or 'demo'.")],
    recipe: Annotated[
        str,
        typer.Option(
            help="default, quick (1,200 steps), whole (frames, not crops) or paper (literal); with "
            "a loss (face, gan, vgg, tecogan) after a plus: quick+gan."
        ),
    ] = "default",
    tag: Annotated[str, typer.Option(help="Name of the weights: OUT/METHOD/TAG.safetensors.")] = "",
    steps: Annotated[int, typer.Option(help="Number of steps; 0 = the recipe's.", min=0)] = 0,
    learning_rate: Annotated[
        float, typer.Option(help="Adam's step size; 0 = the recipe's.", min=0)
    ] = 0,
    minutes: Annotated[
        float, typer.Option(help="Stop cleanly after so many minutes; 0 = no limit.", min=0)
    ] = 0,
    seed: Annotated[int, typer.Option(help="Decides initial weights and every batch.")] = 0,
    without: Annotated[
        str, typer.Option(help="Parts to switch off, e.g. 'nic,fsrc' (see the method's ablations).")
    ] = "",
    notes: Annotated[
        str, typer.Option(help="What the card and the tables' footnotes should say of the weights.")
    ] = "",
    start: Annotated[
        Path | None, typer.Option(help="Weights (.safetensors) to start from.")
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="Recogniser of the loss 'face': onnx:FILE, insightface:buffalo_l.")
    ] = "",
    vgg: Annotated[
        Path | None, typer.Option(help="VGG19 weights of the loss 'vgg', if not in torch's cache.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of weights.")] = Path("weights"),
    runs: Annotated[Path, typer.Option(help="Folder of checkpoints and logs.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    devices: Annotated[int, typer.Option(help="Processes or GPUs per node.", min=1)] = 1,
    nodes: Annotated[int, typer.Option(help="Number of machines.", min=1)] = 1,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.", min=1)] = 250,
    flow_steps: Annotated[
        int, typer.Option(help="First steps that teach the flow network alone.", min=0)
    ] = 0,
    micro_batch: Annotated[
        int,
        typer.Option(help="Clips in memory at once, for small machines; 0 = the batch.", min=0),
    ] = 0,
) -> None:
    """Train METHOD with the benchmark's one loop and write weights with a card.

    The same command continues after Ctrl-C or a kill. Examples:

        fvsr-bench train fapn --data data/faceclips

        fvsr-bench train sofvsr --data data/faceclips --steps 1000 --minutes 30

        fvsr-bench train fapn --data data/faceclips --without nic,fsrc --tag bi-no-nic-no-fsrc
    """
    import dataclasses

    from lightning_fabric import Fabric

    from fvsr_bench.cli.data_sources import open_data
    from fvsr_bench.cli.progress import show_training
    from fvsr_bench.judges import load_judges
    from fvsr_bench.recipes import choose_recipe, variant
    from fvsr_bench.registry import load_spec
    from fvsr_bench.train import TrainJob
    from fvsr_bench.train import train as loop

    spec = load_spec(method)
    parts = [part.strip() for part in without.split(",") if part.strip()]
    name, options = variant(spec, parts, tag)
    dataset = open_data(data)
    chosen, changes = choose_recipe(spec, recipe, steps, learning_rate)
    chosen = dataclasses.replace(chosen, flow_steps=flow_steps)
    job = TrainJob(
        method=method,
        tag=name if recipe == "default" or tag else f"{name}-{recipe}",
        options={**options, **changes},
        recipe=chosen,
        seed=seed,
        notes=notes,
        start=start,
    )
    fabric = Fabric(
        accelerator="auto" if device == "auto" else device,
        devices=devices,
        num_nodes=nodes,
    )
    fabric.launch()
    judges = load_judges(chosen, encoder=encoder, vgg=vgg, device=fabric.device)
    events = loop(
        job,
        dataset,
        out=out,
        runs=runs,
        fabric=fabric,
        judges=judges,
        minutes=minutes,
        validate_every=validate_every,
        micro_batch=micro_batch,
    )
    show_training(events, f"{spec.title} ({job.tag})", quiet=not fabric.is_global_zero)


def campaign(
    file: Annotated[Path, typer.Argument(help="Campaign file, e.g. campaigns/faceclips.toml.")],
    data: Annotated[str, typer.Option(help="Dataset folder instead of the campaign's.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of weights.")] = Path("weights"),
    runs: Annotated[Path, typer.Option(help="Folder of checkpoints and logs.")] = Path("runs"),
    encoder: Annotated[
        str, typer.Option(help="Recogniser of the loss 'face': onnx:FILE, insightface:buffalo_l.")
    ] = "",
    vgg: Annotated[
        Path | None, typer.Option(help="VGG19 weights of the loss 'vgg', if not in torch's cache.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    show: Annotated[bool, typer.Option("--list", help="Only list what is done.")] = False,
    validate_every: Annotated[int, typer.Option(help="Steps between validations.", min=1)] = 250,
) -> None:
    """Train every network of a campaign file that is still missing, in its order.

    Can be stopped at any time and run again; several processes share the list. Examples:

        fvsr-bench campaign campaigns/faceclips.toml

        fvsr-bench campaign campaigns/faceclips.toml --list
    """
    from lightning_fabric import Fabric

    from fvsr_bench.campaign import claim, missing, read_campaign, summary
    from fvsr_bench.cli.progress import show_training
    from fvsr_bench.data.store import open_dataset
    from fvsr_bench.judges import load_judges
    from fvsr_bench.registry import load_spec
    from fvsr_bench.train import train as loop

    plan = read_campaign(file)
    if show:
        for row in summary(plan, out):
            name = f"{row['method']}/{row['tag']}"
            typer.echo(f"{row['weights']:8} {name} ({row['steps']} steps, seed {row['seed']})")
        return
    for entry, job in claim(missing(plan, out), runs, out):
        fabric = Fabric(accelerator="auto" if device == "auto" else device, devices=1)
        events = loop(
            job,
            open_dataset(entry.data or data or plan.data),
            out=out,
            runs=runs,
            fabric=fabric,
            judges=load_judges(job.recipe, encoder=encoder, vgg=vgg, device=fabric.device),
            validate_every=validate_every,
        )
        show_training(events, f"{load_spec(job.method).title} ({job.tag})")
    left = len(missing(plan, out))
    typer.echo("nothing is missing" if not left else f"{left} networks are still missing")
