"""Diffusion (variance exploding, EDM: Karras et al. 2022, arXiv 2206.00364): no force at all."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.linear import LinearFlow, Path
from hgfctl.engine.flows.velocity_laws.gaussian import GaussianVelocity


@dataclass(frozen=True)
class Diffusion(LinearFlow):
    """F = 0, v0 ~ N(0, I)  (HSM24, section 4).

    a(t) = 1, b(t) = t, 0 <= t <= sigma_max; x_T ~ N(0, sigma_max^2 I) up to the data's own spread.
    """

    sigma_max: float = 80.0

    tuned_as: ClassVar[str] = "diffusion"
    natural_grid: ClassVar[str] = "sigmoid"  # on this endless clock much the same as cosine in the oscillation's angle

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("sigma_max", self.sigma_max)

    @property
    def T(self) -> float:
        return self.sigma_max

    @property
    def prior_sd(self) -> float:
        return self.sigma_max

    @property
    def velocity_law(self) -> GaussianVelocity:
        return GaussianVelocity(1.0)

    def path(self, t: Tensor) -> Path:
        return Path(a=torch.ones_like(t), b=t, da=torch.zeros_like(t), db=torch.ones_like(t))

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def time(self, sigma: Tensor) -> Tensor:
        return sigma.clamp(max=self.T)
