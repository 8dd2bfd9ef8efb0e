"""The uniform law of a box."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hgfctl.engine.flows.priors.prior import Prior


@dataclass(frozen=True)
class UniformPrior(Prior):
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

    def to_normal(self, x: Tensor) -> Tensor:
        """Coordinate by coordinate, by the distribution functions."""
        normal: Tensor = torch.special.ndtri(((x - self.lo) / (self.hi - self.lo)).clamp(1e-12, 1 - 1e-12))
        return normal

    def from_normal(self, u: Tensor) -> Tensor:
        inside: Tensor = self.lo + (self.hi - self.lo) * torch.special.ndtr(u)
        return inside
