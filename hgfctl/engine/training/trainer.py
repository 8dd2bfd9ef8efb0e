"""The training step, and the state from which it goes on exactly.

Data, augmentation, times and noise of step n follow from (seed, n), so the state is weights, averages, Adam's moments
and n.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hgfctl.engine import precision
from hgfctl.engine.data.dataset import Batch
from hgfctl.engine.experiment import Experiment
from hgfctl.engine.losses.loss import Share
from hgfctl.engine.losses.states import StateLoss
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.networks.network import Network
from hgfctl.engine.randomness import generator, seeded
from hgfctl.engine.ranks import Ranks, alone
from hgfctl.engine.training import power_ema
from hgfctl.engine.training.schedules import ema_weight, learning_rate
from hgfctl.engine.training.states_ahead import StatesAhead, needs_flights
from hgfctl.errors import HgfctlError, RequestError

PATIENCE = 5
"""Steps in a row that may be skipped because a loss or gradient is not finite."""


class Diverged(HgfctlError):
    """The loss has become NaN, infinite or absurd; the weights are still those of the step before."""


class Trainer:
    """Adam on the loss of an experiment, with exponential moving averages (EMA) of the model's weights.

    Args:
        experiment: what to train; its network is trained in place, and weights of the loss's own (a critic's) with it.
        ranks: this process among those that train together; each takes its share of every batch.

    Raises:
        RequestError: the batch cannot be divided so, the loss cannot, or the network cannot recompute.
    """

    def __init__(self, experiment: Experiment, ranks: Ranks | None = None) -> None:
        self.experiment = experiment
        self.model = experiment.model.train()
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.step = 0
        self.skipped = 0
        """Steps whose loss or gradient was not finite, and that changed nothing."""
        self.failing = 0
        """The last ones of these in a row."""
        self.gradient_norm = 0.0
        """Norm of the last gradient, over all weights together."""
        network: nn.Module = self.model.network
        self._averages = dict(self.ema.network.named_parameters())
        self._parameters = dict(network.named_parameters())
        self._buffers = {f"network.{name}": b for name, b in _lasting_buffers(network).items()}
        if isinstance(experiment.loss, nn.Module):
            self._parameters |= {f"loss.{name}": p for name, p in experiment.loss.named_parameters()}
            self._buffers |= {f"loss.{name}": b for name, b in experiment.loss.named_buffers()}
        self.device = next(iter(self._parameters.values())).device
        self.ranks = ranks or alone(self.device)
        train = experiment.config.train
        self._part = _part(train.batch, self.ranks.world, train.accumulate)
        if self.ranks.world > 1 and not experiment.loss.shared:
            raise RequestError(
                f"loss '{experiment.config.loss.name}' is for one process; 'hvp' and 'consistency' are shared by many"
            )
        self._powers = [
            (power_ema.power(s), {name: p.detach().clone() for name, p in network.named_parameters()})
            for s in train.power_emas
        ]
        self._adam = torch.optim.Adam(
            self._parameters.values(),
            lr=1.0,
            betas=train.betas,
            fused=self.device.type != "mps",
        )
        self.model.network = self._prepared(network)
        self._flights = [
            StatesAhead(experiment, self._share(i), self._part, self.device)
            for i in range(train.accumulate if needs_flights(experiment) else 0)
        ]
        self._loader = ThreadPoolExecutor(1, "loader")
        self._ahead: tuple[int, Future[list[Batch]]] | None = None

    def _prepared(self, network: nn.Module) -> nn.Module:
        """The network as it is called in training: recomputing, compiled, with gradients summed over ranks."""
        train = self.experiment.config.train
        if train.recompute:
            if not (isinstance(network, Network) and network.can_recompute):
                raise RequestError(f"network '{self.experiment.config.network.name}' cannot recompute; leave it false")
            network.recompute = True
        if train.compile:
            network = cast(nn.Module, torch.compile(network))
        if self.ranks.world > 1:
            places = [self.device] if self.device.type == "cuda" else None
            network = DistributedDataParallel(network, device_ids=places, gradient_as_bucket_view=True)
        return network

    @property
    def facts(self) -> dict[str, float]:
        """Numbers that the loss has for the log: what an adaptive one has decided."""
        loss = self.experiment.loss
        return loss.facts(self.model)

    @property
    def images(self) -> int:
        """Items seen."""
        return self.step * self.experiment.config.train.batch

    def advance(self) -> float:
        """One step; returns its loss. A step whose loss or gradient is not finite is counted and changes no weight.

        Raises:
            Diverged: that has happened too often in a row.
        """
        train, step = self.experiment.config.train, self.step + 1
        rate = learning_rate(train, self.images)
        self._adam.zero_grad(set_to_none=True)
        dropout = seeded(_step_seed(train.seed, step, self.ranks.rank), self.device)
        with dropout, precision.products(train.precision):
            value = float(self.ranks.mean(self._backward(step)))
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters.values() if p.grad is not None])
        self.gradient_norm = float(norm)
        self.step = step
        if not (torch.isfinite(norm) and value - value == 0):
            self._skip(value, step)
            return value
        self.failing = 0
        for group in self._adam.param_groups:
            group["lr"] = rate
        self._adam.step()
        self._average()
        return value

    def _backward(self, step: int) -> Tensor:
        """The mean loss of this rank's share, (); its gradient is left in the weights."""
        train = self.experiment.config.train
        total = torch.zeros((), device=self.device)
        for i, part_loss in enumerate(self._flown_losses() if self._flights else self._losses(step)):
            with self._unsummed(i < train.accumulate - 1):
                with precision.training_region(train.precision, self.device):
                    loss = part_loss().mean()
                (loss / train.accumulate).backward()  # type: ignore[no-untyped-call]
            total += loss.detach() / train.accumulate
        return total

    def state(self) -> dict[str, Tensor]:
        """Everything that `restore` needs besides the step: raw weights, EMAs, Adam's moments, buffers."""
        tensors = {f"network.{name}": p.detach() for name, p in self._parameters.items()}
        tensors |= {f"buffer.{name}": b for name, b in self._buffers.items()}
        tensors |= {f"ema.{name}": p for name, p in self._averages.items()}
        for i, (_, averages) in enumerate(self._powers):
            tensors |= {f"power_{i}.{name}": average for name, average in averages.items()}
        for name, p in self._parameters.items():
            moments: dict[str, Any] = self._adam.state.get(p, {})
            tensors |= {f"adam.{key}.{name}": moments[key] for key in ("exp_avg", "exp_avg_sq") if key in moments}
        return tensors

    def restore(
        self, tensors: dict[str, Tensor], step: int, of_flow: Mapping[str, Tensor] = MappingProxyType({})
    ) -> None:
        """Continues from a `state` taken after `step`, with what the flow had measured at the start."""
        self.step = step
        for model in (self.model, self.ema):
            if isinstance(model, HVP):
                model.flow = model.flow.restored(of_flow)
        with torch.no_grad():
            for name, p in self._parameters.items():
                p.copy_(tensors[f"network.{name}"])
            for name, average in self._averages.items():
                average.copy_(tensors[f"ema.{name}"])
            for i, (_, averages) in enumerate(self._powers):
                for name, running in averages.items():
                    running.copy_(tensors[f"power_{i}.{name}"])
            for name, b in self._buffers.items():
                b.copy_(tensors[f"buffer.{name}"])
                if name.startswith("network."):
                    self.ema.network.get_buffer(name.removeprefix("network.")).copy_(b)
        self._adam.state.clear()
        for name, p in self._parameters.items():
            if f"adam.exp_avg.{name}" in tensors:
                moments = {key: tensors[f"adam.{key}.{name}"].to(p) for key in ("exp_avg", "exp_avg_sq")}
                count = torch.tensor(
                    float(step - self.skipped), device=p.device if self._adam.defaults["fused"] else "cpu"
                )
                layout = {key: torch.empty_like(p).copy_(value) for key, value in moments.items()}
                self._adam.state[p] = {"step": count, **layout}

    def power_averages(self) -> list[dict[str, Tensor]]:
        """The network's weights under each of `train.power_emas`."""
        return [averages for _, averages in self._powers]

    def _flown_losses(self) -> Iterator[Callable[[], Tensor]]:
        """Losses (B,) of each part of this rank's share, by states that were flown ahead."""
        loss, model = self.experiment.loss, self.model
        assert isinstance(loss, StateLoss)
        assert isinstance(model, HVP)
        for flights in self._flights:
            states, labels = flights.at(self.step)
            yield partial(loss.of_states, model, states, labels)

    def _losses(self, step: int) -> Iterator[Callable[[], Tensor]]:
        """Losses (B,) of each part of this rank's share."""
        loss = self.experiment.loss
        for i, batch in enumerate(self._batches()):
            x0 = batch.x.to(self.device, non_blocking=True)
            labels = None if batch.labels is None else batch.labels.to(self.device, non_blocking=True)
            if i == 0 and loss.every and self.step % loss.every == 0:
                loss.adapt(self.model, x0, labels, generator(self.experiment.config.train.seed, "adapt", step))
            yield partial(self._loss, x0, labels, step, i)

    def _loss(self, x0: Tensor, labels: Tensor | None, step: int, part: int) -> Tensor:
        """(B,) of the part-th part of this rank's share."""
        loss, train = self.experiment.loss, self.experiment.config.train
        if loss.shared:
            return loss.on_share(self.model, x0, labels, generator(train.seed, "loss", step, 0), self._share(part))
        return loss(self.model, x0, labels, generator(train.seed, "loss", step, part))

    def _share(self, part: int) -> Share:
        return Share(self._first(part), self.experiment.config.train.batch)

    def _first(self, part: int) -> int:
        """Where in the batch the part-th part of this rank's share begins."""
        return (self.ranks.rank * self.experiment.config.train.accumulate + part) * self._part

    def _batches(self) -> list[Batch]:
        """This step's parts; the next step's are read meanwhile."""
        ahead, self._ahead = self._ahead, None
        parts = ahead[1].result() if ahead and ahead[0] == self.step else self._read(self.step)
        self._ahead = (self.step + 1, self._loader.submit(self._read, self.step + 1))
        return parts

    def _read(self, step: int) -> list[Batch]:
        train, data = self.experiment.config.train, self.experiment.data
        firsts = [self._first(i) for i in range(train.accumulate)]
        shares = [slice(first, first + self._part) for first in firsts]
        parts = [data.part(step * train.batch, train.batch, train.seed, share) for share in shares]
        if self.device.type == "cuda":
            parts = [Batch(x.pin_memory(), labels if labels is None else labels.pin_memory()) for x, labels in parts]
        return parts

    def _unsummed(self, wanted: bool) -> AbstractContextManager[Any]:
        """Gradients are summed over ranks once a step, with its last part."""
        network = self.model.network
        return network.no_sync() if wanted and isinstance(network, DistributedDataParallel) else nullcontext()

    def _skip(self, value: float, step: int) -> None:
        self.skipped += 1
        self.failing += 1
        self._adam.zero_grad(set_to_none=True)
        if self.failing >= PATIENCE:
            what = f"the loss is {value}" if value - value else "the gradient is not finite"
            raise Diverged(f"{what} at step {step - self.failing + 1} and in the {self.failing - 1} after it")

    @torch.no_grad()
    def _average(self) -> None:
        raw = [self._parameters[name].detach() for name in self._averages]
        kept = ema_weight(self.experiment.config.train, self.images)
        torch._foreach_lerp_(list(self._averages.values()), raw, 1 - kept)
        for gamma, averages in self._powers:
            torch._foreach_lerp_(list(averages.values()), raw, 1 - power_ema.keep(gamma, self.step))


def _lasting_buffers(network: nn.Module) -> dict[str, Tensor]:
    """Those that a state dict holds."""
    kept: Iterable[str] = network.state_dict().keys()
    return {name: b for name, b in network.named_buffers() if name in kept}


def _part(batch: int, world: int, accumulate: int) -> int:
    """Items of one part of one rank's share."""
    if batch % (world * accumulate):
        raise RequestError(
            f"train.batch={batch} cannot be divided over {world} processes in {accumulate} parts each; "
            f"{-(-batch // (world * accumulate)) * world * accumulate} can"
        )
    return batch // (world * accumulate)


def _step_seed(seed: int, step: int, rank: int) -> int:
    key = (seed, "step", step) if rank == 0 else (seed, "step", step, rank)
    return generator(*key).initial_seed()
