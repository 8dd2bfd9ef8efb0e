"""Explicit Runge-Kutta methods (Hairer, Nørsett, Wanner 1993, section II.1): a method is a tableau, the loop is one.

k_i = f(y + h sum_j a_ij k_j, t + c_i h),      y(t + h) = y + h sum_i b_i k_i
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.integrators.integrator import Force, Integrator
from hgfctl.engine.phase_space import State, as_times

Derivative = Callable[[Tensor, Tensor], Tensor]
"""dy/dt = f(y, t): y of any shape, t a scalar tensor -> the shape of y."""


@dataclass(frozen=True)
class Tableau(Integrator):
    """The coefficients of an explicit method; as an integrator it moves (x, v) as one vector.

    Args:
        a: row i weighs slopes 0 ... i - 1 in the position of stage i; row 0 is empty.
        b: weights of the slopes in the step.
        c: times of the stages, in steps.
        order: the error at a fixed time falls as h^order.
        name: what the method is called.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int
    name: str

    def trajectory(self, force: Force, start: State, times: Tensor) -> Iterator[State]:
        def derivative(y: Tensor, t: Tensor) -> Tensor:
            x, v = y
            return torch.stack([v, force(x, t)])

        yield start
        y, times = torch.stack(start), as_times(times, start.x)
        for t, h in zip(times[:-1], times.diff(), strict=True):
            y = step(derivative, y, t, h, self)
            yield State(*y)


EULER = Tableau(a=((),), b=(1.0,), c=(0.0,), order=1, name="euler")
HEUN = Tableau(a=((), (1.0,)), b=(1 / 2, 1 / 2), c=(0.0, 1.0), order=2, name="heun")
RK4 = Tableau(
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    order=4,
    name="rk4",
)


def _anywhere(y: Tensor) -> Tensor:
    return y


def step(
    derivative: Derivative,
    y: Tensor,
    t: Tensor | float,
    h: Tensor | float,
    tableau: Tableau,
    first: Tensor | None = None,
    confine: Callable[[Tensor], Tensor] = _anywhere,
) -> Tensor:
    """One step of dy/dt = f(y, t), from t to t + h; computed in the type of y, times in float64.

    Args:
        derivative: f; it is called once a stage, with t as a scalar tensor.
        y: any shape.
        t, h: scalars; h may be negative.
        tableau: the method.
        first: f(y, t), where it is known already; saves one call.
        confine: brings a position back into the domain of f (`Flow.confine`); applied to the position of every later
            stage and to the result, so y itself must lie in the domain.
    """
    return confine(y + increment(derivative, y, t, h, tableau, first, confine))


def increment(
    derivative: Derivative,
    y: Tensor,
    t: Tensor | float,
    h: Tensor | float,
    tableau: Tableau,
    first: Tensor | None = None,
    confine: Callable[[Tensor], Tensor] = _anywhere,
) -> Tensor:
    """The change of y in a step; see `step`."""
    t, h = as_times(t, y), as_times(h, y)
    slopes = [derivative(y, t) if first is None else first]
    for row, c in zip(tableau.a[1:], tableau.c[1:], strict=True):
        slopes.append(derivative(confine(y + h * _combined(row, slopes)), t + c * h))
    return h * _combined(tableau.b, slopes)


def _combined(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    terms = [weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight]
    return torch.stack(terms).sum(0) if len(terms) > 1 else terms[0]
