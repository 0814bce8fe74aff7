"""One training loop that can be read aloud; resumes exactly after a kill."""

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fvsr_bench import losses
from fvsr_bench.data.loader import Batch, TrainSampler
from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import ModelError, UsageError, WeightsError, unknown
from fvsr_bench.files import replacing, write_atomic
from fvsr_bench.infer import super_resolve
from fvsr_bench.metrics.fidelity import psnr
from fvsr_bench.registry import (
    build,
    load_spec,
    load_state,
    method_name,
    read_weights,
    save_weights,
)
from fvsr_bench.spec import FAPN_PROTOCOL, ModelCard, TrainRecipe, digest

CHECKPOINT_FORMAT = 1
PIXEL_LOSSES = {"mse": losses.mse}


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """What to train: a method, the options that differ from its default, a recipe, a seed."""

    method: str
    tag: str = "bi"
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: TrainRecipe
    seed: int = 0
    start: Path | None = None  # weights to start from instead of a random network

    def id(self, dataset_id: str) -> str:
        """Name the run folder: the same job on the same data resumes there."""
        job = {**asdict(self), "start": str(self.start)}
        return f"{method_name(self.method)}-{self.tag}-{digest([job, dataset_id])}"


@dataclass(frozen=True, kw_only=True)
class Event:
    """What the loop reports: every step, and PSNR (dB) after a validation."""

    step: int
    steps: int
    loss: Mapping[str, float]
    validation: Mapping[str, float] = field(default_factory=dict)
    finished: ModelCard | None = None
    note: str = ""


@dataclass
class Progress:
    """The part of the state that is neither a network nor an optimiser."""

    step: int = 0
    seconds: float = 0.0
    best_psnr: float = -math.inf
    best_step: int = 0


def learning_rate(recipe: TrainRecipe, step: int) -> float:
    """Return the learning rate of a step (0-based): linear warm-up, then flat or half a cosine."""
    warm = min(1.0, (step + 1) / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "flat":
        return recipe.learning_rate * warm
    done = min(1.0, step / max(recipe.steps, 1))
    return recipe.learning_rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def total_loss(
    terms: Mapping[str, Tensor], weights: Mapping[str, float]
) -> tuple[Tensor, dict[str, float]]:
    """Weigh and add loss terms; returns the sum and every unweighted term as a number."""
    total = torch.stack([weights[name] * value for name, value in terms.items()]).sum()
    return total, {name: float(value.detach()) for name, value in terms.items()}


def loss_terms(model: Any, batch: Batch, weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Run the network on a batch and return each loss term that the recipe names.

    Raises UsageError for a term that neither the losses nor the method know.
    """
    if hasattr(model, "forward_train"):
        sr, auxiliary = model.forward_train(batch.lr, batch.hr)
    else:
        sr, auxiliary = model(batch.lr), {}
    terms = {}
    for name in weights:
        if name in PIXEL_LOSSES:
            terms[name] = PIXEL_LOSSES[name](sr.float(), batch.hr)
        elif name in auxiliary:
            terms[name] = auxiliary[name]
        elif name not in ("flow", "motion", "smooth"):  # an ablated part has no auxiliary term
            raise unknown("loss", name, [*PIXEL_LOSSES, *auxiliary])
    return terms


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the network's; the decay grows as steps are made."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        mean.lerp_(value.to(mean.dtype), 1 - decay)


def validate(model: nn.Module, dataset: Dataset, clips: list[str], device: torch.device) -> float:
    """Return the mean PSNR (dB, RGB, 8 bit) over the clips: what chooses a checkpoint."""
    model.eval()
    values = []
    for clip_id in clips:
        clip = dataset.load(clip_id)
        sr = super_resolve(model, clip.lr, device=device, precision="bf16").cpu()
        hr = torch.from_numpy(clip.hr).movedim(-1, -3).float().div(255)
        values.append(psnr(sr, hr, FAPN_PROTOCOL).mean())
    model.train()
    return float(torch.stack(values).mean())


class Run:
    """A run folder: checkpoint.pt (the last good state), best.pt, log.jsonl."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint, self.best = folder / "checkpoint.pt", folder / "best.pt"
        self.log = folder / "log.jsonl"

    def save(self, path: Path, state: dict[str, Any]) -> None:
        """Write a checkpoint atomically."""
        with replacing(path) as temporary:
            torch.save({"format": CHECKPOINT_FORMAT, **state}, temporary)

    def load(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint without running code from it; raises WeightsError if it is no good."""
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise WeightsError(
                f"checkpoint {path} cannot be read ({type(error).__name__}); delete it to restart."
            ) from error
        if state.get("format", 0) > CHECKPOINT_FORMAT:
            raise WeightsError(f"checkpoint {path} is of a newer version; update fvsr-bench.")
        return dict(state)

    def cut_log(self, step: int) -> None:
        """Drop log lines after `step`, which a killed run wrote but did not keep."""
        if self.log.exists():
            rows = [r for r in self.log.read_text().splitlines() if r.endswith("}")]
            kept = [row for row in rows if json.loads(row)["step"] <= step]
            write_atomic(self.log, "".join(f"{row}\n" for row in kept))

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one line to the log."""
        with self.log.open("a") as file:
            file.write(json.dumps(row) + "\n")


def train(
    job: TrainJob,
    dataset: Dataset,
    *,
    out: Path,
    runs: Path,
    fabric: Fabric,
    minutes: float = 0.0,
    validate_every: int = 250,
    save_every: int = 100,
) -> Iterator[Event]:
    """Train, yielding an event per step; the last event carries the card of the written weights.

    `out` is the weights folder (`out/METHOD/TAG.safetensors`), `runs` holds checkpoints and logs.
    `minutes` > 0 ends the run cleanly within that time of this call; the same call goes on later.
    Raises ModelError on NaN or explosion, with the step, the clips and the last good checkpoint.
    """
    recipe, spec = job.recipe, load_spec(job.method)
    if not spec.trainable:
        raise UsageError(f"method '{job.method}' has nothing to train.")
    began = time.monotonic()
    run = Run(runs / job.id(dataset.id))
    run.folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(job.seed)  # decides the initial weights; batches have their own seed
    network = build(job.method, job.options)
    average = build(job.method, job.options)
    if job.start:
        load_state(network, read_weights(job.start), str(job.start))
    average.load_state_dict(network.state_dict())
    network, average = network.to(memory_format=torch.channels_last), average.to(fabric.device)
    average = average.to(memory_format=torch.channels_last).eval()
    adam = torch.optim.Adam(network.parameters(), betas=(recipe.beta1, recipe.beta2))
    model, optimiser = fabric.setup(network, adam)
    if hasattr(network, "forward_train"):
        model.mark_forward_method("forward_train")
    progress = Progress()
    if run.checkpoint.exists():
        state = run.load(run.checkpoint)
        load_state(network, state["network"], str(run.checkpoint))
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        progress = Progress(**state["progress"])
    run.cut_log(progress.step)
    before = progress.seconds
    sampler = TrainSampler(dataset, recipe, seed=job.seed)
    val_clips = dataset.clip_ids("val") or dataset.clip_ids("train")[:15]
    deadline = began + 60 * minutes if minutes else math.inf

    def snapshot() -> dict[str, Any]:
        return {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "progress": asdict(progress),
        }

    while progress.step < recipe.steps:
        batch = sampler.batch(progress.step, rank=fabric.global_rank, world=fabric.world_size)
        batch = batch.to(fabric.device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(recipe, progress.step)
        # Not Fabric's mixed precision: it rounds the inputs, frames and all, to bfloat16.
        bf16 = recipe.precision == "bf16"
        with torch.autocast(fabric.device.type, dtype=torch.bfloat16, enabled=bf16):
            loss, terms = total_loss(loss_terms(model, batch, recipe.losses), recipe.losses)
        optimiser.zero_grad()
        fabric.backward(loss)
        if recipe.clip_grad:
            fabric.clip_gradients(
                model, optimiser, max_norm=recipe.clip_grad, error_if_nonfinite=False
            )
        if not math.isfinite(float(loss.detach())):
            raise ModelError(
                f"training of {job.method} gave a loss of {float(loss.detach())} at step "
                f"{progress.step + 1} on clips {', '.join(batch.clips)}; the last good state is "
                f"{run.checkpoint}. Run the same command again to go on from it."
            )
        optimiser.step()
        update_average(average, network, recipe.ema, progress.step)
        progress.step += 1
        progress.seconds = before + time.monotonic() - began
        late = time.monotonic() > deadline
        done = progress.step == recipe.steps
        validation: dict[str, float] = {}
        if fabric.is_global_zero:
            if progress.step % validate_every == 0 or done:
                validation = {"psnr": validate(average, dataset, val_clips, fabric.device)}
                if validation["psnr"] > progress.best_psnr:
                    progress.best_psnr, progress.best_step = validation["psnr"], progress.step
                    run.save(run.best, {"average": average.state_dict()})
            run.write(
                {"step": progress.step, **terms, **{f"val_{k}": v for k, v in validation.items()}}
            )
            if progress.step % save_every == 0 or late or done:
                run.save(run.checkpoint, snapshot())
        yield Event(step=progress.step, steps=recipe.steps, loss=terms, validation=validation)
        if late and not done:
            note = f"time is up at step {progress.step}; the same command goes on from there"
            yield Event(step=progress.step, steps=recipe.steps, loss=terms, note=note)
            return
    if fabric.is_global_zero:
        card = export(job, dataset, run, average, progress, val_clips, out)
        yield Event(step=progress.step, steps=recipe.steps, loss={}, finished=card)


def export(
    job: TrainJob,
    dataset: Dataset,
    run: Run,
    average: nn.Module,
    progress: Progress,
    val_clips: list[str],
    out: Path,
) -> ModelCard:
    """Write the best validated weights and their card; half precision if PSNR moves < 0.005 dB."""
    device = next(average.parameters()).device
    average.load_state_dict(run.load(run.best)["average"])
    full = validate(average, dataset, val_clips, device)
    exact = {key: value.clone() for key, value in average.state_dict().items()}
    half = {key: value.half() for key, value in exact.items()}
    average.load_state_dict({key: value.float() for key, value in half.items()})
    rounded = validate(average, dataset, val_clips, device)
    small = abs(rounded - full) < 0.005
    spec = load_spec(job.method)
    card = ModelCard(
        method=method_name(job.method),
        tag=job.tag,
        sha256="",
        options={**spec.options, **job.options},
        degradation=dataset.degradation.name,
        phase=dataset.degradation.phase,
        origin="trained here by `fvsr-bench train`",
        licence="research use: some of the training videos allow no other"
        if dataset.meta.kind == "faces"
        else spec.licence,
        data=f"{dataset.name} {dataset.id}",
        recipe=asdict(job.recipe),
        steps=progress.best_step,
        seed=job.seed,
        minutes=round(progress.seconds / 60, 1),
        validation={"psnr": round(rounded if small else full, 4), "clips": len(val_clips)},
    )
    return save_weights(
        out / card.method / f"{job.tag}.safetensors", half if small else exact, card
    )
