"""Linear motion: x_t = xx x0 + xv v0, v_t = vx x0 + vv v0, and how its coefficients act on items.

Coefficients are one number a mode of a basis (`Modes`), or a matrix over all coordinates (`Matrices`).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.flows.basis import COORDINATES, Basis
from hgfctl.engine.flows.moments import Moments


class Motion(NamedTuple):
    """The four coefficients at times t, () or (B,); each with a leading axis of 1 or B."""

    xx: Tensor
    xv: Tensor
    vx: Tensor
    vv: Tensor


class Algebra(ABC):
    """Coefficients as linear maps of items."""

    basis: Basis

    @abstractmethod
    def act(self, coefficient: Tensor, x: Tensor) -> Tensor:
        """The map of coefficients (1 or B, ...) at items (B, *D)."""

    @abstractmethod
    def times(self, first: Tensor, second: Tensor) -> Tensor:
        """The map `first` after `second`."""

    @abstractmethod
    def inverse(self, coefficient: Tensor) -> Tensor:
        """The size of the map; infinite or huge where there is none."""

    @abstractmethod
    def size(self, coefficient: Tensor) -> float:
        """The largest absolute entry."""

    @abstractmethod
    def is_scalar(self, coefficient: Tensor) -> bool:
        """True where the map of one time is a turn and one factor, the same for all coordinates."""

    @abstractmethod
    def moments(self, motion: Motion, xx: float, xv: float, vv: float) -> Moments:
        """Second moments after a motion of parts whose coordinates have these moments, and are independent."""


@dataclass(frozen=True)
class Modes(Algebra):
    """A number a mode, (1 or B, *modes), real or complex."""

    basis: Basis

    def act(self, coefficient: Tensor, x: Tensor) -> Tensor:
        modes = self.basis.modes(x)
        return self.basis.items(coefficient.to(modes.dtype) * modes)

    def times(self, first: Tensor, second: Tensor) -> Tensor:
        return first * second

    def inverse(self, coefficient: Tensor) -> Tensor:
        return 1 / coefficient

    def size(self, coefficient: Tensor) -> float:
        return float(coefficient.abs().max())

    def is_scalar(self, coefficient: Tensor) -> bool:
        size = coefficient.abs()
        return bool(size.max() - size.min() <= 1e-12 * size.max())

    def moments(self, motion: Motion, xx: float, xv: float, vv: float) -> Moments:
        """The residual is |det M|^2 det C0 / C_xx, M the motion and C0 the moments at the start."""
        ahead, across = (_square(motion.xx, motion.xv, xx, xv, vv), _square(motion.vx, motion.vv, xx, xv, vv))
        mixed = (
            motion.vx * motion.xx.conj() * xx
            + (motion.vx * motion.xv.conj() + motion.vv * motion.xx.conj()) * xv
            + motion.vv * motion.xv.conj() * vv
        )
        determinant = (motion.xx * motion.vv - motion.xv * motion.vx).abs()
        residual = determinant.square() * (xx * vv - xv**2) / ahead
        return Moments(ahead, mixed, across, residual.clamp_min(1e-12 * across))


@dataclass(frozen=True)
class Matrices(Algebra):
    """A matrix over the coordinates of flattened items, (1 or B, d, d); moments are means over coordinates."""

    basis = COORDINATES

    def act(self, coefficient: Tensor, x: Tensor) -> Tensor:
        return (coefficient.to(x.dtype) @ x.flatten(1).unsqueeze(-1)).reshape(x.shape)

    def times(self, first: Tensor, second: Tensor) -> Tensor:
        return first @ second

    def inverse(self, coefficient: Tensor) -> Tensor:
        if not bool((torch.linalg.det(coefficient) != 0).all()):
            return torch.full_like(coefficient, math.inf)
        inverse: Tensor = torch.linalg.inv(coefficient)
        return inverse

    def size(self, coefficient: Tensor) -> float:
        return float(coefficient.abs().max())

    def is_scalar(self, coefficient: Tensor) -> bool:
        square = coefficient[0] @ coefficient[0].T
        factor = square.diagonal().mean()
        return bool((square - factor * torch.eye(len(square)).to(square)).abs().max() <= 1e-12 * factor)

    def moments(self, motion: Motion, xx: float, xv: float, vv: float) -> Moments:
        def mean(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
            (a, b), (c, d) = first, second
            total = (
                xx * (a * c).sum((1, 2)) + xv * ((a * d).sum((1, 2)) + (b * c).sum((1, 2))) + vv * (b * d).sum((1, 2))
            )
            return total / a.shape[-1]

        x, v = (motion.xx, motion.xv), (motion.vx, motion.vv)
        ahead, mixed, across = mean(x, x), mean(v, x), mean(v, v)
        residual = (across - mixed.square() / ahead).clamp_min(1e-12 * across)
        return Moments(ahead, mixed, across, residual)


def _square(of_x: Tensor, of_v: Tensor, xx: float, xv: float, vv: float) -> Tensor:
    return of_x.abs().square() * xx + 2 * (of_x * of_v.conj()).real * xv + of_v.abs().square() * vv
