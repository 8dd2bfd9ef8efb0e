"""The spread of points: a square root of their covariance matrix, estimated so that it always has an inverse."""

import torch
from torch import Tensor

FULL = 256
"""Dimension up to which covariance matrices are full; above, diagonal."""
LEAST_SHRINKAGE = 1e-6
"""Relative to the mean variance: what a coordinate that does not vary is given."""


def spread(deviations: Tensor, full: int = FULL) -> Tensor:
    """L with L L' = C~, (1, d, d) lower triangular or (1, d), of points less their mean (N, d).

    C~ = (1 - r) C + r (tr C / d) I, C the covariance matrix of the points. Up to `full` dimensions r is Ledoit and
    Wolf's (2004), of the least squared error in expectation, and 1e-6 at least; above, C is reduced to its diagonal and
    r is 1e-6.
    """
    count, dim = deviations.shape
    if dim > full:
        variances = deviations.square().mean(0)
        return shrunk(variances, variances.mean(), LEAST_SHRINKAGE).sqrt().unsqueeze(0)
    covariance = deviations.T @ deviations / count
    mean = covariance.trace() / dim
    identity = torch.eye(dim, dtype=deviations.dtype)
    share = max(LEAST_SHRINKAGE, ledoit_wolf(deviations, covariance))
    factor: Tensor = torch.linalg.cholesky(shrunk(covariance, mean * identity, share))
    return factor.unsqueeze(0)


def shrunk(estimate: Tensor, target: Tensor, share: float) -> Tensor:
    """(1 - share) estimate + share target."""
    return (1 - share) * estimate + share * target


def ledoit_wolf(deviations: Tensor, covariance: Tensor) -> float:
    """r of Ledoit and Wolf, J. Multivariate Anal. 88 (2004), lemma 3.1 and section 3.2.

    r = min(1, b / a), a = |C - (tr C / d) I|^2, b = sum_i |x_i x_i' - C|^2 / N^2, in the Frobenius norm.
    """
    count, dim = deviations.shape
    squares = covariance.square().sum()
    a = squares - covariance.trace() ** 2 / dim
    b = (deviations.square().sum(1).square().sum() - count * squares) / count**2
    return min(1.0, float(b / a)) if a > 0 else 1.0
