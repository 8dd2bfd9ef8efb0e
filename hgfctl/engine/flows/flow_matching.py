"""Flow matching (Lipman et al. 2023, arXiv 2210.02747): no force, but a velocity law that knows the data."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.linear import LinearFlow, Path
from hgfctl.engine.flows.velocity_laws.coupled import CoupledVelocity


@dataclass(frozen=True)
class FlowMatching(LinearFlow):
    """F = 0, v0 = x1 - x0 with x1 ~ N(0, s^2 I)  (HSM24, section 4).

    a(t) = 1 - t, b(t) = s t, 0 <= t <= 1; x_T ~ N(0, s^2 I) exactly.

    Args:
        s: standard deviation of the prior; the data's own `sd` when left out.
    """

    s: float | None = None

    tuned_as: ClassVar[str] = "flow-matching"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("s (the prior's standard deviation)", self.prior_sd)

    @property
    def T(self) -> float:
        return 1.0

    @property
    def prior_sd(self) -> float:
        return self.sd if self.s is None else self.s

    @property
    def velocity_law(self) -> CoupledVelocity:
        return CoupledVelocity(self.prior_sd)

    def path(self, t: Tensor) -> Path:
        s, one = self.prior_sd, torch.ones_like(t)
        return Path(a=1 - t, b=s * t, da=-one, db=s * one)

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def time(self, sigma: Tensor) -> Tensor:
        return 1 / (1 + self.prior_sd / sigma)
