"""The Frechet distance of infinitely many images, from that of parts of those at hand."""

from collections.abc import Sequence

import torch

from hgfctl.engine.statistics.frechet import frechet_distance
from hgfctl.engine.statistics.moments import Moments, Statistics, merged

PARTS = 4
"""Random parts whose moments are kept."""


def frechet_at_infinity(parts: Sequence[Moments], reference: Statistics) -> float:
    """FID-infinity (Chong and Forsyth 2020, arXiv 1911.07023): the distance falls with the number N of images as
    F + c / N; a line in 1 / N through the distances of the quarters, the halves and the whole is read off at 0.

    The bias that comes from the number of reference images stays.

    Args:
        parts: PARTS disjoint random parts, of one size up to one item, each with more items than dimensions.
        reference: what to compare with.
    """
    groups = [[part] for part in parts] + [list(parts[:2]), list(parts[2:])] + [list(parts)]
    wholes = [merged(group) for group in groups]
    x = torch.tensor([1 / whole.count for whole in wholes], dtype=torch.float64)
    y = torch.tensor([frechet_distance(whole.statistics(), reference) for whole in wholes], dtype=torch.float64)
    # Parts of N / 4 scatter twice as widely as the whole, and there are four of them: all lines count alike by 1 / x.
    weight = 1 / x
    mean_x, mean_y = (weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()
    slope = (weight * (x - mean_x) * (y - mean_y)).sum() / (weight * (x - mean_x).square()).sum()
    return float(mean_y - slope * mean_x)
