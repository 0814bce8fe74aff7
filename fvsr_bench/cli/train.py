"""`fvsr-bench train`: train a method on a dataset; resumes where it stopped."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fvsr_bench.train import TrainJob


def train(
    method: Annotated[
        str, typer.Argument(help="A method's name (see `fvsr-bench models`) or file.")
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data", "--dataset", "-d", help="Dataset folder made by `data prepare`, or 'demo'."
        ),
    ],
    recipe: Annotated[
        str,
        typer.Option(
            help="default, quick (1,200 steps), whole (frames, not crops) or paper (literal); with "
            "a loss (face, gan, vgg, tecogan) after a plus: quick+gan."
        ),
    ] = "default",
    tag: Annotated[
        str,
        typer.Option(
            help="Name of the weights, OUT/METHOD/TAG.safetensors.  [default: the dataset's "
            "degradation, and what is left out: bi, bi-no-nic]"
        ),
    ] = "",
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
    force: Annotated[
        bool, typer.Option("--force", help="Replace weights that were trained otherwise.")
    ] = False,
) -> None:
    """Train METHOD with the benchmark's one loop and write weights with a card.

    The same command continues after Ctrl-C or a kill. Examples:

        fvsr-bench train fapn --data data/mine --tag mine

        fvsr-bench train sofvsr --data data/mine --tag short --steps 1000 --minutes 30

        fvsr-bench train fapn --data data/mine --tag bare --without nic,fsrc
    """
    import dataclasses

    from fvsr_bench.cli.data_sources import open_data
    from fvsr_bench.cli.progress import show_training
    from fvsr_bench.judges import load_judges
    from fvsr_bench.recipes import choose_recipe, variant
    from fvsr_bench.registry import load_spec
    from fvsr_bench.train import TrainJob, launch
    from fvsr_bench.train import train as loop

    spec = load_spec(method)
    parts = [part.strip() for part in without.split(",") if part.strip()]
    dataset = open_data(data)
    name, options = variant(spec, parts, tag, dataset.degradation.name)
    chosen, changes = choose_recipe(spec, recipe, steps, learning_rate)
    chosen = dataclasses.replace(chosen, flow_steps=flow_steps or chosen.flow_steps)
    if not tag:
        name += (f"-{recipe}" if recipe != "default" else "") + (f"-seed{seed}" if seed else "")
    job = TrainJob(
        method=method,
        tag=name,
        options={**options, **changes},
        recipe=chosen,
        seed=seed,
        notes=notes,
        start=start,
    )
    fabric = launch(device, devices, nodes)
    judges = load_judges(chosen, encoder=encoder, vgg=vgg, device=fabric.device)
    if not force:
        _check_target(job, dataset.title, judges.files, out)
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


def _check_target(job: "TrainJob", data: str, files: "Mapping[str, str]", out: Path) -> None:
    """Refuse, before hours of work, to replace another network's weights at its end."""
    from fvsr_bench.errors import UsageError, WeightsError
    from fvsr_bench.registry import method_name, read_card
    from fvsr_bench.train import difference

    path = out / method_name(job.method) / f"{job.tag}.safetensors"
    if not path.exists():
        return
    try:
        card = read_card(path)
        other = difference(card, job)
        if card.data != data:
            other = f"data: {card.data}, not {data}"
        for name, content in files.items():
            if card.made_from.get(name, content) != content:
                other = f"{name}: another file"
        if card.recipe.get("steps") != job.recipe.steps:
            other = f"steps: {card.recipe.get('steps')}, not {job.recipe.steps}"
    except WeightsError as error:
        other = str(error)
    if other:
        raise UsageError(
            f"{path} holds another network ({other}); choose another --tag or --out, or --force to "
            "replace it."
        )


def campaign(
    file: Annotated[Path, typer.Argument(help="Campaign file, e.g. campaigns/faceclips.toml.")],
    data: Annotated[
        str,
        typer.Option("--data", "--dataset", "-d", help="Dataset folder instead of the campaign's."),
    ] = "",
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
    import dataclasses

    from fvsr_bench.campaign import claim, missing, open_datasets, read_campaign, summary
    from fvsr_bench.cli.progress import show_training
    from fvsr_bench.data.store import open_dataset
    from fvsr_bench.errors import FvsrError
    from fvsr_bench.judges import load_judges
    from fvsr_bench.registry import load_spec
    from fvsr_bench.train import launch
    from fvsr_bench.train import train as loop

    plan = read_campaign(file)
    plan = dataclasses.replace(plan, data=data or plan.data)
    datasets = open_datasets(plan)
    if show:
        for row in summary(plan, out, datasets):
            name = f"{row['method']}/{row['tag']}"
            typer.echo(f"{row['weights']:8} {name} ({row['steps']} steps, seed {row['seed']})")
        return
    fabric, failed = launch(device), False
    for entry, job in claim(missing(plan, out, datasets), runs, out):
        try:
            events = loop(
                job,
                open_dataset(entry.data or plan.data),
                out=out,
                runs=runs,
                fabric=fabric,
                judges=load_judges(job.recipe, encoder=encoder, vgg=vgg, device=fabric.device),
                validate_every=validate_every,
            )
            show_training(events, f"{load_spec(job.method).title} ({job.tag})")
        except FvsrError as error:  # the others do not wait for this one
            failed = True
            typer.echo(f"{job.method}/{job.tag} was not trained: {error}", err=True)
    left = len(missing(plan, out, datasets))
    networks = "network is" if left == 1 else "networks are"
    typer.echo(f"{left} {networks} still missing" if left else "nothing is missing")
    if failed:
        raise typer.Exit(1)
