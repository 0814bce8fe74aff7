"""Progress on standard error: bars with time left on a terminal, plain lines elsewhere."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from fvsr_bench.train import Event


def show_training(events: "Iterable[Event]", title: str, *, quiet: bool = False) -> None:
    """Follow a training run to its end: losses, validation PSNR, steps/s, time left."""
    from fvsr_bench.health import describe

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[info]}"),
        TimeRemainingColumn(),
    )
    best = ""
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, info="")
        for event in events:
            terms = " ".join(f"{name} {value:.5f}" for name, value in event.loss.items())
            if event.validation:
                best = f"val {event.validation['psnr']:.2f} dB"
                if not quiet:
                    health = describe(event.validation)
                    where = f"{title} step {event.step}/{event.steps}"
                    console.print(f"{where}: {terms} {best} ({health})")
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed or 0.0
            info = f"{terms} {best} {speed:.2f} steps/s"
            bar.update(task, completed=event.step, total=event.steps, info=info)
            if event.note and not quiet:
                console.print(event.note)
            if event.finished is not None and not quiet:
                psnr = event.finished.validation["psnr"]
                console.print(
                    f"wrote weights {event.finished.method}/{event.finished.tag} "
                    f"(step {event.finished.steps}, validation {psnr:.2f} dB)"
                )
