"""Oscillators on clocks of their own: fine detail turns into noise first, and comes back last."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.flows.basis import Cosines
from hgfctl.engine.flows.forces.linear_force import LinearForce, column
from hgfctl.engine.flows.motion import Modes, Motion
from hgfctl.engine.provided import Duration, ItemShape


@dataclass(frozen=True)
class CoarseToFine(LinearForce):
    """Each cosine mode k of an image or vector makes its quarter turn at a pace of its own:

        x_k(t) = cos(phi_k) x_k(0) + sin(phi_k) / phi_k'(0) v_k(0),
        phi_k(t) = (pi/2) c_k u / (1 + (c_k - 1) u),   u = t/T,
        F_k = -phi_k'^2 x_k + (phi_k'' / phi_k') v_k .

    All phases go from 0 to pi/2, so the prior stays exact; c_k = ratio^(2 kappa_k - 1) with spatial frequency kappa_k
    from 0 (constant) to 1 (`basis.Cosines`): modes in the middle move as those of the plain oscillation.

    Args:
        shape: of an item.
        duration: T.
        ratio: how many times as fast the finest mode starts as one in the middle; 1 is the plain oscillation, below 1
            coarse modes go first.
    """

    shape: ItemShape
    duration: Duration
    ratio: float = 2.0
    depends_on_velocity: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 < self.ratio < math.inf:
            raise ValueError(f"ratio must be positive and finite, not {self.ratio}")

    @property
    def algebra(self) -> Modes:
        return Modes(Cosines())

    @cached_property
    def _paces(self) -> Tensor:
        """c_k: (1, *shape)."""
        return (self.ratio ** (2 * Cosines.frequencies(self.shape) - 1)).unsqueeze(0)

    def _phase(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """phi_k, its derivative, and that one's logarithmic derivative: (1 or B, *shape)."""
        c = self._paces.to(t.device)
        u = column(t, len(self.shape)) / self.duration
        way = 1 + (c - 1) * u
        quarter = math.pi / 2
        return quarter * c * u / way, quarter * c / way.square() / self.duration, -2 * (c - 1) / way / self.duration

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        _, speed, growth = self._phase(t)
        act = self.algebra.act
        return act(growth, v) - act(speed.square(), x)

    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        phase, speed, _ = self._phase(t)
        _, first, _ = self._phase(torch.zeros_like(t))
        cos, sin = torch.cos(phase), torch.sin(phase)
        return Motion(cos, sin / first, -speed * sin, speed * cos / first)
