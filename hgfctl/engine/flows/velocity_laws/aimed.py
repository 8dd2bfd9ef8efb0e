"""The velocity law that lands on the prior: exactly, whatever the linear force."""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.flows.motion import Motion
from hgfctl.engine.flows.priors.gaussian import GaussianPrior
from hgfctl.engine.flows.velocity_laws.law import InitialMoments, VelocityLaw
from hgfctl.engine.provided import FORCE, DataScale, Duration, ItemShape


@dataclass(frozen=True)
class AimedVelocity(VelocityLaw):
    """v0 such that x_T = s z, z ~ N(0, I): v0 = xv(T)^-1 (s z - xx(T) x0), by the force's motion from 0 to T.

    Without a force this is flow matching's law, and at an oscillator's quarter period its independent Gaussian: both
    are members of one family, with an exact prior for every linear force.

    Args:
        force: a linear one.
        shape: of an item.
        T: when to land.
        s: standard deviation of the prior.
    """

    force: LinearForce
    shape: tuple[int, ...]
    T: float
    s: float

    def __post_init__(self) -> None:
        require_positive("s (the prior's standard deviation)", self.s)
        p, q = self.coefficients
        algebra = self.force.algebra
        if not algebra.size(q) < 1e8 * self.s or not algebra.size(p) < 1e8:
            raise ValueError(
                f"no velocity at the start can steer x_T, T = {self.T:g}: there the force brings all velocities to one "
                "point (sin(alpha T) = 0); another duration"
            )

    @cached_property
    def coefficients(self) -> tuple[Tensor, Tensor]:
        """v0 = p x0 + q z."""
        end = self.force.motion(torch.tensor(self.T, dtype=torch.float64), self.shape)
        algebra = self.force.algebra
        back = algebra.inverse(end.xv)
        return -algebra.times(back, end.xx), self.s * back

    def path(self, t: Tensor) -> Motion:
        """x_t = xx x0 + xv z, v_t = vx x0 + vv z: the motion of (x0, z) rather than (x0, v0)."""
        motion, times = self.force.motion(t, self.shape), self.force.algebra.times
        p, q = (c.to(t.device) for c in self.coefficients)
        return Motion(
            motion.xx + times(motion.xv, p), times(motion.xv, q), motion.vx + times(motion.vv, p), times(motion.vv, q)
        )

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        act = self.force.algebra.act
        p, q = (c.to(x0.device) for c in self.coefficients)
        return act(p, x0) + act(q, z)

    def moments(self, sd: float) -> InitialMoments:
        start = self.force.algebra.moments(self.path(torch.zeros((), dtype=torch.float64)), sd**2, 0.0, 1.0)
        return InitialMoments(float(start.xv.real.mean()), float(start.vv.mean()))

    def end_prior(self, force: LinearForce, duration: float, shape: tuple[int, ...], sd: float) -> GaussianPrior:
        """N(0, s^2 I), which v0 is aimed at."""
        return GaussianPrior(self.s)

    def motion(self, force: LinearForce, t: Tensor, shape: tuple[int, ...]) -> Motion:
        return self.path(t)

    def driven(self, x0: Tensor, z: Tensor) -> Tensor:
        """z itself: `path` is the motion of (x0, z)."""
        return z

    def driven_moments(self, sd: float) -> InitialMoments:
        return InitialMoments(0.0, 1.0)


def aimed(
    force: Annotated[Force, FORCE], shape: ItemShape, duration: Duration, data_sd: DataScale, s: float | None = None
) -> AimedVelocity:
    """The law for a force.

    Args:
        force: a linear one.
        shape: of an item.
        duration: T.
        data_sd: root mean square of the data a coordinate.
        s: standard deviation of the prior; the data's own when left out.
    """
    if not isinstance(force, LinearForce):
        raise ValueError("only under a linear force of hgfctl's own is it known how to aim; gaussian goes with any")
    return AimedVelocity(force, shape, duration, data_sd if s is None else s)
