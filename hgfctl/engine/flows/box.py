"""Flows in a box: free flight, and the uniform law at its end."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.priors.uniform import UniformPrior


@dataclass(frozen=True)
class Box(Flow):
    """F = 0 in [lo, hi]^d; a subclass says what happens at its ends. Items may have any shape.

    Args:
        sd: see `Flow`.
        lo, hi: the ends, the same in every coordinate.
    """

    lo: float = -1.0
    hi: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -math.inf < self.lo < self.hi < math.inf:
            raise ValueError(f"the box [{self.lo}, {self.hi}] is no box: lo and hi must be finite, lo below hi")

    @property
    def side(self) -> float:
        """L."""
        return self.hi - self.lo

    @property
    def centre(self) -> float:
        return (self.lo + self.hi) / 2

    @property
    def walls(self) -> tuple[float, float]:
        return self.lo, self.hi

    @property
    def domain(self) -> str:
        return f"the box [{self.lo:g}, {self.hi:g}]^d"

    @property
    def prior(self) -> UniformPrior:
        return UniformPrior(self.lo, self.hi)

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """Zero: what happens at the ends is no force."""
        return torch.zeros_like(x)

    def outside(self, x: Tensor) -> Tensor:
        return (x < self.lo) | (x > self.hi)
