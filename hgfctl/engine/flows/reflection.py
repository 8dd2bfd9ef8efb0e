"""Reflection HGF: free flight in a box with elastic walls turns data into the uniform law."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.box import Box
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.flows.velocity_laws.gaussian import GaussianVelocity
from hgfctl.engine.phase_space import State, over


@dataclass(frozen=True)
class Reflection(Box):
    """F = 0 inside [lo, hi]^d, elastic walls, v0 ~ N(0, I)  (HSM24, section 5).

    x_t = fold(x0 + t v0): no simulation. x_T tends to the uniform law of the box: the cosine mode k of its density
    decays as exp(-(k pi T / L)^2 / 2), L = hi - lo.

    Args:
        lo, hi: the walls, the same in every coordinate.
        duration: T; 3/2 of the side when left out, where the slowest mode is down to 1.5e-5.
    """

    duration: float | None = None

    tuned_as: ClassVar[str] = "reflection"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("duration", self.T)

    @property
    def T(self) -> float:
        return 1.5 * self.side if self.duration is None else self.duration

    @property
    def velocity_law(self) -> GaussianVelocity:
        return GaussianVelocity(1.0)

    def fold(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Free flight y -> (position in the box, +1 or -1 for the sign of the velocity there), per coordinate."""
        u = torch.remainder(y - self.lo, 2 * self.side)
        sign = torch.where(u <= self.side, 1.0, -1.0).to(y.dtype)
        return (self.lo + torch.minimum(u, 2 * self.side - u)).clamp(self.lo, self.hi), sign  # rounding stays inside

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        v0 = self.velocity_law(x0, z)
        x, sign = self.fold(x0 + over(t.to(x0.dtype), x0) * v0)
        return State(x, sign * v0)

    def moments(self, t: Tensor) -> Moments:
        """Those of the stationary law, uniform in the box: x and v uncorrelated at every time."""
        one = torch.ones_like(t)
        return Moments(xx=self.side**2 / 12 * one, xv=torch.zeros_like(t), vv=one, residual=one)

    def sigma(self, t: Tensor) -> Tensor:
        """t itself: the standard deviation of the flight x0 -> x0 + t v0 before folding."""
        return t

    def time(self, sigma: Tensor) -> Tensor:
        return sigma.clamp(max=self.T)

    def unfolded(self, velocity: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """sign * V(fold(y)): even about each wall, as smooth as V if V obeys the walls."""

        def moving(y: Tensor) -> Tensor:
            x, sign = self.fold(y)
            return sign * velocity(x)

        return moving

    def confine(self, x: Tensor) -> Tensor:
        return self.fold(x)[0]
