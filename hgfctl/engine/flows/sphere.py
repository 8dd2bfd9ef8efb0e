"""Great circles on a sphere turn data into the uniform law."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.manifold import Manifold, Sizes
from hgfctl.engine.flows.priors.sphere import SpherePrior
from hgfctl.engine.flows.velocity_laws.law import InitialMoments, VelocityLaw
from hgfctl.engine.phase_space import State, over


@dataclass(frozen=True)
class SphereLogarithm(VelocityLaw):
    """v0 = log_{x0}(x1) / T with x1 = r z / |z|, uniform on the sphere of radius r.

    Of z the part along x0 and the part across it are independent: the angle is that between them, the direction that of
    the part across. It stays defined where x1 is opposite to x0, and where z has no part across a direction is chosen.

    Args:
        radius: r.
        duration: T.
    """

    radius: float
    duration: float

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        n = x0 / self.radius
        across = z - (z * n).sum(-1, keepdim=True) * n
        angle = torch.atan2(across.norm(dim=-1, keepdim=True), (z * n).sum(-1, keepdim=True))
        return self.radius / self.duration * angle * _direction(n, across)

    def moments(self, sd: float) -> InitialMoments:
        """E angle^2 = pi^2 / 4 + trigamma((d + 1) / 2) / 2 on S^d, d + 1 = (r / sd)^2, for its density is
        proportional to sin^(d - 1).
        """
        half = torch.tensor((self.radius / sd) ** 2 / 2, dtype=torch.float64)
        square = math.pi**2 / 4 + float(torch.special.polygamma(1, half)) / 2
        return InitialMoments(0.0, (sd / self.duration) ** 2 * square)


@dataclass(frozen=True)
class Sphere(Manifold):
    """S^d of radius r in R^(d + 1), any d >= 1: items are vectors x with |x| = r.

        x_t = cos(w t) x0 + sin(w t) / w v0,    v_t = cos(w t) v0 - w sin(w t) x0,    w = |v0| / r
        F(x, v) = -|v|^2 / r^2 x, which keeps x on the sphere

    Points on the sphere have root mean square sd = r / sqrt(d + 1), which says what d is.

    Args:
        radius: r.
    """

    radius: float = 1.0

    tuned_as: ClassVar[str] = "sphere"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("radius", self.radius)

    @property
    def domain(self) -> str:
        return f"the sphere of radius {self.radius:g}"

    @property
    def size(self) -> float:
        return self.radius

    @property
    def velocity_law(self) -> SphereLogarithm:
        return SphereLogarithm(self.radius, self.duration)

    @property
    def prior(self) -> SpherePrior:
        return SpherePrior(self.radius)

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.sd**2, self.velocity_law.moments(self.sd).vv)

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -((v / self.radius).square().sum(-1, keepdim=True)) * x

    def geodesic(self, x0: Tensor, v0: Tensor, t: Tensor) -> State:
        t = over(t.to(x0.dtype), x0)
        w = v0.norm(dim=-1, keepdim=True) / self.radius
        x = torch.cos(w * t) * x0 + t * torch.sinc(w * t / math.pi) * v0
        v = torch.cos(w * t) * v0 - w * torch.sin(w * t) * x0
        return State(x, v)

    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        n = x / x.norm(dim=-1, keepdim=True)
        along: Tensor = v - (v * n).sum(-1, keepdim=True) * n
        return along

    def confine(self, x: Tensor) -> Tensor:
        """r x / |x|; the origin, from which all points are equally far, goes to the first pole."""
        length = x.norm(dim=-1, keepdim=True)
        pole = torch.zeros_like(x)
        pole[..., 0] = 1.0
        return self.radius * torch.where(length > 0, x / length, pole)

    def near(self, x: Tensor) -> Tensor:
        """x (3 - |x|^2 / r^2) / 2: a Newton step towards the sphere."""
        return x * (3 - (x / self.radius).square().sum(-1, keepdim=True)) / 2

    def check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(f"points of S^d are vectors of d + 1 numbers, d >= 1, not of shape {shape}")


def _direction(n: Tensor, across: Tensor) -> Tensor:
    """The unit tangent at n along `across`, which is nearly tangent; any one where that has no length."""
    length = across.norm(dim=-1, keepdim=True)
    axis = torch.zeros_like(n).scatter_(-1, n.abs().argmin(-1, keepdim=True), 1.0)  # far from parallel to n
    u = torch.where(length > _NOTHING, across / length, axis)
    for _ in range(2):  # what is left of n in a short vector is not small beside it
        u = u - (u * n).sum(-1, keepdim=True) * n
        u = u / u.norm(dim=-1, keepdim=True)
    return u


_NOTHING = 1e-18
"""Lengths below have no direction."""
