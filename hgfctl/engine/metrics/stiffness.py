"""How fast a force field turns along a sample: what bounds the steps of an integrator, and flights."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.models.score import Field


class Curvature(NamedTuple):
    """Second derivatives of the potential that F = -grad U comes from, over the items: their eigenvalues.

    Args:
        size: the largest absolute value; integrators need steps well below 1 / sqrt(size).
        positive: the largest one; particles oscillate, and a quarter of a period takes (pi/2) / sqrt(positive).
    """

    size: float
    positive: float

    @property
    def quarter_period(self) -> float:
        """A quarter of the period of the fastest oscillation. Beyond it flights overshoot, and HSM learns something
        else than the score.
        """
        return math.pi / 2 / math.sqrt(self.positive) if self.positive > 0 else math.inf


@torch.no_grad()
def curvature(field: Field, x: Tensor, labels: Tensor | None = None, rounds: int = 5) -> Curvature:
    """By power iteration on finite differences, twice: for the largest size, and shifted by that for the sign.

    Args:
        field: F(x, labels).
        x: (B, *D).
        labels: (B,) or None.
        rounds: of each iteration; a round is one evaluation.

    Returns:
        Lower bounds, close where F is nearly a gradient; NaN or infinite where F is.
    """
    length = 1e-3 * float(x.square().mean().sqrt())
    here = field(x, labels)

    def turned(u: Tensor) -> Tensor:
        difference: Tensor = (here - field(x + length * u, labels)) / length
        return difference

    def norm(u: Tensor) -> Tensor:
        lengths: Tensor = u.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))
        return lengths

    u = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
    sizes = norm(u)
    for _ in range(rounds):
        u = turned(u / norm(u).clamp_min(1e-30))
        sizes = norm(u)
    u = torch.randn(x.shape, generator=torch.Generator().manual_seed(1)).to(x)
    for _ in range(rounds):
        u = u / norm(u).clamp_min(1e-30)
        along = turned(u)
        signed = (u * along).flatten(1).sum(1)
        u = along + sizes * u
    return Curvature(float(sizes.max()), float(signed.max()))
