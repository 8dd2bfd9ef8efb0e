"""Oscillation HGF: a harmonic oscillator turns data into noise within a quarter period."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.linear import LinearFlow, Path
from hgfctl.engine.flows.velocity_laws.gaussian import GaussianVelocity


@dataclass(frozen=True)
class Oscillation(LinearFlow):
    """Harmonic oscillator: F(x) = -alpha^2 x, v0 ~ N(0, (alpha s)^2 I)  (HSM24, section 5).

    a(t) = cos(alpha t), b(t) = s sin(alpha t), 0 <= t <= pi / (2 alpha); x_T ~ N(0, s^2 I) exactly.

    Args:
        alpha: angular frequency, radians a unit of time.
        s: standard deviation of the prior; the data's own `sd` when left out, which keeps the scale of x_t constant.
    """

    alpha: float = 1.0
    s: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("alpha (an angular frequency)", self.alpha)
        require_positive("s (the prior's standard deviation)", self.prior_sd)

    @property
    def T(self) -> float:
        return math.pi / (2 * self.alpha)

    @property
    def prior_sd(self) -> float:
        return self.sd if self.s is None else self.s

    @property
    def velocity_law(self) -> GaussianVelocity:
        return GaussianVelocity(self.alpha * self.prior_sd)

    def path(self, t: Tensor) -> Path:
        s, alpha = self.prior_sd, self.alpha
        cos, sin = torch.cos(alpha * t), torch.sin(alpha * t)
        return Path(a=cos, b=s * sin, da=-alpha * sin, db=s * alpha * cos)

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -(self.alpha**2) * x

    def time(self, sigma: Tensor) -> Tensor:
        return torch.atan(sigma / self.prior_sd) / self.alpha
