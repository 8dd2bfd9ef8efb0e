"""The checkerboard: uniform on every other square of a board that fills the box [-1, 1]^2."""

import math

import torch
from torch import Generator, Tensor

from hgfctl.engine.data.density import DensityData, ExactDensity, KnownDensity


class Checkerboard(KnownDensity):
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

    def noised(self, sigma: float) -> "SmoothCheckerboard":
        return SmoothCheckerboard(self, sigma)

    def on_squares(self, x: Tensor, margin: float = 0.0) -> Tensor:
        """True where a point lies on a right square, or within `margin` of one: (B, 2) -> (B,) bool."""
        x = x.double().unsqueeze(1)
        outside = torch.maximum(self.lower - x, x - self.upper).clamp_min(0)
        return (outside.amax(-1) <= margin).any(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Exact log-density in nats, -inf off the squares: (B, 2) -> (B,), float64."""
        area = len(self.lower) * self.side**2
        return torch.full((len(x),), -math.log(area), dtype=torch.float64).masked_fill(~self.on_squares(x), -math.inf)


class SmoothCheckerboard(ExactDensity):
    """The checkerboard with Gaussian noise: products of differences of normal distribution functions, square by square.

    Args:
        board: without noise.
        sigma: standard deviation of the noise.
    """

    dim = 2

    def __init__(self, board: Checkerboard, sigma: float) -> None:
        if not sigma > 0:
            raise ValueError(f"the noise's standard deviation must be positive, not {sigma}")
        self.board, self.sigma = board, sigma

    def sample(self, count: int, rng: Generator) -> Tensor:
        x = self.board.sample(count, rng)
        return x + self.sigma * torch.randn(x.shape, generator=rng, dtype=torch.float64)

    def noised(self, sigma: float) -> "SmoothCheckerboard":
        return SmoothCheckerboard(self.board, math.hypot(self.sigma, sigma))

    def log_prob(self, x: Tensor) -> Tensor:
        return self._log_shares(x).logsumexp(1) - math.log(len(self.board.lower) * self.board.side**2)

    def score(self, x: Tensor) -> Tensor:
        shares = self._log_shares(x).softmax(1)
        return (shares.unsqueeze(-1) * self._slopes(x)).sum(1)

    def _log_shares(self, x: Tensor) -> Tensor:
        """log of P(l < x + sigma z < u), a square: (B, 2) -> (B, squares)."""
        low, high = self._ends(x)
        return log_normal_interval(low, high).sum(-1)

    def _slopes(self, x: Tensor) -> Tensor:
        """The gradient of the same: (B, squares, 2)."""
        low, high = self._ends(x)
        log_mass = log_normal_interval(low, high)
        density = [(-0.5 * end.square() - 0.5 * math.log(2 * math.pi) - log_mass).exp() for end in (low, high)]
        return (density[0] - density[1]) / self.sigma

    def _ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.double().unsqueeze(1)
        low, high = ((end.to(x.device) - x) / self.sigma for end in (self.board.lower, self.board.upper))
        return low, high


def log_normal_interval(low: Tensor, high: Tensor) -> Tensor:
    """log P(low < z < high) for z ~ N(0, 1) and low < high, without cancellation in either tail."""
    flipped = low + high > 0  # by symmetry the interval lies to the left of 0, mostly
    a, b = torch.where(flipped, -high, low), torch.where(flipped, -low, high)
    upper = torch.special.log_ndtr(b)
    log_mass: Tensor = upper + torch.log(-torch.expm1((torch.special.log_ndtr(a) - upper).clamp(max=-1e-300)))
    return log_mass


def checkerboard(squares: int = 4, smooth: float = 0.0) -> DensityData:
    """Data set `checkerboard`: uniform on every other square of a board on [-1, 1]^2.

    Args:
        squares: a side, even.
        smooth: standard deviation of Gaussian noise added to it; its score is known where this is positive.
    """
    if smooth < 0:
        raise ValueError(f"smooth is a standard deviation and must not be negative, not {smooth}")
    board = Checkerboard(squares)
    return DensityData(board.noised(smooth) if smooth else board)
