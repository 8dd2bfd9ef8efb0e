"""Curves in the plane with Gaussian noise around them: two moons, spirals. No closed density; root mean square 0.5."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hgfctl.engine.data.density import Density, DensityData


@dataclass(frozen=True)
class Moons(Density):
    """Two interleaved half circles of radius 1: (cos u, sin u) and (1 - cos u, 1/2 - sin u), u uniform in [0, pi].

    Centred (the mean is (1/2, 1/4)) and scaled so that each coordinate has root mean square 1/2 on average.

    Args:
        noise: standard deviation around the curves, before scaling (radii of a moon).
    """

    noise: float = 0.08
    dim = 2

    def __post_init__(self) -> None:
        _check_noise(self.noise)

    def sample(self, count: int, rng: Generator) -> Tensor:
        upper = torch.rand(count, generator=rng, dtype=torch.float64) < 0.5
        u = math.pi * torch.rand(count, generator=rng, dtype=torch.float64)
        x = torch.where(upper, u.cos(), 1 - u.cos()) - 1 / 2
        y = torch.where(upper, u.sin(), 1 / 2 - u.sin()) - 1 / 4
        noise = self.noise * torch.randn(count, 2, generator=rng, dtype=torch.float64)
        return self.scale * (torch.stack([x, y], -1) + noise)

    @property
    def scale(self) -> float:
        """From the exact second moments: E x^2 = 1/2 + 1/4, E y^2 = E (sin u - 1/4)^2 = 1/2 - 1/pi + 1/16."""
        second = 3 / 4 + 1 / 2 - 1 / math.pi + 1 / 16
        return 0.5 / math.sqrt(second / 2 + self.noise**2)


@dataclass(frozen=True)
class Spirals(Density):
    """Arms r = sqrt(u) at angle 2 pi (turns r + k/arms), k = 0 ... arms - 1, u uniform in [0, 1].

    Scaled so that each coordinate has root mean square 1/2 on average; centred, by symmetry, for two arms and more.

    Args:
        arms: how many.
        turns: of each arm.
        noise: standard deviation around the curves, before scaling (radii of the disc).
    """

    arms: int = 2
    turns: float = 1.5
    noise: float = 0.02
    dim = 2

    def __post_init__(self) -> None:
        _check_noise(self.noise)
        if self.arms < 2:
            raise ValueError(f"arms must be 2 or more, not {self.arms}")

    def sample(self, count: int, rng: Generator) -> Tensor:
        arm = torch.randint(self.arms, (count,), generator=rng)
        r = torch.rand(count, generator=rng, dtype=torch.float64).sqrt()
        angle = 2 * math.pi * (self.turns * r + arm / self.arms)
        noise = self.noise * torch.randn(count, 2, generator=rng, dtype=torch.float64)
        return self.scale * (r.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], -1) + noise)

    @property
    def scale(self) -> float:
        """From the exact second moment: E r^2 = 1/2, shared by two coordinates."""
        return 0.5 / math.sqrt(1 / 4 + self.noise**2)


def moons(noise: float = 0.08) -> DensityData:
    """Data set `moons`: two interleaved half circles."""
    return DensityData(Moons(noise))


def spirals(arms: int = 2, turns: float = 1.5, noise: float = 0.02) -> DensityData:
    """Data set `spirals`."""
    return DensityData(Spirals(arms, turns, noise))


def _check_noise(noise: float) -> None:
    if not noise >= 0:
        raise ValueError(f"noise is a standard deviation and must not be negative, not {noise}")
