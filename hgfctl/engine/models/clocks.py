"""Clocks: the noise level as networks that predict noise take it, and how their input is scaled.

Three conventions of time from before EDM, in terms of sigma (Karras et al. 2022, arXiv 2206.00364, table 1).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


class Clock(ABC):
    """A convention; sigma and what follows from it are float64 tensors of one shape."""

    @property
    @abstractmethod
    def ends(self) -> tuple[float, float]:
        """The smallest and the largest noise level that such a network has seen."""

    @abstractmethod
    def c_in(self, sigma: Tensor) -> Tensor:
        """The network's input is c_in (x0 + sigma z)."""

    @abstractmethod
    def time(self, sigma: Tensor) -> Tensor:
        """The number that the network takes."""


@dataclass(frozen=True)
class VarianceExploding(Clock):
    """ln(sigma/2), input as it is (Song et al. 2021, arXiv 2011.13456: VE).

    Args:
        sigma_min, sigma_max: see `Clock.ends`.
    """

    sigma_min: float = 0.02
    sigma_max: float = 100.0

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(f"0 < sigma_min < sigma_max is needed, not {self.sigma_min} and {self.sigma_max}")

    @property
    def ends(self) -> tuple[float, float]:
        return self.sigma_min, self.sigma_max

    def c_in(self, sigma: Tensor) -> Tensor:
        return torch.ones_like(sigma)

    def time(self, sigma: Tensor) -> Tensor:
        return (sigma / 2).log()


@dataclass(frozen=True)
class VariancePreserving(Clock):
    """(M - 1) t with 1 + sigma^2 = exp(beta_d t^2 / 2 + beta_min t), input of variance near 1 (Song et al. 2021: VP).

    Args:
        beta_d, beta_min: the slope of the noise schedule, and where it begins.
        M: steps of the discrete chain.
        epsilon_t: the smallest t.
    """

    beta_d: float = 19.9
    beta_min: float = 0.1
    M: int = 1000
    epsilon_t: float = 1e-5

    def __post_init__(self) -> None:
        if not (min(self.beta_d, self.beta_min) > 0 and max(self.beta_d, self.beta_min) < 1e3):
            raise ValueError(f"beta_d and beta_min must be between 0 and 1000, not {self.beta_d} and {self.beta_min}")
        if not 0 < self.epsilon_t < 1 < self.M:
            raise ValueError(f"0 < epsilon_t < 1 < M is needed, not {self.epsilon_t} and {self.M}")

    @property
    def ends(self) -> tuple[float, float]:
        low, high = (math.sqrt(math.expm1(self.beta_d * t**2 / 2 + self.beta_min * t)) for t in (self.epsilon_t, 1.0))
        return low, high

    def c_in(self, sigma: Tensor) -> Tensor:
        return (1 + sigma**2).rsqrt()

    def time(self, sigma: Tensor) -> Tensor:
        t = ((self.beta_min**2 + 2 * self.beta_d * (sigma**2).log1p()).sqrt() - self.beta_min) / self.beta_d
        return (self.M - 1) * t


@dataclass(frozen=True)
class CosineSteps(Clock):
    """The number of the nearest of M steps, counted from the data (Nichol and Dhariwal 2021, arXiv 2102.09672: iDDPM).

    Step j = M has no noise, and u_(j-1)^2 = (u_j^2 + 1) / max(A_(j-1) / A_j, C_1) - 1 with
    A_j = sin^2(pi/2 j / (M (1 + C_2))).

    Args:
        C_1, C_2: keep the largest and the smallest steps in bounds.
        M: steps.
    """

    C_1: float = 0.001
    C_2: float = 0.008
    M: int = 1000

    def __post_init__(self) -> None:
        if not (0 < self.C_1 < 1 and 0 <= self.C_2 < 1 and 1 < self.M <= 100_000):
            raise ValueError(f"C_1 {self.C_1}, C_2 {self.C_2} and M {self.M} make no schedule")

    @cached_property
    def levels(self) -> Tensor:
        """u_0 > ... > u_M = 0: (M + 1,), float64."""
        kept = [math.sin(math.pi / 2 * j / (self.M * (1 + self.C_2))) ** 2 for j in range(self.M + 1)]
        u = [0.0]
        for j in range(self.M, 0, -1):
            u.append(math.sqrt((u[-1] ** 2 + 1) / max(kept[j - 1] / kept[j], self.C_1) - 1))
        return torch.tensor(u[::-1], dtype=torch.float64)

    @property
    def ends(self) -> tuple[float, float]:
        return float(self.levels[-2]), float(self.levels[0])

    def c_in(self, sigma: Tensor) -> Tensor:
        return (1 + sigma**2).rsqrt()

    def time(self, sigma: Tensor) -> Tensor:
        nearest = (sigma.unsqueeze(-1) - self.levels.to(sigma)).abs().argmin(-1)
        return (self.M - 1 - nearest).to(sigma.dtype)
