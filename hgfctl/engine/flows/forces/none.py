"""No force: free flight, as of diffusion and flow matching."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.flows.forces.conservative import ConservativeForce
from hgfctl.engine.flows.forces.linear_force import LinearForce, column
from hgfctl.engine.flows.motion import Motion


@dataclass(frozen=True)
class NoForce(LinearForce, ConservativeForce):
    """F = 0: x_t = x0 + t v0."""

    free: ClassVar[bool] = True

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def potential(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x))

    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        t = column(t, len(shape))
        one = torch.ones_like(t)
        return Motion(one, t, torch.zeros_like(t), one)
