"""Normal velocities, independent of the data."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.flows.priors.gaussian import GaussianPrior
from hgfctl.engine.flows.velocity_laws.law import COLLAPSED, InitialMoments, VelocityLaw
from hgfctl.engine.provided import ItemShape

FORGOTTEN = 1e-9
"""A share of x0 in x_T below which the data are forgotten."""


@dataclass(frozen=True)
class GaussianVelocity(VelocityLaw):
    """v0 = sd z."""

    sd: float

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        return self.sd * z

    def moments(self, sd: float) -> InitialMoments:
        return InitialMoments(0.0, self.sd**2)

    def end_prior(self, force: LinearForce, duration: float, shape: tuple[int, ...], sd: float) -> GaussianPrior | None:
        """N(0, s^2 I), where x0 is forgotten and all modes of v0 grow alike."""
        algebra = force.algebra
        end = force.motion(torch.tensor(duration, dtype=torch.float64), shape)
        if algebra.size(end.xx) > FORGOTTEN or not algebra.is_scalar(end.xv):
            return None
        grown = algebra.moments(end, 0.0, 0.0, self.sd**2).xx
        return GaussianPrior(float(grown.mean().sqrt())) if float(grown.mean()) > (COLLAPSED * sd) ** 2 else None


@dataclass(frozen=True, eq=False)
class CorrelatedVelocity(VelocityLaw):
    """v0 = L z, so that v0 ~ N(0, L L'), over the coordinates of flattened items.

    Args:
        factor: L, (d, d), float64.
    """

    factor: Tensor

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        return (z.flatten(1) @ self.factor.to(z).T).reshape(z.shape)

    def moments(self, sd: float) -> InitialMoments:
        return InitialMoments(0.0, float(self.factor.square().sum() / len(self.factor)))


def gaussian(
    shape: ItemShape, sd: float | list[float] = 1.0, covariance: list[list[float]] | None = None
) -> VelocityLaw:
    """N(0, C), independent of the data (HSM24, section 3, has C = I).

    Args:
        shape: of an item, d numbers.
        sd: standard deviation of every coordinate, or a list of d.
        covariance: C, d rows of d numbers, in place of sd.

    Raises:
        ValueError: wrong sizes, or C is no covariance.
    """
    dim = math.prod(shape)
    if covariance is not None:
        return CorrelatedVelocity(_root(covariance, dim))
    deviations = sd if isinstance(sd, list) else [sd]
    if not all(0 < value < math.inf for value in deviations):
        raise ValueError(f"sd must be positive and finite, not {sd}")
    if not isinstance(sd, list):
        return GaussianVelocity(sd)
    if len(sd) != dim:
        raise ValueError(f"sd has {len(sd)} numbers, and items have {dim}; one for each, or one for all")
    return CorrelatedVelocity(torch.tensor(sd, dtype=torch.float64).diag())


def _root(rows: list[list[float]], dim: int) -> Tensor:
    """L with L L' = C, lower triangular."""
    if len(rows) != dim or any(len(row) != dim for row in rows):
        sizes = sorted({len(row) for row in rows})
        raise ValueError(f"covariance has {len(rows)} rows of {sizes} numbers, and items of {dim} need {dim} x {dim}")
    covariance = torch.tensor(rows, dtype=torch.float64)
    if not covariance.isfinite().all():
        raise ValueError("covariance has numbers that are not finite")
    difference = (covariance - covariance.T).abs()
    if difference.max() > 1e-9 * covariance.abs().max():
        i, j = divmod(int(difference.argmax()), dim)
        raise ValueError(f"covariance is not symmetric: [{i}][{j}] is {rows[i][j]:g} and [{j}][{i}] is {rows[j][i]:g}")
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex((covariance + covariance.T) / 2)
    if failed:
        least = float(torch.linalg.eigvalsh(covariance)[0])
        raise ValueError(f"covariance is not positive definite: its smallest eigenvalue is {least:.3g}")
    root: Tensor = factor
    return root
