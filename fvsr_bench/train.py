"""One training loop that can be read aloud; resumes exactly after a kill."""

import ctypes
import math
import os
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from fvsr_bench.data.loader import Batch, TrainSampler
from fvsr_bench.data.rights import training_licence
from fvsr_bench.data.store import Dataset
from fvsr_bench.errors import ModelError, UsageError, WeightsError
from fvsr_bench.files import sha256
from fvsr_bench.health import DeadChannels, residual_size
from fvsr_bench.infer import Precision, choose_device, super_resolve, to_tensor
from fvsr_bench.judges import Judges
from fvsr_bench.metrics.fidelity import psnr
from fvsr_bench.objective import Objective, exploded, flow_only, is_adversarial
from fvsr_bench.registry import (
    build,
    load_spec,
    load_state,
    method_name,
    read_weights,
    save_weights,
)
from fvsr_bench.runs import Run
from fvsr_bench.spec import FAPN_PROTOCOL, ModelCard, TrainRecipe, digest

ORIGIN = "trained here by `fvsr-bench train`"


def launch(device: str = "auto", devices: int = 1, nodes: int = 1) -> Fabric:
    """Start the processes of a training.

    Raises UsageError for a device that is not there, and where another number of processes was
    started (by `torchrun` or Slurm): each would train a network of its own.
    """
    chosen = choose_device(device)
    started = int(os.environ.get("WORLD_SIZE", devices * nodes))
    if started != devices * nodes:
        raise UsageError(
            f"{started} processes were started, but --devices {devices} --nodes {nodes} asks for "
            f"{devices * nodes}; make them agree."
        )
    which = devices if chosen.index is None or chosen.type == "cpu" else [chosen.index]
    # An ablation may leave a part of the network out of the loss.
    strategy = "ddp_find_unused_parameters_true" if devices * nodes > 1 else "auto"
    try:
        fabric = Fabric(accelerator=chosen.type, strategy=strategy, devices=which, num_nodes=nodes)
    except MisconfigurationException as error:
        raise UsageError(f"--device {device} --devices {devices}: {error}") from error
    fabric.launch()
    if chosen.type == "cpu":
        keep_memory()
    if fabric.world_size != devices * nodes:
        raise UsageError(
            f"--devices {devices} --nodes {nodes} asks for {devices * nodes} processes, but there "
            f"is {fabric.world_size}: start as many (srun --ntasks), or name a device without its "
            "number."
        )
    return fabric


def keep_memory() -> None:
    """Let glibc keep what a step frees: the next one needs as much, and new pages cost time.

    Where there is no glibc nothing happens. The numbers are those of its malloc.h.
    """
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "mallopt"):
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    libc.mallopt(trim_threshold, -1)  # never give memory back
    libc.mallopt(top_pad, 2**28)  # ask for 256 MB at a time
    libc.mallopt(mmap_max, 0)  # large pieces, too, come from the memory that is kept


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """What to train: a method, the options that differ from its default, a recipe, a seed."""

    method: str
    tag: str = "bi"
    options: Mapping[str, Any] = field(default_factory=dict)
    recipe: TrainRecipe
    seed: int = 0
    start: Path | None = None  # weights to start from instead of a random network
    notes: str = ""  # what the card should tell a reader, as a half-sentence

    def made_from(self, judges: Judges) -> dict[str, str]:
        """Return the SHA-256 of every file that decides what is trained, beside the data."""
        return {**({"start": sha256(self.start)} if self.start else {}), **judges.files}

    def id(self, dataset_id: str, judges: Judges) -> str:
        """Name the run folder: the same job on the same data resumes there."""
        job = {**asdict(self), "start": "None", **self.made_from(judges)}
        del job["notes"]  # decides nothing
        return f"{method_name(self.method)}-{self.tag}-{digest([job, dataset_id])}"


def difference(card: ModelCard, job: TrainJob) -> str:
    """Say in what the training of a network differs from a job, but for its length; "" = nothing.

    Only what the card tells is compared, so that cards of older versions are understood. Weights to
    start from that are not there (any more) are not compared.
    """
    spec = load_spec(job.method)
    options = {**spec.options, **job.options}
    wanted = {**asdict(job.recipe), "seed": job.seed, "options": options, "origin": ORIGIN}
    have = {**card.recipe, "seed": card.seed, "options": card.options, "origin": card.origin}
    for key in have.keys() & wanted.keys() - {"name", "steps"}:
        if have[key] != wanted[key]:
            return f"{key}: {have[key]}, not {wanted[key]}"
    if job.start is None and "start" in card.made_from:
        return "start: other weights, not none"
    start = sha256(job.start) if job.start and job.start.is_file() else ""
    if start and card.made_from.get("start") != start:
        return f"start: not {job.start} as it is now"
    return ""


@dataclass(frozen=True, kw_only=True)
class Event:
    """What the loop reports: every step, and what `validate` found."""

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


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the averaged weights towards the network's; the decay grows as steps are made."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value.to(mean.dtype), 1 - decay)
        else:
            mean.copy_(value)  # the counters of normalisations


def validate(
    model: nn.Module,
    dataset: Dataset,
    clips: list[str],
    device: torch.device,
    precision: Precision = "bf16",
) -> dict[str, float]:
    """Return what is watched while training, on whole clips.

    "psnr": mean over the clips in dB (RGB, 8 bit), which chooses the checkpoint; of the first clip,
    "dead": share of ReLU channels that are zero everywhere, and "residual": RMS of what the network
    adds to bicubic, in 8-bit levels.
    """
    model.eval()
    values: list[Tensor] = []
    found: dict[str, float] = {}
    for clip_id in clips:
        clip = dataset.load(clip_id)
        with DeadChannels() if not values else nullcontext() as watch:
            sr = super_resolve(model, clip.lr, device=device, precision=precision).cpu()
        if watch is not None:
            residual = residual_size(sr, to_tensor(clip.lr))
            found = {"dead": watch.share, "residual": float(residual)}
        values.append(psnr(sr, to_tensor(clip.hr), FAPN_PROTOCOL).mean())
    model.train()
    return {"psnr": float(torch.stack(values).mean()), **found}


def _mean_of_clips(network: nn.Module, objective: Objective) -> bool:
    """Say whether a batch's loss is the mean of its clips' losses, so that threads can share them.

    A discriminator and "organ" look at the batch as a whole, as does a normalisation over it; what
    dropout draws would hang on which thread comes first.
    """
    layers = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    if any(isinstance(module, layers) for module in network.modules()):
        return False
    return objective.critic is None and "organ" not in objective.weights


class Learner:
    """The network, its running average, optimiser and objective; takes one step at a time.

    `micro_batch` > 0 sends that many clips at once through the network and adds the gradients up:
    the same step with the activations of fewer clips in memory (but for rounding, for the term
    "organ", a mean over the pixels of all clips, and for a discriminator's batch statistics).
    """

    def __init__(
        self,
        job: TrainJob,
        dataset: Dataset,
        fabric: Fabric,
        judges: Judges,
        micro_batch: int = 0,
    ) -> None:
        self.job, self.recipe, self.fabric, self.micro_batch = job, job.recipe, fabric, micro_batch
        torch.manual_seed(job.seed)  # decides the initial weights; batches have their own seed
        self.network, average = build(job.method, job.options), build(job.method, job.options)
        if job.start:
            load_state(self.network, read_weights(job.start), str(job.start))
        average.load_state_dict(self.network.state_dict())
        self.network = self.network.to(memory_format=torch.channels_last)
        self.average = average.to(fabric.device).to(memory_format=torch.channels_last).eval()
        betas = (self.recipe.beta1, self.recipe.beta2)
        adam = torch.optim.Adam(self.network.parameters(), betas=betas, fused=True)
        self.model, self.optimiser = fabric.setup(self.network, adam)
        if hasattr(self.network, "forward_train"):
            self.model.mark_forward_method("forward_train")
        self.objective = Objective(
            self.recipe,
            judges,
            face_size=float(dataset.meta.size),
            device=fabric.device,
            average=self._average,
        )
        self.recent: deque[float] = deque(maxlen=100)
        alone = fabric.device.type == "cpu" and fabric.world_size == 1
        self.divisible = alone and _mean_of_clips(self.network, self.objective)

    def step(self, batch: Batch, number: int) -> dict[str, float]:
        """Make step `number` (0-based); returns the unweighted loss terms.

        Raises FloatingPointError on a loss that is NaN or exploded and on a gradient that is not
        finite, before the weights change; on the discriminator's, before its weights do.
        """
        rate = learning_rate(self.recipe, number)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        if number == self.recipe.flow_steps:
            self.recent.clear()  # of another sum of terms
        self.optimiser.zero_grad()
        several = torch.get_num_threads() > 1 and len(batch.clips) > 1
        together = several and self.divisible and not self.micro_batch
        run = self._in_threads if together else self._in_turn
        total, shown = run(batch, number)
        self.recent.append(total)
        norm = self.fabric.clip_gradients(
            self.model,
            self.optimiser,
            max_norm=self.recipe.clip_grad or math.inf,
            error_if_nonfinite=False,
        )
        if norm is not None and not bool(torch.isfinite(norm)):
            raise FloatingPointError("a gradient that is not finite")
        self.optimiser.step()
        update_average(self.average, self.network, self.recipe.ema, number)
        with self._autocast():
            return self._mean(shown | self.objective.train_critic(rate))

    def _autocast(self, *, cache: bool = True) -> torch.autocast:
        """Compute in the recipe's precision; Fabric's would round the inputs, frames and all."""
        device, bf16 = self.fabric.device.type, self.recipe.precision == "bf16"
        return torch.autocast(device, dtype=torch.bfloat16, enabled=bf16, cache_enabled=cache)

    def _loss(self, model: Any, part: Batch, number: int) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of some clips and its unweighted terms."""
        weights = self.recipe.losses
        terms = self.objective.terms(model, part)
        if number < self.recipe.flow_steps:
            weights = flow_only(weights)
            flow_only({name: weights[name] for name in terms})  # is there a flow?
        return total_loss(terms, weights)

    def _checked(self, loss: Tensor, *, whole: bool = True) -> float:
        """Return the loss so far, the same in all processes: where one stops, all do."""
        total = float(self._average(loss))
        if not math.isfinite(total) or (whole and exploded(total, self.recent)):
            raise FloatingPointError(f"a loss of {total:.4g}")
        return total

    def _in_turn(self, batch: Batch, number: int) -> tuple[float, dict[str, float]]:
        """Leave the gradients of a batch in the weights, `micro_batch` clips after the other."""
        parts, shown = batch.split(self.micro_batch), dict.fromkeys(self.recipe.losses, 0.0)
        loss_so_far, total = torch.zeros((), device=self.fabric.device), 0.0
        for part in parts:
            share, last = len(part.clips) / len(batch.clips), part is parts[-1]
            with self.fabric.no_backward_sync(self.model, enabled=not last):
                with self._autocast():
                    loss, values = self._loss(self.model, part, number)
                loss_so_far = loss_so_far + share * loss.detach()
                total = self._checked(loss_so_far, whole=last)
                self.fabric.backward(loss * share)
            shown = {name: shown[name] + share * value for name, value in values.items()}
        return total, shown

    def _in_threads(self, batch: Batch, number: int) -> tuple[float, dict[str, float]]:
        """Do the same on a processor, the clips side by side: each thread has some of its own.

        Faster than all threads in each convolution: these are small, and their weights' gradients
        hardly gain from a second thread. Gradients are added up in the order of the clips, and
        autocast's cache, which threads would share, is off: the result hangs on no thread's pace.
        """
        threads, weights = torch.get_num_threads(), list(self.network.parameters())
        parts = batch.split(math.ceil(len(batch.clips) / threads))

        def work(part: Batch) -> tuple[Tensor, dict[str, float], tuple[Tensor | None, ...]]:
            torch.set_num_threads(max(1, threads // len(parts)))
            share = len(part.clips) / len(batch.clips)
            with self._autocast(cache=False):
                loss, values = self._loss(self.network, part, number)
            grads = torch.autograd.grad(loss * share, weights, allow_unused=True)
            return share * loss.detach(), {k: share * v for k, v in values.items()}, grads

        try:
            with ThreadPoolExecutor(len(parts)) as pool:
                losses, terms, grads = zip(*pool.map(work, parts), strict=True)
        finally:
            torch.set_num_threads(threads)
        total = self._checked(torch.stack(losses).sum())
        for weight, *shares in zip(weights, *grads, strict=True):
            found = [share for share in shares if share is not None]
            weight.grad = sum(found[1:], start=found[0]) if found else None
        return total, {name: sum(values[name] for values in terms) for name in terms[0]}

    def _mean(self, terms: dict[str, float]) -> dict[str, float]:
        """Average over processes, each of which saw its share of the batch."""
        if self.fabric.world_size == 1:
            return terms
        values = torch.tensor(list(terms.values()), device=self.fabric.device)
        return dict(zip(terms, self._average(values).tolist(), strict=True))

    def _average(self, tensor: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return tensor
        mean = self.fabric.all_reduce(tensor.clone(), reduce_op="mean")  # works in place
        assert isinstance(mean, Tensor)
        return mean

    def state(self) -> dict[str, Any]:
        """Return what an exact resume needs."""
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "objective": self.objective.state(),
            "recent": list(self.recent),
        }

    def load(self, state: Mapping[str, Any], where: str) -> None:
        """Take over a saved state; raises WeightsError if it is of another architecture."""
        if lost := {"network", "average", "optimiser", "progress"} - state.keys():
            lacks = " and ".join(sorted(lost))
            raise WeightsError(f"checkpoint {where} lacks {lacks}; delete it to restart.")
        load_state(self.network, state["network"], where)
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.objective.load(state.get("objective", {}))
        self.recent.extend(state.get("recent", ()))


def train(
    job: TrainJob,
    dataset: Dataset,
    *,
    out: Path,
    runs: Path,
    fabric: Fabric,
    judges: Judges | None = None,
    minutes: float = 0.0,
    validate_every: int = 250,
    save_every: int = 100,
    micro_batch: int = 0,
) -> Iterator[Event]:
    """Train, yielding an event per step; the last event carries the card of the written weights.

    Written is the running average with the best validation PSNR, or, when a discriminator takes
    part, the last one.

    `out` is the weights folder (`out/METHOD/TAG.safetensors`), `runs` holds checkpoints and logs.
    `minutes` > 0 ends the run cleanly before the step that would take longer than that since this
    call (a validation on the way not counted); the same call goes on later.
    `micro_batch` > 0 bounds the memory: so many clips pass through the network at once.
    Raises ModelError on NaN or explosion, with the step, the clips and the last good checkpoint.
    """
    began = time.monotonic()
    if not load_spec(job.method).trainable:
        raise UsageError(f"method '{job.method}' has nothing to train.")
    judges = judges or Judges()
    run = Run(runs / job.id(dataset.id, judges))
    with _together(fabric), run.claimed() if fabric.is_global_zero else nullcontext():
        learner = Learner(job, dataset, fabric, judges, micro_batch)
        yield from _loop(
            learner,
            dataset,
            run,
            out=out,
            began=began,
            minutes=minutes,
            validate_every=validate_every,
            save_every=save_every,
        )


@contextmanager
def _together(fabric: Fabric) -> Iterator[None]:
    """End the processes that Fabric started when this one fails: they would wait for it."""
    try:
        yield
    except GeneratorExit:  # the caller has had enough; nothing failed
        raise
    except BaseException:
        launcher = getattr(fabric.strategy, "launcher", None)
        for process in getattr(launcher, "procs", ()):
            process.kill()
        raise


def _loop(
    learner: Learner,
    dataset: Dataset,
    run: Run,
    *,
    out: Path,
    began: float,
    minutes: float,
    validate_every: int,
    save_every: int,
) -> Iterator[Event]:
    job, recipe, fabric = learner.job, learner.recipe, learner.fabric
    progress, slowest = Progress(), 0.0
    saved = fabric.is_global_zero and run.checkpoint.exists()
    # One process reads: other machines may not see its folder.
    state = fabric.broadcast(run.load(run.checkpoint) if saved else None)
    if state is not None:
        learner.load(state, str(run.checkpoint))
        progress = Progress(**state["progress"])
    if fabric.is_global_zero:
        run.cut_log(progress.step)
        run.open_board(progress.step)
    before = progress.seconds
    sampler = TrainSampler(dataset, recipe, seed=job.seed)
    val_clips = dataset.clip_ids("val") or dataset.clip_ids("train")[:15]
    while progress.step < recipe.steps:
        started = time.monotonic()
        batch = sampler.batch(progress.step, rank=fabric.global_rank, world=fabric.world_size)
        try:
            terms = learner.step(batch.to(fabric.device), progress.step)
        except FloatingPointError as error:
            kept = run.checkpoint if run.checkpoint.exists() else "the start"
            raise ModelError(
                f"training of {job.method} gave {error} at step {progress.step + 1} on "
                f"clips {', '.join(batch.clips)}; the last good state is {kept}. The same command "
                "goes on from it; if it comes to the same, start anew with a lower --learning-rate."
            ) from error
        except torch.cuda.OutOfMemoryError as error:
            raise ModelError(
                f"{fabric.device} has too little memory for a batch of {len(batch.clips)} clips: "
                "add --micro-batch 1, or more."
            ) from error
        progress.step += 1
        now = time.monotonic()
        progress.seconds = before + now - began
        slowest = max(slowest, now - started)
        # One clock decides for all processes: those that went on alone would wait for ever.
        late = bool(minutes) and fabric.broadcast(now - began + slowest > 60 * minutes)
        done = progress.step == recipe.steps
        validation: dict[str, float] = {}
        if fabric.is_global_zero:
            if progress.step % validate_every == 0 or done:
                validation = validate(learner.average, dataset, val_clips, fabric.device)
                if validation["psnr"] >= progress.best_psnr:
                    progress.best_psnr, progress.best_step = validation["psnr"], progress.step
                    run.save(run.best, {"average": learner.average.state_dict()})
            figures = {f"val_{name}": value for name, value in validation.items()}
            run.write({"step": progress.step, **terms, **figures})
            if progress.step % save_every == 0 or late or done:
                run.save(run.checkpoint, {**learner.state(), "progress": asdict(progress)})
        yield Event(step=progress.step, steps=recipe.steps, loss=terms, validation=validation)
        if late or done:
            run.close()
        if late and not done:
            note = (
                f"time is up at step {progress.step} of {recipe.steps}, before there are weights; "
                "the same command goes on from there"
            )
            yield Event(step=progress.step, steps=recipe.steps, loss=terms, note=note)
            return
    if fabric.is_global_zero:
        # PSNR would choose the checkpoint in which the discriminator had done the least.
        if is_adversarial(recipe.losses):
            progress.best_step = progress.step
        else:
            learner.average.load_state_dict(run.load(run.best)["average"])
        card = export(learner, dataset, progress, val_clips, out)
        yield Event(step=progress.step, steps=recipe.steps, loss={}, finished=card)


def export(
    learner: Learner, dataset: Dataset, progress: Progress, val_clips: list[str], out: Path
) -> ModelCard:
    """Write the chosen weights and their card; half precision if PSNR moves < 0.005 dB."""
    job, average = learner.job, learner.average
    device = next(average.parameters()).device
    full = validate(average, dataset, val_clips, device, "fp32")["psnr"]
    exact = {key: value.clone() for key, value in average.state_dict().items()}
    half = {key: v.half() if v.is_floating_point() else v for key, v in exact.items()}
    average.load_state_dict({key: v.to(exact[key].dtype) for key, v in half.items()})
    rounded = validate(average, dataset, val_clips, device, "fp32")["psnr"]
    small = abs(rounded - full) < 0.005
    spec = load_spec(job.method)
    card = ModelCard(
        method=method_name(job.method),
        tag=job.tag,
        sha256="",
        options={**spec.options, **job.options},
        degradation=dataset.degradation.name,
        phase=dataset.degradation.phase,
        origin=ORIGIN,
        licence=training_licence(dataset, spec.licence),
        data=dataset.title,
        recipe=asdict(job.recipe),
        steps=progress.best_step,
        seed=job.seed,
        notes=job.notes,
        made_from=job.made_from(learner.objective.judges),
        minutes=round(progress.seconds / 60, 1),
        validation={"psnr": round(rounded if small else full, 4), "clips": len(val_clips)},
    )
    return save_weights(
        out / card.method / f"{job.tag}.safetensors", half if small else exact, card
    )
