"""Velocities of one speed."""

import math
from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.flows.velocity_laws.direction import polar
from hgfctl.engine.flows.velocity_laws.law import InitialMoments, VelocityLaw


@dataclass(frozen=True)
class SphereVelocity(VelocityLaw):
    """v0 = speed sqrt(d) z / |z|: uniform on a sphere, independent of the data.

    Args:
        speed: root mean square of v0 a coordinate, as the sd of a normal law is; |v0| = speed sqrt(d).
    """

    speed: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.speed < math.inf:
            raise ValueError(f"speed must be positive and finite, not {self.speed}")

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        return self.speed * math.sqrt(z.shape[1:].numel()) * polar(z).unit

    def moments(self, sd: float) -> InitialMoments:
        return InitialMoments(0.0, self.speed**2)
