"""A force field."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Force(ABC):
    """A force field: dx/dt = v, dv/dt = F(x, v, t) (HSM24, section 3).

    Most forces do not depend on v; one that does says so, for symplectic integrators are then none.
    """

    depends_on_velocity: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """F: x and v (B, *D), t () or (B,), float64 -> (B, *D), of the type of x."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where items of this shape cannot feel the force."""
