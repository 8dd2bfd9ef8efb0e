"""Velocity laws: how v0 is drawn, given x0 and standard normal noise z of the same shape."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class VelocityLaw(Protocol):
    """v0 = law(x0, z) with z ~ N(0, I); x0, z and v0 are (B, *D)."""

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class GaussianVelocity:
    """v0 = sd z, independent of the data."""

    sd: float

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        return self.sd * z


@dataclass(frozen=True)
class CoupledVelocity:
    """v0 = sd z - x0: the straight line that ends at x1 = sd z at time 1 (flow matching, Lipman et al. 2023)."""

    sd: float

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        return self.sd * z - x0
