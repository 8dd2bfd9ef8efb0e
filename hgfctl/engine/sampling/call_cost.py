"""Budgets where some calls of V, or all, are guided and take two evaluations of networks."""

from collections.abc import Callable

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.solvers.grids import Grid
from hgfctl.engine.solvers.solver import Solver

CallCost = Callable[[Tensor], int]
"""Network evaluations, 1 or 2, that a call of V(x, t) at time t takes; t a scalar. None in its place: always 1."""


def extra(solver: Solver, flow: Flow, times: Tensor, call_cost: CallCost | None) -> int:
    """Network evaluations of a trajectory besides one a call: the solver runs with V = 0, and its calls are priced."""
    if call_cost is None:
        return 0
    total = 0

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        nonlocal total
        total += call_cost(t) - 1
        return torch.zeros_like(x)

    solver = solver.with_noise(lambda: torch.zeros(1, 1, dtype=torch.float64))
    solver.solve(velocity, flow, torch.zeros(1, 1, dtype=torch.float64), times)
    return total


def most_steps(solver: Solver, grid: Grid, flow: Flow, nfe: int, call_cost: CallCost | None) -> int:
    """The most steps that `nfe` evaluations allow; 0 when they allow none.

    From the steps that unguided calls would allow downwards. A budget overdrawn by e is not met before e / (cost
    of the dearest step) steps are gone: on a coarser grid the guided calls fall in proportion, to one call or so a
    stage.
    """
    steps = solver.steps(nfe)
    dearest = 2 * max(1, solver.cost(2) - solver.cost(1))
    while call_cost is not None and steps >= solver.least:
        overdrawn = solver.cost(steps) + extra(solver, flow, grid(flow, steps), call_cost) - nfe
        if overdrawn <= 0:
            break
        steps -= max(1, overdrawn // dearest)
    return steps if steps >= solver.least else 0
