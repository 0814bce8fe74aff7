"""How fast a training step is: against plain code, against the machine, and method against method.

    python benchmarks/train_step.py [--steps 10] [--patch 0] [--methods fapn,frvsr]

One process, the paper's batch of 4 clips x 10 frames, of noise that moves: the time does not depend
on the pixels, and the losses of the two codes are compared with each other only. Printed:
  plain     FAPN in float32, NCHW, as one writes it first: one frame and one direction of flow at a
            time, 16 warps for 16 drafts, warps repeated for the flow loss
  here      the same network from the same start on the same batches by the training loop; and both
            losses while they learn two batches by heart
  peak      share of the rate (FLOP/s) that a 3000 x 3000 bfloat16 matrix product reaches here
  gains     what bfloat16 brings to that product, and to the networks' usual convolution (3 x 3, 64
            channels, 4 frames, forward and back), which is what a step mostly consists of
What is compared makes its steps in turns, so that a machine that is busy for a while is so for
both; the first two steps are not timed, and the median of the others' ratios counts.
"""

import argparse
import dataclasses
import statistics
import time
from contextlib import nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from fvsr_bench.data.loader import Batch
from fvsr_bench.judges import Judges
from fvsr_bench.nn import split_luma, warp
from fvsr_bench.nn.ofrnet import flow_loss
from fvsr_bench.objective import Objective
from fvsr_bench.registry import build, load_spec, methods
from fvsr_bench.spec import TrainRecipe
from fvsr_bench.train import Learner, TrainJob, launch, learning_rate, total_loss


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--patch", type=int, default=0, help="LR px of the frames; 0 = 40")
    parser.add_argument("--methods", default="", help="names with commas; default: all")
    parser.add_argument("--curve", type=int, default=120, help="steps of the loss curves; 0 = none")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    size = arguments.patch or 40
    batches = [moving_noise(size, seed) for seed in range(arguments.steps + 2)]
    peak = matrix_peak(torch.bfloat16)
    mm_gain = peak / matrix_peak(torch.float32)
    fine, coarse = (convolution_rate(dtype, size) for dtype in (torch.float32, torch.bfloat16))
    print(f"{torch.get_num_threads()} threads, batch 4 x 10 x {size}x{size}; in bfloat16, a matrix")
    print(
        f"product is {mm_gain:.2f} times as fast as in float32 here, a convolution of 64 channels"
    )
    print(f"{coarse / fine:.2f} times, at {coarse / peak:.2f} of the product's rate\n")
    here = Here("fapn")
    (fast, slow), _ = in_turns([here, PlainTraining()], batches)
    gains = [b / a for a, b in zip(fast, slow, strict=True)]
    spread = f"{min(gains):.2f} to {max(gains):.2f}"
    gain = statistics.median(gains)
    print(f"FAPN, here against plain float32 NCHW: {gain:.2f} times the steps per second")
    print(f"(median of {len(gains)} steps made in turns, {spread})\n")
    if arguments.curve:
        show_curves(arguments.curve)
    print("| method | GFLOP / step | share of the peak | time of a step, FAPN = 1 |")
    print("| --- | ---: | ---: | ---: |")
    wanted = [name for name in arguments.methods.split(",") if name]
    for name in wanted or [m for m in methods() if load_spec(m).trainable]:
        if load_spec(name).hidden:
            continue
        other = Here(name)
        (first, second), _ = in_turns([here, other], batches)
        share = other.flops / statistics.median(second) / peak
        relative = statistics.median(b / a for a, b in zip(first, second, strict=True))
        print(f"| {name} | {other.flops / 1e9:.0f} | {share:.2f} | {relative:.2f} |", flush=True)


def show_curves(steps: int) -> None:
    """Print the loss of both codes over steps on the same small frames, which they soon know."""
    known = [moving_noise(16, seed) for seed in range(2)]
    _, (ours, plain) = in_turns(
        [Here("fapn"), PlainTraining()], [known[n % 2] for n in range(steps)]
    )
    print("MSE on two batches of 16 x 16 px, over and over (mean of 20 steps, times 10,000):\n")
    ends = range(20, steps + 1, 20)
    print(f"| up to step | {' | '.join(str(end) for end in ends)} |")
    print(f"| --- |{' ---: |' * len(ends)}")
    for name, losses in (("plain", plain), ("here", ours)):
        means = (1e4 * statistics.mean(losses[end - 20 : end]) for end in ends)
        print(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    print(flush=True)


def moving_noise(size: int, seed: int) -> Batch:
    """Return clips of smooth noise that moves by one HR px a frame; LR is their 4 x 4 mean."""
    torch.manual_seed(seed)
    wide = F.interpolate(torch.rand(4, 3, size // 4 + 8, size // 4 + 8), scale_factor=16)
    wide = F.avg_pool2d(wide, 7, 1, 3)
    hr = torch.stack([wide[..., t : t + 4 * size, t : t + 4 * size] for t in range(10)], 1)
    lr = F.avg_pool2d(hr.flatten(0, 1), 4).unflatten(0, (4, 10))
    points = torch.zeros(4, 10, 5, 2)
    return Batch(lr=lr, hr=hr, landmarks=points, clips=("a", "b", "c", "d"))


def matrix_peak(dtype: torch.dtype) -> float:
    """Return the best of five 3000 x 3000 matrix products, in FLOP/s."""
    a = torch.randn(3000, 3000).to(dtype)
    rates = []
    for _ in range(5):
        began = time.perf_counter()
        torch.mm(a, a)
        rates.append(2 * 3000**3 / (time.perf_counter() - began))
    return max(rates)


def convolution_rate(dtype: torch.dtype, size: int) -> float:
    """Return the best of twenty 3 x 3 convolutions, forward and back, in FLOP/s.

    64 channels in and out, 4 frames of `size`; float32 in NCHW, bfloat16 in channels-last.
    """
    order = torch.channels_last if dtype == torch.bfloat16 else torch.contiguous_format
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(dtype=dtype, memory_format=order)
    x = torch.randn(4, 64, size, size).to(dtype=dtype, memory_format=order).requires_grad_()
    up = torch.ones_like(x)
    rates = []
    for _ in range(20):
        began = time.perf_counter()
        layer(x).backward(up)
        rates.append(3 * 2 * 9 * 64 * 64 * 4 * size**2 / (time.perf_counter() - began))
    return max(rates)


@dataclasses.dataclass(frozen=True)
class Faces:
    """What the loop wants to know of a dataset."""

    @dataclasses.dataclass(frozen=True)
    class Meta:
        """The side of a face frame."""

        size: int = 160

    meta: Meta = Meta()


class Here:
    """A method as the training loop trains it; counts the arithmetic of the first step."""

    def __init__(self, method: str) -> None:
        spec, dataset = load_spec(method), Faces()
        job = TrainJob(method=method, options=spec.options, recipe=spec.recipe)
        self.learner = Learner(job, cast(Any, dataset), launch("cpu"), Judges())
        self.flops, self.number = 0, 0

    def step(self, batch: Batch) -> float:
        """Make a step; returns its MSE."""
        counter, threads = FlopCounterMode(display=False), torch.get_num_threads()
        if self.number == 0:
            torch.set_num_threads(1)  # the counter sees its own thread only
        with counter if self.number == 0 else nullcontext():
            loss = self.learner.step(batch, self.number)["mse"]
        torch.set_num_threads(threads)
        self.flops = self.flops or counter.get_total_flops()
        self.number += 1
        return loss


class PlainTraining:
    """FAPN trained by plain code, from the same start."""

    def __init__(self) -> None:
        spec = load_spec("fapn")
        self.recipe: TrainRecipe = spec.recipe
        torch.manual_seed(0)
        self.network, self.number = build("fapn", spec.options), 0
        self.model = Plain(self.network)
        self.objective = Objective(self.recipe, Judges(), face_size=160, device="cpu")
        betas = (self.recipe.beta1, self.recipe.beta2)
        self.adam = torch.optim.Adam(self.network.parameters(), betas=betas)

    def step(self, batch: Batch) -> float:
        """Make a step; returns its MSE."""
        self.adam.param_groups[0]["lr"] = learning_rate(self.recipe, self.number)
        loss, shown = total_loss(self.objective.terms(self.model, batch), self.recipe.losses)
        self.adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_grad)
        self.adam.step()
        self.number += 1
        return shown["mse"]


def in_turns(runs: list[Any], batches: list[Batch]) -> tuple[list[list[float]], list[list[float]]]:
    """Make each step with one run after the other; returns seconds and losses of each run."""
    times: list[list[float]] = [[] for _ in runs]
    losses: list[list[float]] = [[] for _ in runs]
    for batch in batches:
        for run, seconds, found in zip(runs, times, losses, strict=True):
            began = time.perf_counter()
            found.append(run.step(batch))
            seconds.append(time.perf_counter() - began)
    return [seconds[2:] for seconds in times], losses


class Plain:
    """FAPN's equations one after the other, on the weights of a `FAPN`."""

    def __init__(self, network: Any) -> None:
        self.net, self.ofe = network, network.nic.ofe

    def forward_train(self, lr: Tensor, hr: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the SR clip and the flow loss, frame by frame."""
        out, flow_losses, last = [], [], lr.shape[1] - 1
        state = self.net.initial_state(lr[:, 0])
        for t in range(last + 1):
            before, after = max(t - 1, 0), min(t + 1, last)
            centre = split_luma(lr[:, t])[0]
            pyramids = {}
            for side, at in (("past", before), ("ahead", after)):
                neighbour = split_luma(lr[:, at])[0]
                pyramids[side] = self.ofe.pyramid(neighbour, centre)
                pair_lr = (neighbour, centre)
                pair_hr = (split_luma(hr[:, at])[0], split_luma(hr[:, t])[0])
                flow_losses.append(flow_loss(pyramids[side], pair_lr, pair_hr))
            flow = pyramids["ahead"][2]
            phases = [
                warp(lr[:, after], flow[..., i::4, j::4] / 4) for i in range(4) for j in range(4)
            ]
            drafts = torch.stack(phases, 2).flatten(1, 2)
            coupled = torch.cat((drafts, lr[:, t]), 1) - 0.5
            sr, state = self.net._cell(lr[:, t], coupled, pyramids["past"][2], state)
            out.append(sr)
        return torch.stack(out, 1), {"flow": torch.stack(flow_losses).mean()}


if __name__ == "__main__":
    main()
