"""The normal law of independent coordinates."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hgfctl.engine.flows.priors.prior import Prior


@dataclass(frozen=True)
class GaussianPrior(Prior):
    """N(0, sd^2 I)."""

    sd: float

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        return self.sd * torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)

    def log_prob(self, x: Tensor) -> Tensor:
        log_density = -0.5 * (x / self.sd) ** 2 - math.log(self.sd) - 0.5 * math.log(2 * math.pi)
        return log_density.flatten(1).sum(1)

    def to_normal(self, x: Tensor) -> Tensor:
        return x / self.sd

    def from_normal(self, u: Tensor) -> Tensor:
        return self.sd * u
