"""Priors: the laws p_T from which sampling starts."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor


class Prior(Protocol):
    """A law on arrays of any shape."""

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """A float64 draw of the given shape, on the generator's device."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats of each item: (B, *D) -> (B,)."""


@dataclass(frozen=True)
class GaussianPrior:
    """N(0, sd^2 I)."""

    sd: float

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        return self.sd * torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)

    def log_prob(self, x: Tensor) -> Tensor:
        log_density = -0.5 * (x / self.sd) ** 2 - math.log(self.sd) - 0.5 * math.log(2 * math.pi)
        return log_density.flatten(1).sum(1)


@dataclass(frozen=True)
class UniformPrior:
    """Uniform on the box [lo, hi]^d."""

    lo: float
    hi: float

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        u = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
        return self.lo + (self.hi - self.lo) * u

    def log_prob(self, x: Tensor) -> Tensor:
        inside = ((x >= self.lo) & (x <= self.hi)).flatten(1).all(1)
        constant = -x.shape[1:].numel() * math.log(self.hi - self.lo)
        return x.new_full((len(x),), constant).masked_fill(~inside, -math.inf)
