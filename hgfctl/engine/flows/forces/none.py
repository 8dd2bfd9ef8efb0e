"""No force: free flight, as of diffusion and flow matching."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.forces.conservative import ConservativeForce


@dataclass(frozen=True)
class NoForce(ConservativeForce):
    """F = 0: x_t = x0 + t v0."""

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def potential(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x))
