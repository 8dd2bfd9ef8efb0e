"""The pendulum: every coordinate an angle, unwound."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.checks import require_finite
from hgfctl.engine.flows.forces.conservative import ConservativeForce, total


@dataclass(frozen=True)
class Pendulum(ConservativeForce):
    """F = -alpha^2 sin x in each coordinate, U = alpha^2 (1 - cos x).

    Args:
        alpha: angular frequency of small swings.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        require_finite(alpha=self.alpha)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -(self.alpha**2) * torch.sin(x)

    def potential(self, x: Tensor) -> Tensor:
        return total(2 * self.alpha**2 * torch.sin(x / 2) ** 2)
