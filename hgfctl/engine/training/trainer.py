"""The training step, and the state from which it goes on exactly.

Data, times and noise of step n follow from (seed, n), so the state is weights, averages, Adam's moments and n.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from hgfctl.engine.assembly import Experiment
from hgfctl.engine.losses.loss import Adaptive
from hgfctl.engine.randomness import generator
from hgfctl.engine.training.schedules import ema_weight, learning_rate
from hgfctl.errors import HgfctlError


class Diverged(HgfctlError):
    """The loss has become NaN, infinite or absurd; the weights are still those of the step before."""


class Trainer:
    """Adam on the loss of an experiment, with an exponential moving average (EMA) of the model's weights.

    Args:
        experiment: what to train; its network is trained in place, and weights of the loss's own (a critic's) with it.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.model = experiment.model.train()
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.step = 0
        self._averages = dict(self.ema.network.named_parameters())
        self._parameters = dict(self.model.network.named_parameters())
        if isinstance(experiment.loss, nn.Module):
            self._parameters |= {f"loss.{name}": p for name, p in experiment.loss.named_parameters()}
            self._buffers = {f"loss.{name}": b for name, b in experiment.loss.named_buffers()}
        else:
            self._buffers = {}
        self.device = next(iter(self._parameters.values())).device
        self._adam = torch.optim.Adam(
            self._parameters.values(),
            lr=1.0,
            betas=experiment.config.train.betas,
            fused=self.device.type != "mps",
        )

    @property
    def facts(self) -> dict[str, float]:
        """What an adaptive loss has decided; empty for others."""
        loss = self.experiment.loss
        return loss.facts(self.model) if isinstance(loss, Adaptive) else {}

    @property
    def images(self) -> int:
        """Items seen."""
        return self.step * self.experiment.config.train.batch

    def advance(self) -> float:
        """One step; returns its loss.

        Raises:
            Diverged: before any weight is changed.
        """
        train, step = self.experiment.config.train, self.step + 1
        rate = learning_rate(train, self.images)
        part = train.batch // train.accumulate
        torch.manual_seed(_step_seed(train.seed, step))  # dropout
        self._adam.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for i in range(train.accumulate):
            batch = self.experiment.data.batch(self.images + i * part, part, train.seed)
            x0 = batch.x.to(self.device, non_blocking=True)
            labels = None if batch.labels is None else batch.labels.to(self.device, non_blocking=True)
            if i == 0 and isinstance(self.experiment.loss, Adaptive) and self.step % self.experiment.loss.every == 0:
                self.experiment.loss.adapt(self.model, x0, labels, generator(train.seed, "adapt", step))
            loss = self.experiment.loss(self.model, x0, labels, generator(train.seed, "loss", step, i)).mean()
            (loss / train.accumulate).backward()
            total += loss.detach() / train.accumulate
        value = float(total)
        if not torch.isfinite(total):
            raise Diverged(f"the loss is {value} at step {step}")
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self.step = step
        self._average(ema_weight(train, self.images))
        return value

    def state(self) -> dict[str, Tensor]:
        """Everything that `restore` needs besides the step: raw weights, EMA, Adam's moments, buffers of the loss."""
        tensors = {f"network.{name}": p.detach() for name, p in self._parameters.items()}
        tensors |= {f"buffer.{name}": b for name, b in self._buffers.items()}
        tensors |= {f"ema.{name}": p for name, p in self._averages.items()}
        for name, p in self._parameters.items():
            moments: dict[str, Any] = self._adam.state.get(p, {})
            tensors |= {f"adam.{key}.{name}": moments[key] for key in ("exp_avg", "exp_avg_sq") if key in moments}
        return tensors

    def restore(self, tensors: dict[str, Tensor], step: int) -> None:
        """Continues from a `state` taken after `step`."""
        self.step = step
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.copy_(tensors[f"network.{name}"])
            for name, average in self._averages.items():
                average.copy_(tensors[f"ema.{name}"])
            for name, b in self._buffers.items():
                b.copy_(tensors[f"buffer.{name}"])
        self._adam.state.clear()
        if step:
            for name, p in self._parameters.items():
                moments = {key: tensors[f"adam.{key}.{name}"].to(p) for key in ("exp_avg", "exp_avg_sq")}
                count = torch.tensor(float(step), device=p.device if self._adam.defaults["fused"] else "cpu")
                layout = {key: torch.empty_like(p).copy_(value) for key, value in moments.items()}
                self._adam.state[p] = {"step": count, **layout}

    @torch.no_grad()
    def _average(self, keep: float) -> None:
        for name, average in self._averages.items():
            average.lerp_(self._parameters[name], 1 - keep)


def _step_seed(seed: int, step: int) -> int:
    return generator(seed, "step", step).initial_seed()
