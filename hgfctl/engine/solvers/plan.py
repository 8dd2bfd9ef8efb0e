"""From a budget to a solver and a grid; `auto` is what measured best."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.solvers import grids
from hgfctl.engine.solvers.adaptive import DormandPrince
from hgfctl.engine.solvers.best import best
from hgfctl.engine.solvers.optimized import OPTIMIZED, OptimizedGrid
from hgfctl.engine.solvers.options import NONE, configured
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import RequestError
from hgfctl.presets import SampleSection

ADAPTIVE = "adaptive"
"""The grid of a solver that chooses its times itself."""


@dataclass(frozen=True)
class Plan:
    """A solver on a grid: all that sampling needs besides the velocity and the flow.

    Args:
        solver: the method.
        grid: its name.
        times: from T down to 0.
    """

    solver: Solver
    grid: str
    times: Tensor

    @property
    def nfe(self) -> int:
        """Network evaluations an item."""
        return self.solver.cost(len(self.times) - 1)


def plan(
    flow: Flow,
    nfe: int,
    sampler: str = "auto",
    grid: str = "auto",
    shape: tuple[int, ...] | None = None,
    options: SampleSection = NONE,
    searched: Sequence[OptimizedGrid] = (),
) -> Plan:
    """As many steps as `nfe` evaluations allow.

    Args:
        flow: of the model.
        nfe: the budget.
        sampler, grid: names, or auto.
        shape: of an item, for `auto`; see `best`.
        options: churn, restart, tolerance.
        searched: grids made for this model. `auto` takes one for this budget that did better than its own choice, if
            there is one; grid "optimized" takes the best.

    Raises:
        RequestError: an unknown sampler or grid, one that the flow does not admit, or a budget below one step's cost.
    """
    plain = not options.churn and not options.restart
    fitting = [one for one in searched if one.nfe == nfe and sampler in ("auto", one.sampler)]
    fitting.sort(key=lambda one: one.error)
    if grid == OPTIMIZED and not fitting:
        kind = "" if sampler == "auto" else f"{sampler} and "
        raise RequestError(
            f"this model has no grid optimised for {kind}NFE {nfe}; "
            f"hgfctl sample CKPT --optimize-grid --nfe {nfe} makes one"
        )
    if grid == OPTIMIZED and not plain:
        raise RequestError("grid 'optimized' was made for the solver alone; leave churn and restart out")
    if fitting and (grid == OPTIMIZED or (grid == "auto" and plain and fitting[0].is_better)):
        chosen = fitting[0]
        return Plan(configured(chosen.sampler, nfe, options), OPTIMIZED, chosen.tensor())
    if sampler == "auto":
        sampler = "heun" if options.churn else best(flow, nfe, shape).sampler
    solver = configured(sampler, nfe, options)
    solver.check(flow)
    if isinstance(solver, DormandPrince) and grid != "auto":
        raise RequestError(f"{solver.name} chooses its times itself; leave --grid out")
    name = best(flow, nfe, shape).grid if grid == "auto" else grid
    make = grids.named(name)
    steps = solver.steps(nfe)
    if steps < 1:
        least = next(budget for budget in count(nfe + 1) if solver.steps(budget))
        raise RequestError(f"{solver.name} takes {least} evaluations or more, and --nfe {nfe} is too few")
    return Plan(solver, ADAPTIVE if isinstance(solver, DormandPrince) else name, make(flow, steps))
