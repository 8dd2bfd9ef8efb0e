"""Items by their seeds: item i depends on (checkpoint, method, its seed) alone, not on the batch it was made in."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor

from hgfctl.engine.data.dataset import Batch
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.models.guided import Guidance, Guided
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.model import Model
from hgfctl.engine.phase_space import as_times
from hgfctl.engine.randomness import generator
from hgfctl.engine.ranks import Ranks
from hgfctl.engine.sampling.plan import Plan, plan
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.errors import HgfctlError, RequestError


@dataclass(frozen=True)
class Sampler(ABC):
    """A trained model with a method on a budget.

    Args:
        shape: of an item.
        classes: number of classes; 0 for none.
    """

    options: ClassVar[tuple[str, ...]] = ()
    """Fields that a configuration may set, as in `sampler: {name: hmc, step: 0.05}`; see `sampling.options`."""

    shape: tuple[int, ...]
    classes: int

    @classmethod
    @abstractmethod
    def of_model(cls, model: Model, shape: tuple[int, ...], classes: int, request: SamplingRequest) -> Self:
        """The sampler that is asked for; `choose.sampler_for` sees to it that the model admits this kind.

        Raises:
            RequestError: the method takes something else than what is asked for, or more evaluations.
        """

    @property
    @abstractmethod
    def method(self) -> str:
        """Name of the method."""

    @property
    @abstractmethod
    def grid(self) -> str | None:
        """Name of its time grid, if it has one."""

    @property
    @abstractmethod
    def nfe(self) -> int:
        """Network evaluations an item."""

    @property
    def guidance(self) -> Guidance | None:
        """Guidance of its model, if there is any."""
        return None

    @property
    def flow(self) -> Flow | None:
        """The flow that takes the prior to the data, if one does."""
        return None

    @property
    def identity(self) -> str:
        """All that a sample depends on besides the weights and its seed."""
        return f"{self.method} {self.grid} {self.nfe} {self.flow}"

    @abstractmethod
    def trajectory(self, seeds: Tensor, wanted: Sequence[int] = ()) -> Iterator[Tensor]:
        """Positions on the way, (B, *shape) each, from the start; the last one is the sample."""

    def labels(self, seeds: Tensor, wanted: Sequence[int] = ()) -> Tensor | None:
        """The class of each seed: wanted[seed mod len(wanted)], all classes when none is wanted; None without."""
        if not self.classes:
            return None
        choice = torch.tensor(wanted or range(self.classes))
        return choice[seeds % len(choice)]

    def noise(self, seeds: Tensor, purpose: str, device: torch.device) -> Callable[[], Tensor]:
        """A source of standard normal draws (B, *shape), in which each item has a stream of its own."""
        streams = [generator(seed, purpose) for seed in seeds.tolist()]

        def draw() -> Tensor:
            drawn = torch.stack([torch.randn(self.shape, generator=rng, dtype=torch.float64) for rng in streams])
            return (drawn.float() if device.type == "mps" else drawn).to(device)

        return draw

    def batches(self, seeds: Tensor, batch: int, wanted: Sequence[int] = ()) -> Iterator[Batch]:
        """The samples, float32 on the CPU, `batch` at a time."""
        for part in torch.split(seeds, batch):
            *_, x = self.trajectory(part, wanted)
            yield Batch(x.float().cpu(), self.labels(part, wanted))


def shared_batches(sampler: Sampler, seeds: Tensor, batch: int, wanted: Sequence[int], ranks: Ranks) -> Iterator[Batch]:
    """As `Sampler.batches`, each rank making its share of every round; all ranks get all samples, in order.

    Args:
        sampler: the same on all ranks.
        seeds: (N,), of all items.
        batch: items that a rank makes at a time.
        wanted: classes, see `Sampler.labels`.
        ranks: who shares the work.
    """
    for round_ in torch.split(seeds, batch * ranks.world):
        share = ranks.share(round_)
        (made,) = sampler.batches(share, len(share), wanted)
        x = ranks.gathered(made.x.to(ranks.device)).cpu()[: len(round_)]
        check_finite(x, round_)
        yield Batch(x, sampler.labels(round_, wanted))


def check_finite(x: Tensor, seeds: Tensor) -> None:
    """Raises HgfctlError for samples with NaN or infinity: as images they would be black, and nobody the wiser."""
    bad = (~x.isfinite().flatten(1).all(1)).nonzero()
    if len(bad):
        raise HgfctlError(
            f"the sample of seed {int(seeds[bad[0]])} holds NaN or infinity: the training diverged, or the sampler and "
            "its grid do not suit the model"
        )


@dataclass(frozen=True)
class FlowSampler(Sampler):
    """dx/dt = V(x, t) from x_T ~ prior back to t = 0.

    Args:
        shape, classes: see `Sampler`.
        hvp: the predictor, in evaluation mode; its weights' device is where the work is done.
        plan: solver and grid.
        guidance: that of the predictor, where it is a guided one.
    """

    hvp: HVP
    plan: Plan
    guidance: Guidance | None = None

    @classmethod
    def of_model(cls, model: Model, shape: tuple[int, ...], classes: int, request: SamplingRequest) -> Self:
        hvp, guidance = model.as_hvp(), request.guidance
        guided = None if guidance is None else Guided(hvp, guidance)
        chosen = plan(
            hvp.flow,
            request.nfe,
            request.sampler,
            request.grid,
            shape,
            searched=request.searched,
            call_cost=guided and guided.evaluations,
        )
        if guidance and guidance.interval and guidance.weight not in (0, 1) and not chosen.extra:
            raise RequestError(
                f"{guidance}: of {chosen.nfe} calls by {chosen.solver.name} on {chosen.grid} none lies there; "
                "a wider `guidance_interval` or a larger `nfe`"
            )
        return cls(shape, classes, guided or hvp, chosen, guidance)

    @property
    def method(self) -> str:
        return self.plan.solver.name

    @property
    def grid(self) -> str:
        return self.plan.grid

    @property
    def nfe(self) -> int:
        return self.plan.nfe

    @property
    def flow(self) -> Flow:
        return self.hvp.flow

    @property
    def identity(self) -> str:
        guided = f" {self.guidance.weight} {self.guidance.interval}" if self.guidance else ""
        return f"{self.plan.solver} {self.plan.times.tolist()} {self.flow}{guided}"

    def start(self, seeds: Tensor) -> Tensor:
        """x_T, one draw from the prior for each seed: (B, *shape), float64, on the CPU."""
        prior = self.hvp.flow.prior
        return torch.cat([prior.sample((1, *self.shape), generator(seed, "prior")) for seed in seeds.tolist()])

    def on_device(self, seeds: Tensor, wanted: Sequence[int] = ()) -> tuple[Tensor, Tensor | None]:
        """x_T and labels where the work is done, x_T in float32 where there is no float64."""
        device = next(self.hvp.parameters()).device
        start, labels = self.start(seeds), self.labels(seeds, wanted)
        start = start.float().to(device) if device.type == "mps" else start.to(device)
        return start, None if labels is None else labels.to(device)

    @torch.no_grad()
    def velocity(self, x: Tensor, t: float | Tensor, labels: Tensor | None = None) -> Tensor:
        """V(x, t) of the trained HVP: x (B, *shape) and labels (B,) on its device, t () or (B,) on any."""
        velocity: Tensor = self.hvp(x, as_times(t, x), labels)
        return velocity

    @torch.no_grad()
    def trajectory(self, seeds: Tensor, wanted: Sequence[int] = ()) -> Iterator[Tensor]:
        start, labels = self.on_device(seeds, wanted)
        times = as_times(self.plan.times, start)
        velocity, solver = partial(self.velocity, labels=labels), self.plan.solver
        if solver.draws_noise:
            solver = solver.with_noise(self.noise(seeds, solver.name, start.device))
        yield from solver.trajectory(velocity, self.hvp.flow, start, times)
