"""Averages of weights whose length is chosen after training (Karras et al. 2024, arXiv 2312.02696, section 3).

A power-function average at time t weighs the weights of time s by s^gamma, 0 <= s <= t, so its length grows with t. Its
relative width sigma_rel is the standard deviation of that profile over t. Snapshots of two such averages, taken as
training goes on, are a basis: any other profile is the combination of them that fits it best.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.config import WIDEST_EMA


def power(sigma_rel: float) -> float:
    """gamma of a relative width: sigma_rel = (gamma + 1)^(1/2) / ((gamma + 2) (gamma + 3)^(1/2))  (ibid., eq. 123-126).

    Args:
        sigma_rel: above 0, at most WIDEST_EMA, that of gamma = 0.

    Raises:
        ValueError: outside.
    """
    if not 0 < sigma_rel <= WIDEST_EMA:
        raise ValueError(f"a relative width lies between 0 and {WIDEST_EMA:.3f}, and {sigma_rel} does not")
    low, high = 0.0, 1.0
    while width(high) > sigma_rel:
        high *= 2
    for _ in range(200):  # the width falls in gamma: bisection to the last digit
        middle = (low + high) / 2
        low, high = (middle, high) if width(middle) > sigma_rel else (low, middle)
    return (low + high) / 2


def width(gamma: float) -> float:
    """sigma_rel of a power."""
    return math.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2)


def keep(gamma: float, step: int) -> float:
    """The share of the old average that step number `step` (from 1) keeps: (1 - 1/step)^(gamma + 1)  (eq. 127)."""
    kept: float = (1 - 1 / step) ** (gamma + 1)
    return kept


@dataclass(frozen=True)
class Profile:
    """A power-function average as it stood after `step` steps."""

    gamma: float
    step: int


def overlap(a: Profile, b: Profile) -> float:
    """Integral of the product of two profiles, each of integral 1, over training  (ibid., eq. 141)."""
    short, long = sorted((a, b), key=lambda profile: profile.step)
    ratio = (short.step / long.step) ** long.gamma / long.step
    return float((a.gamma + 1) * (b.gamma + 1) / (a.gamma + b.gamma + 1) * ratio)


def combination(snapshots: Sequence[Profile], wanted: Profile) -> Tensor:
    """Weights (N,), float64, with which snapshots add up to the wanted profile, in least squares  (ibid., algorithm 3).

    Args:
        snapshots: taken until wanted.step at the latest.
        wanted: the average to rebuild.
    """
    matrix = torch.tensor([[overlap(a, b) for b in snapshots] for a in snapshots], dtype=torch.float64)
    target = torch.tensor([overlap(a, wanted) for a in snapshots], dtype=torch.float64)
    solution: Tensor = torch.linalg.lstsq(matrix, target.unsqueeze(1), driver="gelsd").solution
    return solution.squeeze(1)


def misfit(snapshots: Sequence[Profile], weights: Tensor, wanted: Profile) -> float:
    """Relative L2 distance between the combination and the wanted profile: 0 where it is met exactly."""
    total = float(overlap(wanted, wanted))
    cross = sum(float(w) * overlap(a, wanted) for a, w in zip(snapshots, weights, strict=True))
    matrix = torch.tensor([[overlap(a, b) for b in snapshots] for a in snapshots], dtype=torch.float64)
    return math.sqrt(max(total - 2 * cross + float(weights @ matrix @ weights), 0) / total)
