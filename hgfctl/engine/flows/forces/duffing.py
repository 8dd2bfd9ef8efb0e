"""Duffing's oscillator: a spring that hardens, or softens, as it is stretched."""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.checks import require_finite
from hgfctl.engine.flows.forces.conservative import ConservativeForce, total


@dataclass(frozen=True)
class Duffing(ConservativeForce):
    """F = -alpha^2 x - beta x^3 in each coordinate, U = alpha^2 x^2 / 2 + beta x^4 / 4  (Duffing 1918).

    Args:
        alpha: angular frequency of small oscillations.
        beta: of the cubic term; where it is negative, what starts beyond |x| = alpha / sqrt(-beta) flies away.
    """

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        require_finite(alpha=self.alpha, beta=self.beta)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -x * (self.alpha**2 + self.beta * x**2)

    def potential(self, x: Tensor) -> Tensor:
        return total(self.alpha**2 / 2 * x**2 + self.beta / 4 * x**4)
