"""Geodesic flows on manifolds in R^n: no force but that which keeps x on the manifold, and a uniform law at T.

v0 is the initial velocity of the shortest geodesic to a uniform point, v0 = log_{x0}(x1) / T, so that x_T = x1 and the
prior is exact, for every law of the data. All is computed in the coordinates of R^n, where velocities at different
points are vectors of one space: solvers may add them, and `confine` brings back the little that a step leaves the
manifold, without loss of order (Hairer, Lubich and Wanner 2006, IV.4).
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.phase_space import State

TOLERANCE = 1e-3
"""How far from the manifold, in units of its size, data may lie: what a few written digits leave. They are confined."""


class Sizes(NamedTuple):
    """Mean square a coordinate of R^n: of positions, always, and of velocities."""

    xx: float
    vv: float


@dataclass(frozen=True)
class Manifold(Flow):
    """A geodesic flow: a subclass knows its geodesics, its nearest points, its uniform law.

    Args:
        duration: T.
    """

    duration: float = 1.0

    separable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("duration", self.duration)

    @property
    def T(self) -> float:
        return self.duration

    @property
    @abstractmethod
    def domain(self) -> str:
        """The manifold, in words."""

    @abstractmethod
    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        """The projection of v on the tangent space at x."""

    @abstractmethod
    def confine(self, x: Tensor) -> Tensor:
        """The nearest point of the manifold."""

    @property
    @abstractmethod
    def size(self) -> float:
        """A length to measure distances from the manifold by."""

    @property
    @abstractmethod
    def sizes(self) -> Sizes:
        """Second moments."""

    @abstractmethod
    def geodesic(self, x0: Tensor, v0: Tensor, t: Tensor) -> State:
        """x_t and v_t from x0 on the manifold and v0 tangent to it, (B, *D) each; t () or (B,)."""

    @abstractmethod
    def near(self, x: Tensor) -> Tensor:
        """A smooth map that fixes the manifold, and whose derivative there is the projection on the tangent space."""

    @abstractmethod
    def check(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where items of this shape are no points of the manifold's space."""

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        x0 = self.confine(x0)
        return self.geodesic(x0, self.velocity_law(x0, z), t)

    def moments(self, t: Tensor) -> Moments:
        """x and v are perpendicular, and neither grows nor shrinks."""
        one = torch.ones_like(t)
        xx, vv = self.sizes
        return Moments(xx=xx * one, xv=0 * one, vv=vv * one, residual=vv * one)

    def extended(self, y: Tensor) -> Tensor:
        """The nearest point, as far as first derivatives go: of the tangent space they see the identity, of what is
        perpendicular to it nothing. A velocity V of points on the manifold becomes V(extended(y)), of all points near
        it and constant along normals, so that its divergence in R^n is that on the manifold.
        """
        with torch.no_grad():
            x = self.confine(y)
        return self.near(x + (y - y.detach()))

    def unfolded(self, velocity: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """V(extended(y)), near the manifold as on it."""
        return lambda y: velocity(self.extended(y))

    def outside(self, x: Tensor) -> Tensor:
        """A whole item at a time: where it is TOLERANCE or more away from the manifold."""
        self.check(tuple(x.shape[1:]))
        away = (x - self.confine(x)).flatten(1).norm(dim=1) > TOLERANCE * self.size
        items: Tensor = away.reshape(-1, *[1] * (x.ndim - 1)).expand_as(x)
        return items
