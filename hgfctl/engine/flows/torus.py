"""Free flight around a torus turns data into the uniform law."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.box import Box
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.flows.velocity_laws.law import InitialMoments, VelocityLaw
from hgfctl.engine.phase_space import State, over


@dataclass(frozen=True)
class UniformDisplacement(VelocityLaw):
    """v0 uniform on [-L/2, L/2] / T in every coordinate: whatever x0 is, x0 + T v0 is uniform on a circle of length L.

    Args:
        side: L.
        duration: T.
    """

    side: float
    duration: float

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        v0: Tensor = self.side / self.duration * (torch.special.ndtr(z) - 0.5)
        return v0

    def moments(self, sd: float) -> InitialMoments:
        return InitialMoments(0.0, (self.side / self.duration) ** 2 / 12)


@dataclass(frozen=True)
class Torus(Box):
    """F = 0 in the periodic box [lo, hi)^d: x_t = wrap(x0 + t v0), v_t = v0, v0 uniform within half a period.

    x_T is uniform in the box, exactly and for every x0. Items may have any shape.

    Args:
        lo, hi: the box, the same in every coordinate; hi is lo again.
        duration: T.
    """

    duration: float = 1.0

    tuned_as: ClassVar[str] = "torus"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("duration", self.duration)

    @property
    def T(self) -> float:
        return self.duration

    @property
    def velocity_law(self) -> UniformDisplacement:
        return UniformDisplacement(self.side, self.duration)

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        v0 = self.velocity_law(x0, z)
        return State(self.confine(x0 + over(t.to(x0.dtype), x0) * v0), v0)

    def moments(self, t: Tensor) -> Moments:
        """xx is (L/4)^2, not the variance of the box: so c_in x spans [-2, 2], one period of sin(pi x / 2)."""
        one, vv = torch.ones_like(t), self.velocity_law.moments(self.sd).vv
        return Moments(xx=(self.side / 4) ** 2 * one, xv=0 * one, vv=vv * one, residual=vv * one)

    def unfolded(self, velocity: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """V(wrap(y)): periodic, beyond the box as within."""
        return lambda y: velocity(self.confine(y))

    def confine(self, x: Tensor) -> Tensor:
        """Modulo L, into [lo, hi) whatever the rounding."""
        wrapped = self.lo + torch.remainder(x - self.lo, self.side)
        return torch.where(wrapped < self.hi, wrapped, self.lo)
