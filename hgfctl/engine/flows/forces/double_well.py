"""The double well: a hill at 0 between two valleys, in each coordinate."""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.forces.conservative import ConservativeForce, total


@dataclass(frozen=True)
class DoubleWell(ConservativeForce):
    """F = a x - b x^3 in each coordinate, U = -a x^2 / 2 + b x^4 / 4.

    Valleys at +- sqrt(a / b), where small oscillations have frequency sqrt(2 a); from the saddle at 0 neighbours part
    as exp(sqrt(a) t).

    Args:
        a: steepness of the hill.
        b: of the walls.
    """

    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        require_positive("a", self.a)
        require_positive("b", self.b)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return x * (self.a - self.b * x**2)

    def potential(self, x: Tensor) -> Tensor:
        return total(-self.a / 2 * x**2 + self.b / 4 * x**4)
