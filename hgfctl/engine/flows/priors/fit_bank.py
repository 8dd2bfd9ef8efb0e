"""The end points of trajectories themselves, each blurred a little."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.priors.fit import FEWEST, Fitted, usable
from hgfctl.engine.flows.priors.mixture import MixturePrior, whitened
from hgfctl.engine.flows.priors.spread import spread

LADDER = 11
"""Bandwidths that are tried: Silverman's and down from it by factors of sqrt(2), to 1/32."""
MOST = 2**22
"""Coordinates of all stored points, at most: every checkpoint holds them."""
JUDGES = 512
"""Points whose likelihood chooses, at most."""


@dataclass(frozen=True)
class BankFit:
    """A kernel density that keeps mean and covariance (Silverman 1986, section 6.4.1).

    x = mean + sqrt(1 - h^2) (x_i - mean) + h L z, with x_i one of the stored points and L L' their covariance,
    estimated as `spread` says (diagonal, above 256 dimensions: then variances are kept). Points are stored in float32.

    Args:
        bandwidth: h, relative to the spread of the points, between 0 (the points alone) and 1 (a normal law); when left
            out, Silverman's rule for normal laws (4 / ((d + 2) N))^(1 / (d + 4)), or what of its 1/sqrt(2), 1/2, ...,
            1/32 makes points likelier that are left out one at a time. In many dimensions that is nearly 1, and the law
            nearly normal: smaller ones draw what lies next to stored points, and leads back to the data they came from.
        points: stored, at most.
    """

    bandwidth: float | None = None
    points: int = 4096

    def __post_init__(self) -> None:
        if self.bandwidth is not None and not 0 < self.bandwidth < 1:
            raise ValueError(f"bandwidth is relative to the spread, and lies between 0 and 1, not at {self.bandwidth}")
        if self.points < 1:
            raise ValueError(f"points must be 1 or more, not {self.points}")

    def __call__(self, ends: Tensor) -> Fitted:
        x = usable(ends)
        x = x[: max(FEWEST, min(self.points, MOST // x[0].numel()))]
        mean = x.mean(0, keepdim=True)
        deviations = (x - mean).flatten(1)
        factor = spread(deviations)
        h = self.bandwidth or likeliest(whitened(factor, deviations))
        means = (mean + (1 - h**2) ** 0.5 * (x - mean)).float()
        weights = torch.full((len(x),), 1 / len(x), dtype=torch.float64)
        return Fitted("bank", MixturePrior(weights, means, h * factor))


def silverman(count: int, dim: int) -> float:
    """h for normal laws: (4 / ((d + 2) N))^(1 / (d + 4)) (Silverman 1986, section 4.3.2)."""
    return float((4 / ((dim + 2) * count)) ** (1 / (dim + 4)))


def likeliest(u: Tensor) -> float:
    """The h of the ladder with the largest mean log-likelihood of u_i under the kernels of all others; u (N, d), white.

    log sum_(j != i) exp(-|u_i - c u_j|^2 / (2 h^2)) - d log h, c = sqrt(1 - h^2).
    """
    count, dim = u.shape
    products, squares = u[:JUDGES] @ u.T, u.square().sum(1)

    def likelihood(h: float) -> float:
        c = (1 - h**2) ** 0.5
        exponents = -(squares[:JUDGES, None] - 2 * c * products + c**2 * squares) / (2 * h**2)
        exponents.fill_diagonal_(-torch.inf)
        return float(exponents.logsumexp(1).mean()) - dim * torch.tensor(h).log().item()

    return max((silverman(count, dim) * 2 ** (-step / 2) for step in range(LADDER)), key=likelihood)
