"""A checkerboard on the sphere S^2: bands of equal area, cut into sectors of longitude."""

import math

import torch
from torch import Generator, Tensor

from hgfctl.engine.data.density import DensityData, KnownDensity


class SphereCheckerboard(KnownDensity):
    """Uniform on the cells (i, j) with i + j even, i the band of height z, j the sector of longitude.

    All cells have the area 4 pi / (bands * sectors), for the area between two heights is 2 pi times their distance.

    Args:
        bands: from pole to pole.
        sectors: even, so that colours alternate all around.
    """

    dim = 3

    def __init__(self, bands: int = 4, sectors: int = 8) -> None:
        if bands < 1:
            raise ValueError(f"bands must be 1 or more, not {bands}")
        if sectors < 2 or sectors % 2:
            raise ValueError(f"sectors must be an even number, 2 or more, not {sectors}")
        self.bands, self.sectors = bands, sectors
        cells = torch.cartesian_prod(torch.arange(bands), torch.arange(sectors))
        self.cells = cells[cells.sum(1) % 2 == 0]

    def sample(self, count: int, rng: Generator) -> Tensor:
        cell = self.cells[torch.randint(len(self.cells), (count,), generator=rng)]
        u, v = (cell + torch.rand(count, 2, generator=rng, dtype=torch.float64)).unbind(1)
        z, longitude = 2 * u / self.bands - 1, 2 * math.pi * v / self.sectors
        across = (1 - z * z).sqrt()
        return torch.stack([across * longitude.cos(), across * longitude.sin(), z], 1)

    def on_cells(self, x: Tensor) -> Tensor:
        """True where a point, of any length, lies in the direction of a right cell: (B, 3) -> (B,) bool."""
        x = x.double()
        z = x[:, 2] / x.norm(dim=1)
        band = ((z + 1) / 2 * self.bands).floor().clamp(0, self.bands - 1)
        turn = torch.remainder(torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi), 1)
        sector = (turn * self.sectors).floor().clamp(0, self.sectors - 1)
        right: Tensor = (band + sector) % 2 == 0
        return right

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density a unit of area, on the unit sphere: (B, 3) -> (B,)."""
        area = 4 * math.pi * len(self.cells) / (self.bands * self.sectors)
        return torch.full((len(x),), -math.log(area), dtype=torch.float64).masked_fill(~self.on_cells(x), -math.inf)


def sphere_checkerboard(bands: int = 4, sectors: int = 8) -> DensityData:
    """Data set `sphere-checkerboard`: uniform on every other cell of a board on the unit sphere, items (3,).

    Args:
        bands: of equal area, from pole to pole.
        sectors: of longitude, even.
    """
    return DensityData(SphereCheckerboard(bands, sectors))
