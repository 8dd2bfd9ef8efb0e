"""Kernel distances between two sets of vectors: squared maximum mean discrepancies (Gretton et al. 2012)."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.statistics.estimate import Estimate
from hgfctl.errors import RequestError

BLOCK = 2048
"""Rows of a kernel matrix that are in memory at a time."""

Kernel = Callable[[Tensor, Tensor], Tensor]
"""(n, d), (m, d) -> (n, m)."""


class Discrepancy(NamedTuple):
    """A squared maximum mean discrepancy between sets x and y, and the variance that each of them brings along."""

    value: float
    variance_x: float
    variance_y: float

    @property
    def error(self) -> float:
        """The standard error."""
        return math.sqrt(self.variance_x + self.variance_y)


def mean_discrepancy(found: Sequence[Discrepancy]) -> Estimate:
    """The mean over several sets x that are compared with one y, whose own error does not average out."""
    of_x = fmean(one.variance_x for one in found) / len(found)
    return Estimate(fmean(one.value for one in found), math.sqrt(of_x + fmean(one.variance_y for one in found)))


def pooled_discrepancy(found: Sequence[Mapping[str, float | None]]) -> Estimate:
    """`mean_discrepancy` of discrepancies that were kept as mappings of their fields."""
    return mean_discrepancy([Discrepancy(**values) for values in found])  # type: ignore[arg-type]


def kernel_inception_distance(x: Tensor, y: Tensor) -> Discrepancy:
    """KID (Binkowski et al. 2018, arXiv 1801.01401): `mmd2` of features under the kernel (x . y / d + 1)^3.

    All pairs are used, not random subsets; so its expectation is that of other tools, and its noise smaller.
    """
    return mmd2(x, y, lambda a, b: (a @ b.T / a.shape[1] + 1).pow(3))


def gaussian_mmd2(x: Tensor, y: Tensor) -> Discrepancy:
    """`mmd2` under exp(-|x - y|^2 / (2 h^2)), h the median distance between items of y.

    Raises:
        RequestError: half of y is one point.
    """
    y = y.double()
    width = float(torch.pdist(y[:BLOCK]).median())
    if width == 0:
        raise RequestError("most points of the reference are one and the same: its median distance, MMD's unit, is 0")
    return mmd2(x, y, lambda a, b: torch.exp(torch.cdist(a, b).square() / (-2 * width**2)))


def mmd2(x: Tensor, y: Tensor, kernel: Kernel) -> Discrepancy:
    """E k(x, x') + E k(y, y') - 2 E k(x, y), unbiased, so slightly negative at times where the laws are one.

    Args:
        x, y: (n, d) and (m, d), more than two each.
        kernel: symmetric.

    Returns:
        The estimate, and its variances by the jackknife over each set.
    """
    x, y = x.double(), y.double()
    n, m = len(x), len(y)
    xx, yy = _row_sums(x, kernel), _row_sums(y, kernel)
    xy, yx = torch.zeros_like(xx), torch.zeros_like(yy)
    for part in _parts(n):
        block = kernel(x[part], y)
        xy[part] = block.sum(1)
        yx += block.sum(0)
    cross = xy.sum()
    value = _pairs(xx.sum(), n) + _pairs(yy.sum(), m) - 2 * cross / (n * m)
    # What it would be without one item of x, or one of y: that item leaves two rows of pairs.
    less_x = _pairs(xx.sum() - 2 * xx, n - 1) + _pairs(yy.sum(), m) - 2 * (cross - xy) / ((n - 1) * m)
    less_y = _pairs(xx.sum(), n) + _pairs(yy.sum() - 2 * yy, m - 1) - 2 * (cross - yx) / (n * (m - 1))
    variances = ((n - 1) * less_x.var(correction=0), (m - 1) * less_y.var(correction=0))
    return Discrepancy(float(value), *map(float, variances))


def _row_sums(x: Tensor, kernel: Kernel) -> Tensor:
    """Sums of the rows of the kernel matrix of x with itself, without its diagonal."""
    return torch.cat([_without_diagonal(kernel(x[part], x), part).sum(1) for part in _parts(len(x))])


def _without_diagonal(block: Tensor, rows: slice) -> Tensor:
    block[torch.arange(len(block)), torch.arange(rows.start, rows.start + len(block))] = 0
    return block


def _pairs(total: Tensor, count: int) -> Tensor:
    return total / (count * (count - 1))


def _parts(count: int) -> Iterator[slice]:
    for first in range(0, count, BLOCK):
        yield slice(first, first + BLOCK)
