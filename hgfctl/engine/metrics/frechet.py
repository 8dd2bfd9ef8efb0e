"""The Frechet distance between two sets of features, each seen as a Gaussian (Heusel et al. 2017, arXiv 1706.08500)."""

from typing import NamedTuple

import torch
from torch import Tensor


class Statistics(NamedTuple):
    """Mean (d,) and covariance (d, d) of features, float64; the covariance divides by N - 1."""

    mean: Tensor
    covariance: Tensor


def statistics(features: Tensor) -> Statistics:
    """Of features (N, d), N > 1."""
    features = features.double()
    return Statistics(features.mean(0), torch.cov(features.T).reshape(features.shape[1], features.shape[1]))


def frechet_distance(p: Statistics, q: Statistics) -> float:
    """|m_p - m_q|^2 + tr(C_p + C_q - 2 (C_p C_q)^(1/2)), in squared units of the features.

    The root's trace is the sum of the singular values of A^T B, where C_p = A A^T and C_q = B B^T: real for every pair
    of covariances, singular ones too.
    """
    root = torch.linalg.matrix_norm(_factor(p.covariance).T @ _factor(q.covariance), ord="nuc")
    spread = p.covariance.trace() + q.covariance.trace() - 2 * root
    return float((p.mean - q.mean).square().sum() + spread)


def _factor(covariance: Tensor) -> Tensor:
    """A with A A^T = covariance."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp_min(0).sqrt()
