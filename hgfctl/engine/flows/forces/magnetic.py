"""A magnetic field: the velocity turns."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.flows.basis import Pairs
from hgfctl.engine.flows.forces.linear_force import LinearForce, column, oscillator
from hgfctl.engine.flows.motion import Modes, Motion
from hgfctl.engine.provided import ItemShape


@dataclass(frozen=True)
class Magnetic(LinearForce):
    """F = omega J v - alpha^2 x, J the turn by 90 degrees of each pair of coordinates: (v1, v2) -> (-v2, v1).

    As complex numbers z = x1 + i x2 the pairs obey z'' = i omega z' - alpha^2 z: circles without a trap, and with one
    an oscillator of frequency sqrt(alpha^2 + omega^2/4), seen from a frame that turns at omega/2 (Larmor).

    Args:
        shape: of an item; an even number of coordinates, taken in pairs.
        omega: cyclotron frequency, radians a unit of time; its sign is the sense of the turn.
        alpha: frequency of a harmonic trap besides; 0 for none.
    """

    shape: ItemShape
    omega: float = 1.0
    alpha: float = 0.0
    depends_on_velocity: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.omega) and 0 <= self.alpha < math.inf):
            raise ValueError(f"omega and alpha are angular frequencies, not {self.omega} and {self.alpha}")
        Pairs(self.shape)

    @property
    def algebra(self) -> Modes:
        return Modes(Pairs(self.shape))

    @property
    def natural_duration(self) -> float:
        """A quarter period of the turning frame's oscillator."""
        frequency = math.hypot(self.alpha, self.omega / 2)
        return math.pi / (2 * frequency) if frequency else 1.0

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        first, second = v.reshape(len(v), -1, 2).unbind(-1)
        return self.omega * torch.stack([-second, first], -1).reshape(v.shape) - self.alpha**2 * x

    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        return oscillator(self.alpha**2, -1j * self.omega, column(t, 1))
