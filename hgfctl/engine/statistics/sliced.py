"""How far two sets of points lie apart, for data that are no images."""

import torch
from torch import Tensor

from hgfctl.engine.randomness import generator

DIRECTIONS = 512


def sliced_wasserstein(x: Tensor, y: Tensor, directions: int = DIRECTIONS) -> float:
    """The sliced 2-Wasserstein distance (Bonneel et al. 2015), in units of the data: the root of the mean, over fixed
    random directions, of the squared W2 between the projections.

    Args:
        x, y: (N, d) and (M, d).
        directions: how many; in one dimension there is only one.
    """
    dim = x.shape[1]
    along = torch.randn(dim, directions if dim > 1 else 1, generator=generator("slices"), dtype=torch.float64)
    along = along / along.norm(dim=0)
    total = sum(float(_squared_w2(x.double() @ part, y.double() @ part).sum()) for part in along.split(64, dim=1))
    return float((total / along.shape[1]) ** 0.5)


def _squared_w2(x: Tensor, y: Tensor) -> Tensor:
    """(K,): between the columns of (N, K) and (M, K), as empirical laws."""
    x, y = x.sort(0).values, y.sort(0).values
    n, m = len(x), len(y)
    if n == m:
        return (x - y).square().mean(0)
    # Both quantile functions are steps; their difference is constant between the jumps of either.
    ends = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).sort().values
    widths = torch.diff(ends, prepend=torch.zeros(1, dtype=torch.int64))
    last = ends - 1  # the integer cell below each end: exact, where fractions would round
    gaps = x[last // m] - y[last // n]
    return (widths.double().unsqueeze(1) * gaps.square()).sum(0) / (n * m)
