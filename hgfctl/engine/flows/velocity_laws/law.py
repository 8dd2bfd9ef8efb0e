"""Velocity laws: how v0 is drawn, given x0 and standard normal noise z of the same shape."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor


class InitialMoments(NamedTuple):
    """E[x0 v0] and E[v0^2] a coordinate."""

    xv: float
    vv: float


class VelocityLaw(ABC):
    """v0 = law(x0, z) with z ~ N(0, I); x0, z and v0 are (B, *D)."""

    @abstractmethod
    def __call__(self, x0: Tensor, z: Tensor) -> Tensor: ...

    @abstractmethod
    def moments(self, sd: float) -> InitialMoments:
        """For data of root mean square sd; a good guess will do, they scale what a network sees."""

    def paired(self, x0: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        """Which item of a batch gets which noise: z, reordered where the law couples them; labels (B,) or None."""
        return z
