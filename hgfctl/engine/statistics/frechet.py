"""The Frechet distance between two sets of features, each seen as a Gaussian (Heusel et al. 2017, arXiv 1706.08500)."""

import torch
from torch import Tensor

from hgfctl.engine.statistics.moments import Statistics


def frechet_distance(p: Statistics, q: Statistics) -> float:
    """|m_p - m_q|^2 + tr(C_p + C_q - 2 (C_p C_q)^(1/2)), in squared units of the features; never negative.

    No root of a matrix is taken: the trace of (C_p C_q)^(1/2) is the sum of the square roots of the eigenvalues of
    A^T C_q A, where C_p = A A^T. A is C_p's Cholesky factor, or its deviations where those are fewer than dimensions,
    or an eigenvector factor where C_p is singular. Where both have deviations, it is the nuclear norm of their product.

    Raises:
        ValueError: not of one dimension.
    """
    if p.mean.shape != q.mean.shape:
        raise ValueError(f"features of dimension {len(p.mean)} and {len(q.mean)} cannot be compared")
    spread = p.covariance.trace() + q.covariance.trace() - 2 * _trace_of_root(p, q)
    return max(float((p.mean - q.mean).square().sum() + spread), 0.0)


def rank(statistics: Statistics) -> int:
    """How many dimensions a covariance spreads over, as far as float64 can tell; d unless it is singular."""
    values = torch.linalg.eigvalsh(statistics.covariance)
    return int((values > len(values) * torch.finfo(values.dtype).eps * values[-1]).sum())


def _trace_of_root(p: Statistics, q: Statistics) -> Tensor:
    if p.deviations is not None and q.deviations is not None:
        small, large = sorted((p.deviations, q.deviations), key=len)
        nuclear: Tensor = torch.linalg.svdvals(small @ large.T).sum()
        return nuclear
    if q.deviations is not None:
        p, q = q, p
    if p.deviations is not None:
        products = torch.linalg.eigvalsh(p.deviations @ q.covariance @ p.deviations.T)
        return _sum_of_roots(products[1:])  # deviations sum to zero, so the least one is: a root of noise
    for one, other in ((p, q), (q, p)):
        factor, failed = torch.linalg.cholesky_ex(one.covariance)
        if not failed:
            return _sum_of_roots(torch.linalg.eigvalsh(factor.T @ other.covariance @ factor))
    factor = _factor(p.covariance)
    norm: Tensor = torch.linalg.matrix_norm(factor.T @ _factor(q.covariance), ord="nuc")
    return norm


def _sum_of_roots(values: Tensor) -> Tensor:
    return values.clamp_min(0).sqrt().sum()


def _factor(covariance: Tensor) -> Tensor:
    """A (d, rank) with A A^T = covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1]
    factor: Tensor = vectors[:, kept] * values[kept].sqrt()
    return factor
