"""A designed flow under a linear force: everything in closed form."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.flows.basis import Basis
from hgfctl.engine.flows.designed import Designed
from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.phase_space import State

GROWTH = 1e6
"""The most that distances may grow until T: states and moments are differences of terms as large as this."""


@dataclass(frozen=True, kw_only=True)
class LinearMotion(Designed):
    """x_t and v_t are linear in (x0, v0), mode by mode of the force's basis or by matrices; nothing is simulated."""

    force_field: LinearForce

    tuned_as: ClassVar[str] = "linear-motion"
    images_tuned_as: ClassVar[str | None] = "oscillation"

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
        """The velocity law knows it, as far as a formula gives it."""
        return self.law.end_prior(self.force_field, self.T, self.shape, self.sd)

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        act = self.force_field.algebra.act
        motion, second = self.law.motion(self.force_field, t, self.shape), self.law.driven(x0, z)
        return State(act(motion.xx, x0) + act(motion.xv, second), act(motion.vx, x0) + act(motion.vv, second))

    def moments(self, t: Tensor) -> Moments:
        """Second moments for data whose coordinates are uncorrelated and of one root mean square."""
        motion = self.law.motion(self.force_field, t, self.shape)
        moments = self.force_field.algebra.moments(motion, self.sd**2, *self.law.driven_moments(self.sd))
        return moments if t.ndim or moments.xx.ndim > 1 else Moments(*(part.squeeze(0) for part in moments))
