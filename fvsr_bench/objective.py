"""What a network is trained towards: the loss terms of a recipe, computed on one batch."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fvsr_bench import losses
from fvsr_bench.data.loader import Batch
from fvsr_bench.errors import UsageError, unknown
from fvsr_bench.judges import Judges
from fvsr_bench.nn import upsample
from fvsr_bench.spec import TrainRecipe

AUXILIARY = ("flow", "motion", "smooth")  # terms that a method computes itself
CRITICS = {"gan": losses.FrameDiscriminator, "tgan": losses.TemporalDiscriminator}
TERMS = ("mse", "organ", "face", "vgg", "gan", "tgan", "feature", "ping-pong", *AUXILIARY)


class Objective:
    """Computes the terms of a recipe; owns the discriminator of an adversarial one.

    `average` takes the mean of a tensor over the processes that share a batch.
    """

    def __init__(
        self,
        recipe: TrainRecipe,
        judges: Judges,
        *,
        face_size: float,
        device: Any,
        average: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        for name in recipe.losses:
            if name not in TERMS:
                raise unknown("loss", name, TERMS)
        for name, judge in (("face", judges.encoder), ("vgg", judges.vgg)):
            if name in recipe.losses and judge is None:
                raise UsageError(f"the loss '{name}' has no judge; expected one in `judges`.")
        self.weights, self.judges, self.face_size = dict(recipe.losses), judges, face_size
        self.average = average
        self.critic: Any = None
        for name, kind in CRITICS.items():
            if name in recipe.losses:
                self.critic = kind().to(device).to(memory_format=torch.channels_last)
        self.adam = (
            torch.optim.Adam(self.critic.parameters(), betas=(recipe.beta1, recipe.beta2))
            if self.critic is not None
            else None
        )
        self.balance = 0.0
        self._seen: list[tuple[Tensor, ...]] = []  # what the discriminator is to be taught on

    def extend(self, batch: Batch) -> Batch:
        """Append the way back (frames n-1..1) when the recipe compares forth and back."""
        if "ping-pong" not in self.weights:
            return batch
        clips = ("lr", "hr", "landmarks", *(("whole",) if batch.whole is not None else ()))
        parts = {name: getattr(batch, name) for name in clips}
        parts = {name: torch.cat((x, x[:, :-1].flip(1)), 1) for name, x in parts.items()}
        return dataclasses.replace(batch, **parts)

    def terms(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """Run the network and return every term that the recipe names.

        A term of the method's own (flow, motion, …) is left out where an ablation removed its part.
        """
        batch = self.extend(batch)
        if hasattr(model, "forward_train"):
            sr, auxiliary = model.forward_train(batch.lr, batch.hr)
        else:
            sr, auxiliary = model(batch.lr), {}
        sr = sr.float()
        found: dict[str, Tensor] = {}
        for name in self.weights:
            if name in auxiliary:
                found[name] = auxiliary[name]
            elif name == "mse":
                found[name] = losses.mse(sr, batch.hr)
            elif name == "organ":
                found[name] = losses.organ(sr, batch.hr, batch.landmarks, self.face_size)
            elif name == "face" and self.judges.encoder:
                found[name] = losses.face_vector(*whole_faces(sr, batch), self.judges.encoder)
            elif name == "vgg" and self.judges.vgg:
                found[name] = losses.vgg(sr, batch.hr, self.judges.vgg)
            elif name == "ping-pong":
                found[name] = losses.ping_pong(sr)
        if self.critic is not None:
            found |= self._adversarial(model, sr, batch)
        return found

    def _adversarial(self, model: Any, sr: Tensor, batch: Batch) -> dict[str, Tensor]:
        b, t = batch.lr.shape[:2]
        scale = batch.hr.shape[-1] // batch.lr.shape[-1]
        lr_up = upsample(batch.lr.flatten(0, 1), scale, "bicubic").unflatten(0, (b, t))
        flows = _flows(model, batch.lr) if "tgan" in self.weights else None
        self.critic.requires_grad_(False)
        fake, fake_features = self.critic.judge(sr, lr_up, flows)
        found = {"tgan" if "tgan" in self.weights else "gan": losses.generator_loss(fake.float())}
        if "feature" in self.weights:
            with torch.no_grad():
                _, real_features = self.critic.judge(batch.hr, lr_up, flows)
            found["feature"] = losses.feature_distance(real_features, fake_features)
        self._seen.append((sr.detach(), batch.hr, lr_up, *(flows or ())))
        return found

    def train_critic(self, learning_rate: float) -> dict[str, float]:
        """Teach the discriminator on what `terms` saw since, unless it is too far ahead.

        As TecoGAN's code: at the generator's learning rate, and not while the running mean of
        log D(real) - log D(super-resolved) is above 0.4. Returns what the log shows. Raises
        FloatingPointError, before the discriminator changes, on a loss that is not finite.
        """
        if self.critic is None or self.adam is None or not self._seen:
            return {}
        self.critic.requires_grad_(True)
        self.adam.zero_grad()
        self.adam.param_groups[0]["lr"] = learning_rate
        clips = sum(len(sr) for sr, *_ in self._seen)
        total, gap = (torch.zeros((), device=self._seen[0][0].device) for _ in range(2))
        taught = self.balance < 0.4
        for sr, hr, lr_up, *flows in self._seen:
            pair, share = (flows[0], flows[1]) if flows else None, len(sr) / clips
            with torch.set_grad_enabled(taught):
                real = self.critic.judge(hr, lr_up, pair)[0].float()
                fake = self.critic.judge(sr, lr_up, pair)[0].float()
                loss = losses.discriminator_loss(real, fake) * share
            if taught:
                loss.backward()
            total += loss.detach()
            gap += share * (F.logsigmoid(real).mean() - F.logsigmoid(fake).mean()).detach()
        self._seen.clear()
        mean_total, mean_gap = self.average(torch.stack((total, gap))).tolist()
        if not math.isfinite(mean_total):
            raise FloatingPointError(f"a loss of the discriminator of {mean_total:.4g}")
        self.balance = 0.99 * self.balance + 0.01 * mean_gap
        if taught:
            self._average_gradients()
            self.adam.step()
        return {"critic": float(total)}

    def _average_gradients(self) -> None:
        """Take the mean of the discriminator's gradients over processes, all in one message."""
        grads = [parameter.grad for parameter in self.critic.parameters()]
        flat = self.average(torch.cat([grad.flatten() for grad in grads]))
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view(grad.shape))

    def state(self) -> dict[str, Any]:
        """Return what an exact resume needs; empty without a discriminator."""
        if self.critic is None or self.adam is None:
            return {}
        return {
            "critic": self.critic.state_dict(),
            "critic_adam": self.adam.state_dict(),
            "balance": self.balance,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take over a saved state."""
        if self.critic is not None and self.adam is not None and state:
            self.critic.load_state_dict(state["critic"])
            self.adam.load_state_dict(state["critic_adam"])
            self.balance = float(state["balance"])


def whole_faces(sr: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return SR, GT and landmarks of whole faces: SR crops stand in the GT frame they belong to.

    A recogniser cannot see a crop. Pasted in, all that differs between the two frames is the crop,
    and so is all that the gradient reaches.
    """
    if batch.whole is None or batch.corner is None:
        return sr, batch.hr, batch.landmarks
    h, w = sr.shape[-2:]
    pasted = batch.whole.clone()
    for clip, (y, x) in enumerate(batch.corner.tolist()):
        pasted[clip, :, :, y : y + h, x : x + w] = sr[clip]
    offset = batch.corner.flip(-1).to(batch.landmarks)  # x, y
    return pasted, batch.whole, batch.landmarks + offset[:, None, None]


@torch.no_grad()
def _flows(model: Any, lr: Tensor) -> tuple[Tensor, Tensor]:
    """Return HR flows that map t-1 and t+1 onto t, zero at the ends."""
    inner = getattr(model, "module", model)
    if not hasattr(inner, "hr_flows"):
        raise UsageError(
            "the loss 'tgan' warps frames by the network's own flow, and this method has none "
            "(no `hr_flows`); the loss 'gan' needs none."
        )
    past = inner.hr_flows(lr)
    ahead = inner.hr_flows(lr.flip(1)).flip(1)
    none = torch.zeros_like(past[:, :1])
    return torch.cat((none, past), 1), torch.cat((ahead, none), 1)


def is_adversarial(weights: Mapping[str, float]) -> bool:
    """Say whether a discriminator takes part."""
    return any(name in CRITICS for name in weights)


def flow_only(weights: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of a pre-training of the flow: every other term counts nothing.

    Raises UsageError if there is no flow term.
    """
    if not any(name in AUXILIARY for name in weights):
        raise UsageError(
            f"there is no flow to train beforehand: the losses are {', '.join(weights)}; expected "
            f"one of {', '.join(AUXILIARY)}. Leave --flow-steps out."
        )
    return {name: weight if name in AUXILIARY else 0.0 for name, weight in weights.items()}


def exploded(value: float, recent: Sequence[float]) -> bool:
    """Say whether a loss is no number, or 100 times the median of the losses before it."""
    if not math.isfinite(value):
        return True
    middle = sorted(recent)[len(recent) // 2] if len(recent) >= 20 else math.inf
    return value > 100 * middle > 0
