"""Priors: the laws p_T from which sampling starts."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from hgfctl.engine.flows.rotations import matrix


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


@dataclass(frozen=True)
class SpherePrior:
    """Uniform on the sphere of a radius, |x| = r in R^(d + 1); its density is that a unit of d-dimensional area."""

    radius: float

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        z = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)
        return self.radius * z / z.norm(dim=-1, keepdim=True)

    def log_prob(self, x: Tensor) -> Tensor:
        """Minus the logarithm of the area 2 pi^(n/2) r^d / Gamma(n/2), n = d + 1, whatever x."""
        n = x.shape[1]
        area = math.log(2) + n / 2 * math.log(math.pi) - math.lgamma(n / 2) + (n - 1) * math.log(self.radius)
        return x.new_full((len(x),), -area)


@dataclass(frozen=True)
class RotationPrior:
    """Uniform on the rotations, items (9,); densities are relative to this law (the normalised Haar measure)."""

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        q = torch.randn(shape[0], 4, generator=generator, dtype=torch.float64, device=generator.device)
        return matrix(q).reshape(shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """0: relative to itself."""
        return x.new_zeros(len(x))
