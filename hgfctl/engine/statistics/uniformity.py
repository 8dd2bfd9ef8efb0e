"""How near a law in a box is to the uniform one, and how fast free flight between its walls makes it so."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

MODES = 16
"""Cosines a coordinate."""
CERTAIN = 5.0
"""Standard errors above 0 from which a mode counts as present."""


class Distance(NamedTuple):
    """|p - u| / |u| of a histogram's law p from the uniform law u, and what uniform draws would show.

    Args:
        measured: over the cells.
        floor: the root mean square of the same for as many uniform draws: sqrt((cells - 1) / draws).
        deviation: of measured^2 from floor^2, in standard deviations of the latter.
    """

    measured: float
    floor: float
    deviation: float


def distance_from_uniform(x: Tensor, walls: tuple[float, float], cells: int = 16) -> Distance:
    """For draws x (N, d) in a box, by a histogram; N measured^2 is chi-squared with cells^d - 1 degrees if uniform."""
    lo, hi = walls
    place = ((x - lo) / (hi - lo) * cells).long().clamp(0, cells - 1)
    number = (place * cells ** torch.arange(x.shape[1])).sum(1)
    total = cells ** x.shape[1]
    share = torch.bincount(number, minlength=total).double() * total / len(x)
    square, floor = float((share - 1).square().mean()), (total - 1) / len(x)
    return Distance(math.sqrt(square), math.sqrt(floor), (square - floor) / (floor * math.sqrt(2 / (total - 1))))


@dataclass(frozen=True)
class Decay:
    """The rest of a law's cosine modes after free flight with v0 ~ N(0, I) for a time t in a box of a given side.

    Mode k = (k_1, ..., k_d) of the density, relative to the uniform one, falls as exp(-|k|^2 (pi t / side)^2 / 2).

    Args:
        side: of the box.
        orders: |k|^2 of the modes, (modes,).
        squares: their squared coefficients at t = 0, (modes,).
        slowest: number of the slowest mode that is certainly there.
    """

    side: float
    orders: Tensor
    squares: Tensor
    slowest: int

    def left(self, t: float) -> float:
        """The share of the distance from the uniform law that is left: all modes together."""
        return math.sqrt(max(float((self.squares * self._kept(t)).sum()), 0.0))

    def left_of_slowest(self, t: float) -> float:
        """The same of the slowest mode alone."""
        return math.sqrt(float((self.squares * self._kept(t))[self.slowest]))

    def _kept(self, t: float) -> Tensor:
        return torch.exp(-self.orders * (math.pi * t / self.side) ** 2)


def decay(x0: Tensor, walls: tuple[float, float]) -> Decay:
    """From draws (N, d) of the data; squared coefficients without the bias that the draws' own noise gives them."""
    lo, hi = walls
    angle = math.pi * (x0.double() - lo) / (hi - lo)
    k = torch.arange(MODES, dtype=torch.float64)
    scale = torch.where(k > 0, math.sqrt(2), 1.0)
    waves = [scale * torch.cos(angle[:, i : i + 1] * k) for i in range(x0.shape[1])]
    orders = k.square()
    mean, square = waves[0].mean(0), waves[0].square().mean(0)
    if len(waves) == 2:
        mean, square = (a.T @ b / len(x0) for a, b in (waves, [wave.square() for wave in waves]))
        orders = k.square().unsqueeze(1) + k.square()
    noise = (square - mean.square()).flatten() / len(x0)
    orders, squares = orders.flatten()[1:], (mean.square().flatten() - noise)[1:]
    present = squares > CERTAIN**2 * noise[1:]
    slowest = int(torch.where(present, orders, math.inf).argmin())
    return Decay(hi - lo, orders, squares, slowest)
