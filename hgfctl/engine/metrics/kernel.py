"""Kernel distances between two sets of vectors: squared maximum mean discrepancies (Gretton et al. 2012)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from hgfctl.engine.metrics.estimate import Estimate

BLOCK = 2048
"""Rows of a kernel matrix that are in memory at a time."""

Kernel = Callable[[Tensor, Tensor], Tensor]
"""(n, d), (m, d) -> (n, m)."""


def kernel_inception_distance(x: Tensor, y: Tensor) -> Estimate:
    """KID (Binkowski et al. 2018, arXiv 1801.01401): `mmd2` of features under the kernel (x . y / d + 1)^3.

    All pairs are used, not random subsets; so its expectation is that of other tools, and its noise smaller.
    """
    return mmd2(x, y, lambda a, b: (a @ b.T / a.shape[1] + 1).pow(3))


def gaussian_mmd2(x: Tensor, y: Tensor) -> Estimate:
    """`mmd2` under exp(-|x - y|^2 / (2 h^2)), h the median distance between items of y."""
    y = y.double()
    some = torch.pdist(y[: min(len(y), BLOCK)])
    width = float(some.median())
    return mmd2(x, y, lambda a, b: torch.exp(torch.cdist(a, b).square() / (-2 * width**2)))


def mmd2(x: Tensor, y: Tensor, kernel: Kernel) -> Estimate:
    """E k(x, x') + E k(y, y') - 2 E k(x, y), unbiased, so slightly negative at times where the laws are one.

    Args:
        x, y: (n, d) and (m, d), more than two each.
        kernel: symmetric.

    Returns:
        The estimate, and its standard error by the jackknife over both sets.
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
    variance = (n - 1) * less_x.var(correction=0) + (m - 1) * less_y.var(correction=0)
    return Estimate(float(value), float(variance.sqrt()))


def _row_sums(x: Tensor, kernel: Kernel) -> Tensor:
    """Of the kernel matrix of x with itself, without its diagonal."""
    return torch.cat([_without_diagonal(kernel(x[part], x), part).sum(1) for part in _parts(len(x))])


def _without_diagonal(block: Tensor, rows: slice) -> Tensor:
    block[torch.arange(len(block)), torch.arange(rows.start, rows.start + len(block))] = 0
    return block


def _pairs(total: Tensor, count: int) -> Tensor:
    return total / (count * (count - 1))


def _parts(count: int) -> Iterator[slice]:
    for first in range(0, count, BLOCK):
        yield slice(first, first + BLOCK)
