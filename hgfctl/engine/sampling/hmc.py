"""Sampling from a learned score: Hamiltonian Monte Carlo (Neal 2011, arXiv 1206.1901) without its acceptance step.

A free score field has no energy to accept with, so the leapfrog's own error stays: in a mode of standard deviation s
the variance comes out larger by the factor 1 / (1 - (h / 2s)^2), h the step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from pydantic import PositiveFloat
from torch import Tensor

from hgfctl.engine.integrators.symplectic import LEAPFROG
from hgfctl.engine.models.model import Model
from hgfctl.engine.models.score import Score
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.options import checked, declared
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.errors import RequestError

JITTER = 0.2
"""Flights are longer or shorter by up to this share, so that none is ever a whole period of every mode."""


@dataclass(frozen=True)
class HMCSampler(Sampler):
    """x ~ N(0, sd^2 I), then flights under F = score, each with a fresh v ~ N(0, I).

    Args:
        shape, classes: see `Sampler`.
        score: the model, in evaluation mode; its weights' device is where the work is done.
        budget: of network evaluations; as many whole flights are flown as it allows.
        step: length of a leapfrog step, in units of the score's sd.
        flight: length of a flight, in the same unit.
    """

    options: ClassVar[tuple[str, ...]] = ("step", "flight")

    score: Score
    budget: int
    step: PositiveFloat = 0.1
    flight: PositiveFloat = 1.5

    @classmethod
    def of_model(cls, model: Model, shape: tuple[int, ...], classes: int, request: SamplingRequest) -> Self:
        assert isinstance(model, Score)
        request.refuse_what_flows_take("hmc")
        return cls(shape, classes, model, request.nfe, **checked(request.sampler, declared(cls), "hmc"))

    def __post_init__(self) -> None:
        if self.flights < 1:
            raise RequestError(
                f"hmc takes {self.steps + 1} evaluations a flight, and `nfe={self.budget}` is too few;"
                " sample.step and sample.flight set its length"
            )

    @property
    def method(self) -> str:
        return "hmc"

    @property
    def grid(self) -> None:
        return None

    @property
    def nfe(self) -> int:
        return self.flights * (self.steps + 1)

    @property
    def steps(self) -> int:
        """Leapfrog steps a flight."""
        return max(1, round(self.flight / self.step))

    @property
    def flights(self) -> int:
        """As many as the budget allows."""
        return self.budget // (self.steps + 1)

    @torch.no_grad()
    def trajectory(self, seeds: Tensor, wanted: Sequence[int] = ()) -> Iterator[Tensor]:
        device = next(self.score.parameters()).device
        labels = self.labels(seeds, wanted)
        labels = None if labels is None else labels.to(device)
        normal = self.noise(seeds, "hmc", device)

        def force(x: Tensor, t: Tensor) -> Tensor:
            score: Tensor = self.score(x, labels)
            return score

        x = self.score.sd * normal()
        yield x
        for flight in range(self.flights):
            length = 1 + JITTER * (2 * float(torch.rand((), generator=generator("flight", flight))) - 1)
            times = self.score.sd * self.flight * length * torch.linspace(0, 1, self.steps + 1, dtype=torch.float64)
            x = LEAPFROG.integrate(force, State(x, normal()), times).x
            yield x
