"""The uniform law of a sphere."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hgfctl.engine.flows.priors.prior import Prior


@dataclass(frozen=True)
class SpherePrior(Prior):
    """Uniform on the sphere of a radius, |x| = r in R^(d + 1); its density is that a unit of d-dimensional area."""

    radius: float

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        z = torch.randn(shape, generator=generator, dtype=torch.float64, device=generator.device)
        x: Tensor = self.radius * z / z.norm(dim=-1, keepdim=True)
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """Minus the logarithm of the area 2 pi^(n/2) r^d / Gamma(n/2), n = d + 1, whatever x."""
        n = x.shape[1]
        area = math.log(2) + n / 2 * math.log(math.pi) - math.lgamma(n / 2) + (n - 1) * math.log(self.radius)
        return x.new_full((len(x),), -area)

    def to_normal(self, x: Tensor) -> Tensor:
        """x itself: normal but for the length, and arcs are great circles."""
        return x

    def from_normal(self, u: Tensor) -> Tensor:
        return u
