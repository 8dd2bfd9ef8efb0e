"""A designed flow under a linear force: everything in closed form."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.basis import Basis
from hgfctl.engine.flows.designed import COLLAPSED, Designed
from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.flows.forces.none import NoForce
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.flows.motion import Motion
from hgfctl.engine.flows.priors.gaussian import GaussianPrior
from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.flows.velocity_laws.aimed import AimedVelocity
from hgfctl.engine.flows.velocity_laws.coupled import CoupledVelocity
from hgfctl.engine.flows.velocity_laws.gaussian import GaussianVelocity
from hgfctl.engine.phase_space import State

GROWTH = 1e6
"""Of distances until T, at most: states and moments are differences of terms as large as this."""
FORGOTTEN = 1e-9
"""A share of x0 in x_T below which the data are forgotten."""


@dataclass(frozen=True, kw_only=True)
class LinearMotion(Designed):
    """x_t and v_t are linear in (x0, v0), mode by mode of the force's basis or by matrices; nothing is simulated."""

    force_field: LinearForce

    def __post_init__(self) -> None:
        super().__post_init__()
        end = self.force_field.motion(torch.tensor(self.T, dtype=torch.float64), self.shape)
        growth = max(self.force_field.algebra.size(part) for part in (end.xx, end.vv))
        if not growth < GROWTH:
            raise ValueError(
                f"the force carries neighbours apart by a factor of {growth:.1e} until T = {self.T:g}, too far to "
                "compute with; a shorter duration"
            )

    @property
    def basis(self) -> Basis:
        return self.force_field.algebra.basis

    @property
    def exact_prior(self) -> Prior | None:
        """N(0, s^2 I) where v0 is aimed at it, or where x0 is forgotten and all modes of a Gaussian v0 grow alike."""
        if isinstance(self.law, AimedVelocity):
            return GaussianPrior(self.law.s)
        if isinstance(self.law, CoupledVelocity):
            return GaussianPrior(self.law.sd) if isinstance(self.force_field, NoForce) else None
        if not isinstance(self.law, GaussianVelocity):
            return None
        algebra = self.force_field.algebra
        end = self.force_field.motion(torch.tensor(self.T, dtype=torch.float64), self.shape)
        if algebra.size(end.xx) > FORGOTTEN or not algebra.is_scalar(end.xv):
            return None
        grown = algebra.moments(end, 0.0, 0.0, self.law.sd**2).xx
        return GaussianPrior(float(grown.mean().sqrt())) if float(grown.mean()) > (COLLAPSED * self.sd) ** 2 else None

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        act = self.force_field.algebra.act
        if isinstance(self.law, AimedVelocity):
            motion, second = self.law.path(t), z
        else:
            motion, second = self.force_field.motion(t, self.shape), self.law(x0, z)
        return State(act(motion.xx, x0) + act(motion.xv, second), act(motion.vx, x0) + act(motion.vv, second))

    def moments(self, t: Tensor) -> Moments:
        """Of data whose coordinates are uncorrelated and of one root mean square."""
        motion, xv, vv = self._moved(t)
        moments = self.force_field.algebra.moments(motion, self.sd**2, xv, vv)
        return moments if t.ndim or moments.xx.ndim > 1 else Moments(*(part.squeeze(0) for part in moments))

    def _moved(self, t: Tensor) -> tuple[Motion, float, float]:
        """A motion, and the moments E[x0 u], E[u^2] of what it moves besides x0."""
        if isinstance(self.law, AimedVelocity):
            return self.law.path(t), 0.0, 1.0
        return self.force_field.motion(t, self.shape), *self.law.moments(self.sd)
