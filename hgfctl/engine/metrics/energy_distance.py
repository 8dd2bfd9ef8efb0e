"""The energy distance of two samples (Székely and Rizzo 2013, J. Stat. Plan. Inference 143, 1249)."""

import torch
from torch import Tensor


def energy_distance(x: Tensor, y: Tensor) -> float:
    """(2 E|X - Y| - E|X - X'| - E|Y - Y'|) / (2 E|X - Y|): 0 for one law, 1 for two different points.

    Without bias above the line, so that it may fall slightly below 0; it does not change with the units of x.

    Args:
        x, y: independent samples, (N, *D) and (M, *D), of two items or more each.
    """
    x, y = x.flatten(1).double(), y.flatten(1).double()
    across = float(torch.cdist(x, y).mean())
    return 1 - (_within(x) + _within(y)) / (2 * across) if across else 0.0


def _within(x: Tensor) -> float:
    """E|X - X'| over pairs of different items."""
    return float(torch.cdist(x, x).sum()) / (len(x) * (len(x) - 1))
