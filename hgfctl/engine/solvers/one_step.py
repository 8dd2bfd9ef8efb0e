"""Runge-Kutta methods on V: the integrators' tableaux and loop, with one step at a time and no memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar, Self

from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.integrators import runge_kutta
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.running_sum import RunningSum
from hgfctl.engine.solvers.solver import Solver


@dataclass(frozen=True)
class OneStep(Solver):
    """A Runge-Kutta method.

    Args:
        tableau: of the method.
        last: of the step that ends at t = 0, where it differs (EDM's Heun ends with Euler: V is not asked for at 0).
    """

    tableau: runge_kutta.Tableau
    last: runge_kutta.Tableau | None = None

    steps_velocity: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return self.tableau.name

    def both_ends(self) -> Self:
        return replace(self, last=None)

    def steps(self, nfe: int) -> int:
        saved = len(self.tableau.b) - len(self._at_end.b)
        return (nfe + saved) // len(self.tableau.b)

    def cost(self, steps: int) -> int:
        return (steps - 1) * len(self.tableau.b) + len(self._at_end.b)

    def trajectory(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        yield start
        total = RunningSum(start)
        for t, end in pairwise(times):
            tableau = self._at_end if end == 0 else self.tableau
            moved = runge_kutta.increment(velocity, total.value, t, end - t, tableau, confine=flow.confine)
            yield total.add(moved, flow.confine)

    @property
    def _at_end(self) -> runge_kutta.Tableau:
        return self.last or self.tableau


EULER = OneStep(runge_kutta.EULER)
HEUN = OneStep(runge_kutta.HEUN, last=runge_kutta.EULER)
RK4 = OneStep(runge_kutta.RK4)
