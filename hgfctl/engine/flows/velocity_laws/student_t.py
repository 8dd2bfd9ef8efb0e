"""Velocities with heavy tails."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.velocity_laws.direction import polar
from hgfctl.engine.flows.velocity_laws.law import InitialMoments, VelocityLaw

RAREST = 1e-30
"""Share of all draws that is at either end taken for the last one: no draw is as rare, and all lengths stay finite."""


@dataclass(frozen=True)
class StudentVelocity(VelocityLaw):
    """v0 ~ multivariate Student t of `freedom` degrees, scale sd, independent of the data.

    Such a v has a direction uniform on the sphere and, independent of it, |v|^2 / (d sd^2) ~ F(d, freedom); z has the
    same directions and |z|^2 ~ chi^2(d). So v0 = sd r(|z|) z / |z|, where r(|z|)^2 / d is the quantile of F of
    the share that |z|^2 is of chi^2: a function of z alone.

    Args:
        freedom: nu, above 2 for the variance to be finite; normal as nu grows.
        sd: scale; the standard deviation of a coordinate is sd sqrt(nu / (nu - 2)).
    """

    freedom: float = 5.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        if not 2 < self.freedom < math.inf:
            raise ValueError(f"freedom must be finite and above 2, where variances begin to exist, not {self.freedom}")
        if not 0 < self.sd < math.inf:
            raise ValueError(f"sd must be positive and finite, not {self.sd}")

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        unit, length = polar(z)
        return self.sd * student_radius(length, z.shape[1:].numel(), self.freedom) * unit

    def moments(self, sd: float) -> InitialMoments:
        return InitialMoments(0.0, self.sd**2 * self.freedom / (self.freedom - 2))


def student_radius(length: Tensor, dim: int, freedom: float) -> Tensor:
    """The length of a t variate that is as rare as that of a normal one, both in dim dimensions.

    F(d, nu) = (nu / d) B / (1 - B) with B ~ Beta(d/2, nu/2). From the median on, shares are counted from above and
    1 - B is found in place of B, so that neither end loses digits.
    """
    from scipy.special import betaincinv, gammainc, gammaincc

    half = length.detach().cpu().double().numpy().clip(max=1e100) ** 2 / 2
    below, above = gammainc(dim / 2, half), gammaincc(dim / 2, half)
    low = betaincinv(dim / 2, freedom / 2, below.clip(RAREST, 0.5))
    high = betaincinv(freedom / 2, dim / 2, above.clip(RAREST, 0.5))
    ratio = torch.where(
        torch.from_numpy(below < 0.5),
        torch.from_numpy(low / (1 - low)),
        torch.from_numpy((1 - high) / high),
    )
    return (freedom * ratio).sqrt().to(length)
