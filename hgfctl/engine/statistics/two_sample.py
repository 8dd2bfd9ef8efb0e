"""Are two sets of items draws of one law? The energy distance, with a permutation test (Szekely and Rizzo 2013).

    E = 2 E|X - Y| - E|X - X'| - E|Y - Y'| >= 0,    0 only where X and Y have the same law.

The test compares E with its values after the two sets have been mixed at random. All of these come from one matrix
product: with D the distances within both sets together and g_p the 0-1 vector of those that permutation p puts first,
the sums within and between the sets follow from g_p' D g_p and g_p' D 1.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.randomness import generator

PERMUTATIONS = 499
"""The least p-value is 1/500."""
DIRECT = 32
"""Dimension up to which distances are found from differences, to the last digit; above, from products."""


class TwoSample(NamedTuple):
    """The outcome of the test.

    Args:
        distance: E, every item being a pair with itself, too; so never negative, and above 0 even for equal laws.
        p: the probability of so large an E, or a larger one, if both laws are the same; exact, for finite sets.
        shift: the distance relative to the spread, as a length: the shift of a normal law, in standard deviations a
            coordinate, that is as far. 2 sqrt(E / (E|X - X'| + E|Y - Y'|)), of estimates free of bias; 0 where that
            of E is negative.
    """

    distance: float
    p: float
    shift: float


def two_sample(x: Tensor, y: Tensor, permutations: int = PERMUTATIONS) -> TwoSample:
    """x (N, *D) against y (M, *D), two or more each; about a quarter of a second for 1,000 a side on one CPU core.

    Permutations are the same whenever N and M are. Needs (N + M)^2 distances in memory.
    """
    n, m = len(x), len(y)
    distances = _distances(torch.cat([x.flatten(1), y.flatten(1)]).double())
    first = torch.zeros(n + m, permutations + 1, dtype=torch.float64, device=distances.device)
    first[:n, 0] = 1  # the sets as they are
    mixed = torch.rand(n + m, permutations, generator=generator("permutations", n, m), dtype=torch.float64)
    first[:, 1:].scatter_(0, mixed.argsort(0)[:n].to(first.device), 1.0)
    within_x = (first * (distances @ first)).sum(0)
    of_x = distances.sum(0) @ first
    between = of_x - within_x
    within_y = distances.sum() - 2 * of_x + within_x
    energies = 2 * between / (n * m) - within_x / n**2 - within_y / m**2
    rounding = 1e-10 * distances.mean()
    as_extreme = int((energies[1:] >= energies[0] - rounding).sum())
    spread = within_x[0] / (n * (n - 1)) + within_y[0] / (m * (m - 1))
    unbiased = float(2 * between[0] / (n * m) - spread)
    return TwoSample(
        distance=max(0.0, float(energies[0])),
        p=(1 + as_extreme) / (1 + permutations),
        shift=2 * math.sqrt(max(0.0, unbiased) / max(float(spread), 1e-300)),
    )


def _distances(items: Tensor) -> Tensor:
    """(N, N), from (N, d)."""
    items = items - items.mean(0)
    mode = "donot_use_mm_for_euclid_dist" if items.shape[1] <= DIRECT else "use_mm_for_euclid_dist"
    distances = torch.cdist(items, items, compute_mode=mode)
    return distances.fill_diagonal_(0)
