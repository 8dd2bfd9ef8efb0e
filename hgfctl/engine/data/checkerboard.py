"""The checkerboard: uniform on every other square of a board that fills the box [-1, 1]^2."""

import math

import torch
from torch import Generator, Tensor

from hgfctl.engine.data.density import Density, DensityData


class Checkerboard(Density):
    """Uniform on the squares (i, j) of an n x n board with i + j even.

    Args:
        squares: n, even; the squares have side 2/n.
    """

    dim = 2

    def __init__(self, squares: int = 4) -> None:
        if squares < 2 or squares % 2:
            raise ValueError(f"squares must be an even number, 2 or more, not {squares}")
        self.side = 2 / squares
        cells = torch.cartesian_prod(torch.arange(squares), torch.arange(squares))
        self.lower = -1 + self.side * cells[cells.sum(1) % 2 == 0].double()
        self.upper = self.lower + self.side

    def sample(self, count: int, rng: Generator) -> Tensor:
        square = torch.randint(len(self.lower), (count,), generator=rng)
        return self.lower[square] + self.side * torch.rand(count, 2, generator=rng, dtype=torch.float64)

    def on_squares(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """Whether each point lies on a right square, or within `margin` of one: (B, 2) -> (B,) bool."""
        x = x.double().unsqueeze(1)
        outside = torch.maximum(self.lower - x, x - self.upper).clamp_min(0)
        return (outside.amax(-1) <= margin).any(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density in nats, -inf off the squares: (B, 2) -> (B,), float64."""
        area = len(self.lower) * self.side**2
        return torch.full((len(x),), -math.log(area), dtype=torch.float64).masked_fill(~self.on_squares(x), -math.inf)


def checkerboard(squares: int = 4) -> DensityData:
    """Data set `checkerboard`: uniform on every other square of a board on [-1, 1]^2."""
    return DensityData(Checkerboard(squares))
