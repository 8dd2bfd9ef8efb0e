"""Annealed, underdamped Langevin dynamics, from a noise-conditional score (Song and Ermon 2019, arXiv 1907.05600)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from pydantic import PositiveFloat
from torch import Tensor

from hgfctl.engine.models.model import Model
from hgfctl.engine.models.noised_score import NoisedScore
from hgfctl.engine.sampling.options import checked, declared
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.errors import RequestError


@dataclass(frozen=True)
class LangevinSampler(Sampler):
    """dx = v dt, dv = F(x, sigma) dt - gamma v dt + sqrt(2 gamma) dW, while sigma falls from level to level.

    One step a level: kick, drift, draw part of v anew, drift, kick (BAOAB: Leimkuhler and Matthews 2013, Appl. Math.
    Res. eXpress 2013, 34), of length `step` sigma, with friction gamma = `friction` / sigma. The last evaluation takes
    away what noise is left (Tweedie: x + sigma^2 F).

    Args:
        shape, classes: see `Sampler`.
        score: the model, in evaluation mode; its weights' device is where the work is done.
        budget: of network evaluations.
        step: length of a step, in units of the noise level; the curvature of -log p_sigma is at most 1/sigma^2, so 2 is
            the bound of stability.
        friction: gamma, in units of 1/sigma.
    """

    options: ClassVar[tuple[str, ...]] = ("step", "friction")

    score: NoisedScore
    budget: int
    step: PositiveFloat = 0.5
    friction: PositiveFloat = 1.0

    @classmethod
    def of_model(cls, model: Model, shape: tuple[int, ...], classes: int, request: SamplingRequest) -> Self:
        assert isinstance(model, NoisedScore)
        request.refuse_what_flows_take("langevin")
        return cls(shape, classes, model, request.nfe, **checked(request.sampler, declared(cls), "langevin"))

    def __post_init__(self) -> None:
        if self.budget < 3:
            raise RequestError(f"langevin takes 3 evaluations or more, and `nfe={self.budget}` is too few")
        if not 0 < self.step < 2:
            raise RequestError(f"sample.step {self.step}: langevin is stable between 0 and 2 (units of sigma)")

    @property
    def method(self) -> str:
        return "langevin"

    @property
    def grid(self) -> str:
        return "log-sigma"

    @property
    def nfe(self) -> int:
        return self.budget

    @property
    def levels(self) -> Tensor:
        """(nfe - 2,) noise levels, one a step."""
        ends = math.log(self.score.sigma_max), math.log(self.score.sigma_min)
        return torch.linspace(*ends, self.budget - 2, dtype=torch.float64).exp()

    @torch.no_grad()
    def trajectory(self, seeds: Tensor, wanted: Sequence[int] = ()) -> Iterator[Tensor]:
        device = next(self.score.parameters()).device
        labels = self.labels(seeds, wanted)
        labels = None if labels is None else labels.to(device)
        normal = self.noise(seeds, "langevin", device)

        def force(x: Tensor, sigma: float) -> Tensor:
            score: Tensor = self.score(x, torch.tensor(sigma, dtype=torch.float64).to(x), labels)
            return score

        keep = math.exp(-self.step * self.friction)
        x, v = math.hypot(self.score.sd, self.score.sigma_max) * normal(), normal()
        yield x
        acceleration = force(x, self.score.sigma_max)
        for sigma in self.levels.tolist():
            h = self.step * sigma
            v = v + h / 2 * acceleration
            x = x + h / 2 * v
            v = keep * v + math.sqrt(1 - keep**2) * normal()
            x = x + h / 2 * v
            acceleration = force(x, sigma)
            v = v + h / 2 * acceleration
            yield x
        yield x + self.score.sigma_min**2 * force(x, self.score.sigma_min)
