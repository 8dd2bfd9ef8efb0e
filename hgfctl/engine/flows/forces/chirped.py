"""An oscillator whose frequency changes in time."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.polynomial import chebyshev
from torch import Tensor

from hgfctl.engine.flows.forces.expression import ExpressionForce
from hgfctl.engine.flows.forces.linear_force import LinearForce, column
from hgfctl.engine.flows.motion import Motion
from hgfctl.engine.provided import Duration

EXACT = 1e-12
"""A size, relative to the series: coefficients below it do not count."""
DEGREES = (32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Chirped(LinearForce):
    """F = -omega(t)^2 x: one equation y'' = -omega(t)^2 y, solved once to rounding as Chebyshev series on [0, T].

    With y'' = u and S the integral from 0, y = y0 + y0' t + S S u, so u + omega^2 S S u = -omega^2 (y0 + y0' t): an
    integral equation, well-conditioned at every degree (Greengard 1991, SIAM J. Numer. Anal. 28, 1071).

    Args:
        duration: T.
        frequency: omega(t), radians a unit of time, a formula in t.
    """

    duration: Duration
    frequency: str | float = "1 + t"

    def __post_init__(self) -> None:
        omega = ExpressionForce(str(self.frequency))
        if omega.depends_on_velocity or any(formula.uses("x") for formula in omega.formulas):
            raise ValueError(f"frequency is a formula in t alone, not '{self.frequency}'")
        _ = self._series

    @property
    def natural_duration(self) -> float:
        return self.duration

    def _omega(self, t: Tensor) -> Tensor:
        """omega at times of any shape, float64."""
        flat = t.reshape(-1, 1).double()
        return ExpressionForce(str(self.frequency))(flat, flat, flat.squeeze(1)).reshape(t.shape)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -column(self._omega(t).square(), x.ndim - 1).to(x) * x

    @cached_property
    def _series(self) -> Tensor:
        """(4, degree + 1): coefficients of xx, xv, vx and vv on [0, T]."""
        for degree in DEGREES:
            series, tail = self._solved(degree)
            if tail < EXACT:
                return torch.from_numpy(series)
        raise ValueError(
            f"frequency '{self.frequency}' is not smooth on [0, {self.duration:g}], or too high to follow: a series of "
            f"degree {DEGREES[-1]} is still off by {tail:.1e} of its size"
        )

    def _solved(self, degree: int) -> tuple[np.ndarray, float]:
        """The series, and how large its last coefficients are, relative."""
        half = self.duration / 2
        nodes = chebyshev.chebpts1(degree + 1)
        t = half * (nodes + 1)
        square = self._omega(torch.from_numpy(t)).square().numpy()
        if not np.isfinite(square).all():
            raise ValueError(f"frequency '{self.frequency}' is not finite on [0, {self.duration:g}]")
        to_series = np.linalg.inv(chebyshev.chebvander(nodes, degree))
        integrals = half * chebyshev.chebint(np.eye(degree + 1), lbnd=-1, axis=0)
        once = chebyshev.chebvander(nodes, degree + 1) @ integrals @ to_series
        starts = np.stack([np.ones_like(t), t], 1)
        u = np.linalg.solve(np.eye(degree + 1) + square[:, None] * (once @ once), -square[:, None] * starts)
        x = starts + once @ (once @ u)
        v = np.stack([np.zeros_like(t), np.ones_like(t)], 1) + once @ u
        series = to_series @ np.concatenate([x, v], 1)
        size = np.abs(series).max(0)
        return series.T.copy(), float((np.abs(series[-3:]).max(0) / size).max())

    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        angle = torch.arccos((2 * column(t, len(shape)) / self.duration - 1).clamp(-1, 1)).unsqueeze(-1)
        series = self._series.to(t.device)
        terms = torch.cos(torch.arange(series.shape[1], dtype=torch.float64, device=t.device) * angle)
        return Motion(*(terms @ series.T).unbind(-1))
