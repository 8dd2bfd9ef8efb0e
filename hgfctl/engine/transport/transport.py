"""Along a flow in either direction: data to the prior's noise and back, by a budget or to a tolerance.

Where there are walls, positions are unfolded: y moves by sign * V(fold(y), t), which is as smooth as V if V obeys the
walls, rather than being reflected in the middle of a step; `confine` brings it back. On a torus y leaves the box by
V(wrap(y), t), and on a manifold it may leave that, as far as the errors of the steps go, by V of its nearest point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.integrators.dormand_prince import ItemDerivative, Size, Solution, root_mean_square, solve
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.phase_space import as_times
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.grids import named
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import RequestError

ItemVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""V(x, t, items): x (B, *D), t () or (B,), and the numbers (B,) of these items in their batch -> (B, *D)."""

WITHOUT_WALLS: Flow = Diffusion()
"""The flow that solvers, which ask it for its walls alone, are given in unfolded coordinates."""


class Method(Protocol):
    """How dy/dt = f(y, t) is integrated."""

    @property
    def name(self) -> str:
        """For reports."""

    def integrate(
        self, derivative: ItemDerivative, flow: Flow, y: Tensor, span: tuple[float, float], size: Size
    ) -> Solution:
        """y (B, n) from span[0] to span[1], 0 and T or T and 0 or between; see `dormand_prince.solve`."""


@dataclass(frozen=True)
class Adaptive:
    """Dormand-Prince: as many evaluations as the tolerance asks for."""

    rtol: float = 1e-5
    atol: float = 1e-5
    name = "dopri5"

    def integrate(
        self, derivative: ItemDerivative, flow: Flow, y: Tensor, span: tuple[float, float], size: Size
    ) -> Solution:
        return solve(derivative, y, span, self.rtol, self.atol, size)


@dataclass(frozen=True)
class Budgeted:
    """A solver of V on a grid, whose evaluations are counted beforehand.

    Args:
        solver: a Runge-Kutta or Adams-Bashforth method.
        grid: its name in the registry.
        steps: how many.
    """

    solver: Solver
    grid: str
    steps: int

    @property
    def name(self) -> str:
        return self.solver.name

    def integrate(
        self, derivative: ItemDerivative, flow: Flow, y: Tensor, span: tuple[float, float], size: Size
    ) -> Solution:
        items = torch.arange(len(y), device=y.device)
        times = as_times(_between(named(self.grid)(flow, self.steps), span), y)
        y = self.solver.solve(lambda y, t: derivative(y, t, items), WITHOUT_WALLS, y, times)
        return Solution(y, torch.full((len(y),), self.solver.cost(len(times) - 1)))


def _between(times: Tensor, span: tuple[float, float]) -> Tensor:
    """A grid from T to 0 moved into another interval, beginning with span[0]."""
    low, high = min(span), max(span)
    times = low + (high - low) * times / times[0]
    return times if span[0] > span[1] else times.flip(0)


def budgeted(flow: Flow, nfe: int, sampler: str = "auto", grid: str = "auto") -> Budgeted:
    """As many steps as `nfe` evaluations allow.

    Args:
        flow: which.
        nfe: evaluations of f.
        sampler: one that steps V itself (`Solver.steps_velocity`); auto is ab4.
        grid: auto is the flow's natural one.

    Raises:
        RequestError: an unknown name, a solver that does not step V, or too small a budget.
    """
    solver: Solver = SOLVERS["ab4" if sampler == "auto" else sampler]
    if not solver.steps_velocity:
        *others, last = (name for name, other in SOLVERS.items() if other.steps_velocity)
        raise RequestError(f"sampler '{sampler}' does not step V itself; {', '.join(others)} and {last} do")
    solver = solver.both_ends()
    steps = solver.steps(nfe)
    if steps < 1:
        raise RequestError(f"the budget is too small for one step of {solver.name}: {solver.cost(1)} evaluations of V")
    name = flow.natural_grid if grid == "auto" else grid
    named(name)  # an unknown one is refused now
    return Budgeted(solver, name, steps)


def chosen(
    flow: Flow, nfe: int | None, sampler: str = "auto", grid: str = "auto", rtol: float = 1e-5, atol: float = 1e-5
) -> Method:
    """By a budget, or, without one, to a tolerance; see `budgeted`."""
    return Adaptive(rtol, atol) if nfe is None else budgeted(flow, nfe, sampler, grid)


def velocity_of(hvp: HVP, labels: Tensor | None) -> ItemVelocity:
    """V of items, each with its class; x and the result on the device of the weights."""
    device = next(hvp.parameters()).device
    known = None if labels is None else labels.to(device)

    def velocity(x: Tensor, t: Tensor, items: Tensor) -> Tensor:
        v: Tensor = hvp(x, as_times(t, x), None if known is None else known[items])
        return v

    return velocity


def transported(
    velocity: ItemVelocity, flow: Flow, x: Tensor, method: Method, span: tuple[float, float] | None = None
) -> tuple[Tensor, Tensor]:
    """Positions at the end of the way, and the evaluations that each took.

    Args:
        velocity: V.
        flow: which.
        x: (B, *D), at span[0].
        method: how.
        span: from 0 to T when left out; (T, 0) goes back.
    """

    def derivative(y: Tensor, t: Tensor, items: Tensor) -> Tensor:
        at = flow.unfolded(lambda x: velocity(x, t, items))
        return at(y.reshape(-1, *x.shape[1:])).flatten(1)

    with torch.no_grad():
        y, evaluations = method.integrate(derivative, flow, x.flatten(1), span or (0.0, flow.T), root_mean_square)
        return flow.confine(y.reshape(x.shape)), evaluations
