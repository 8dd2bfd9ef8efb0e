"""A damped oscillator."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hgfctl.engine.flows.forces.linear_force import LinearForce, column, oscillator
from hgfctl.engine.flows.motion import Motion


@dataclass(frozen=True)
class Damped(LinearForce):
    """F = -alpha^2 x - gamma v; overdamped for gamma > 2 alpha.

    Args:
        alpha: angular frequency without damping; 0 for friction alone.
        gamma: friction, 1 / time; negative pumps energy in.
    """

    alpha: float = 1.0
    gamma: float = 1.0
    depends_on_velocity: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (0 <= self.alpha < math.inf and math.isfinite(self.gamma)):
            raise ValueError(f"alpha is a frequency and gamma a friction, not {self.alpha} and {self.gamma}")

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -(self.alpha**2) * x - self.gamma * v

    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        return oscillator(self.alpha**2, self.gamma, column(t, len(shape)))


@dataclass(frozen=True)
class Proportional(LinearForce):
    """F = kx x + kv v: what a formula such as `-4*x - 0.1*v` comes to.

    Args:
        kx, kv: any numbers.
    """

    kx: float
    kv: float

    @property
    def depends_on_velocity(self) -> bool:  # type: ignore[override]
        return self.kv != 0

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return self.kx * x + self.kv * v

    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        return oscillator(-self.kx, -self.kv, column(t, len(shape)))
