"""Mean and covariance of a stream of features, in float64 and in memory that does not grow with it."""

from typing import NamedTuple

import torch
from torch import Tensor


class Statistics(NamedTuple):
    """Mean and covariance: all that the Frechet distance knows of a set of features.

    Args:
        mean: (d,), float64.
        covariance: (d, d), float64; it divides by N - 1.
        deviations: (N, d), (x - mean) / sqrt(N - 1), float64, where the features are at hand and N <= d: the covariance
            is deviations^T deviations, of rank N - 1 at most.
    """

    mean: Tensor
    covariance: Tensor
    deviations: Tensor | None = None


class Moments:
    """Count, mean (d,) and scatter (d, d), sum (x - mean) (x - mean)^T, of the features seen so far.

    Sums of parts are combined without subtracting large numbers from each other (Chan, Golub and LeVeque 1983).
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = torch.zeros(dim, dtype=torch.float64)
        self.scatter = torch.zeros(dim, dim, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Takes features (B, d)."""
        if not len(features):
            return
        features = features.double()
        mean = features.mean(0)
        deviations = features - mean
        self._absorb(len(features), mean, deviations, deviations)

    def merge(self, other: "Moments") -> None:
        """Takes all that another one has seen."""
        if not other.count:
            return
        self.scatter += other.scatter
        self._absorb(other.count, other.mean)

    def statistics(self) -> Statistics:
        """Mean and covariance of the items so far, two at least."""
        return Statistics(self.mean, self.scatter / (self.count - 1))

    def _absorb(self, count: int, mean: Tensor, left: Tensor | None = None, right: Tensor | None = None) -> None:
        total = self.count + count
        step = mean - self.mean
        if left is not None and right is not None:
            self.scatter.addmm_(left.T, right)
        self.scatter.addr_(step, step, alpha=self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total


def merged(parts: "list[Moments]") -> Moments:
    """The moments of all parts together."""
    whole = Moments(len(parts[0].mean))
    for part in parts:
        whole.merge(part)
    return whole


def statistics(features: Tensor) -> Statistics:
    """Mean and covariance of features (N, d), N > 1."""
    features = features.double()
    count, dim = features.shape
    mean = features.mean(0)
    deviations = (features - mean) / (count - 1) ** 0.5
    return Statistics(mean, deviations.T @ deviations, deviations if count <= dim else None)
