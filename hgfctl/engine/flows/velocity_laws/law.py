"""Velocity laws: how v0 is drawn, given x0 and standard normal noise z of the same shape."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor

from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.flows.motion import Motion
from hgfctl.engine.flows.priors.prior import Prior

COLLAPSED = 1e-6
"""A spread of x_T, relative to the data's, that no network can tell from none."""


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

    def end_prior(self, force: LinearForce, duration: float, shape: tuple[int, ...], sd: float) -> Prior | None:
        """The law of x_T under a linear force, whatever the data, where a formula gives it.

        Args:
            force: F.
            duration: T.
            shape: of an item.
            sd: root mean square of the data a coordinate.
        """
        return None

    def motion(self, force: LinearForce, t: Tensor, shape: tuple[int, ...]) -> Motion:
        """The motion under a linear force from x0 and what `driven` gives to x_t and v_t: t () or (B,)."""
        return force.motion(t, shape)

    def driven(self, x0: Tensor, z: Tensor) -> Tensor:
        """The tensor (B, *D) that `motion` acts on besides x0: v0."""
        return self(x0, z)

    def driven_moments(self, sd: float) -> InitialMoments:
        """E[x0 u] and E[u^2] a coordinate, u from `driven`."""
        return self.moments(sd)
