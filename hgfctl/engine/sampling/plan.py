"""From a budget to a solver and a grid; `auto` is what measured best."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from hgfctl.config import AUTO, Component
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.sampling.best import best
from hgfctl.engine.sampling.call_cost import CallCost, extra, most_steps
from hgfctl.engine.sampling.optimized_grids import OPTIMIZED, OptimizedGrid
from hgfctl.engine.sampling.options import Churn, configured
from hgfctl.engine.solvers import SOLVERS, grids
from hgfctl.engine.solvers.grids import Grid
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import RequestError

ADAPTIVE = "adaptive"
"""The grid of a solver that chooses its times itself."""


@dataclass(frozen=True)
class Plan:
    """A solver on a grid: all that sampling needs besides the velocity and the flow.

    Args:
        solver: the method.
        grid: its name.
        times: from T down to 0.
        extra: evaluations besides one a call of V, of what guides it.
    """

    solver: Solver
    grid: str
    times: Tensor
    extra: int = 0

    @property
    def nfe(self) -> int:
        """Network evaluations an item."""
        return self.solver.cost(len(self.times) - 1) + self.extra


def plan(
    flow: Flow,
    nfe: int,
    sampler: str | Component = AUTO,
    grid: str = AUTO,
    shape: tuple[int, ...] | None = None,
    searched: Sequence[OptimizedGrid] = (),
    call_cost: CallCost | None = None,
) -> Plan:
    """As many steps as `nfe` evaluations allow.

    Args:
        flow: that of V.
        nfe: the budget.
        sampler: a solver, with its options where it is a component; `auto` goes by the number of calls that the budget
            buys, and takes of the options those that are for its choice.
        grid: a name; `auto` is what measured best.
        shape: of an item, for `auto`; see `best`.
        searched: grids made for this model. `auto` takes one for this budget that did better than its own choice, if
            there is one; grid "optimized" takes the best.
        call_cost: of a call of V, in evaluations; 1 when None.

    Raises:
        RequestError: an unknown sampler, option or grid, one that the flow does not admit, or a budget below one step's
            cost.
    """
    asked = Component(name=sampler) if isinstance(sampler, str) else sampler
    plain = not asked.options.get("churn") and not asked.options.get("restart") and call_cost is None
    found = _searched(nfe, asked, grid, searched, plain)
    if found is not None:
        solver = configured(asked, nfe, found.sampler)
        solver.check(flow)
        return Plan(solver, OPTIMIZED, found.tensor())
    usual = best(flow, nfe if call_cost is None else _calls(flow, nfe, call_cost), shape)
    by_auto = Churn.solver if asked.options.get("churn") else usual.sampler
    solver = configured(asked, nfe, by_auto if asked.name == AUTO else None)
    solver.check(flow)
    if solver.adaptive:
        _check_adaptive(solver, grid, call_cost)
    name = usual.grid if grid == AUTO else grid
    make = _falling(name)
    steps = most_steps(solver, make, flow, nfe, call_cost)
    if steps < 1:
        least = next(budget for budget in count(nfe + 1) if most_steps(solver, make, flow, budget, call_cost))
        guided = ", guided," if call_cost else ""
        raise RequestError(f"{solver.name}{guided} takes {least} evaluations or more, and `nfe={nfe}` is too few")
    times = make(flow, steps)
    return Plan(solver, ADAPTIVE if solver.adaptive else name, times, extra(solver, flow, times, call_cost))


def _searched(
    nfe: int, asked: Component, grid: str, searched: Sequence[OptimizedGrid], plain: bool
) -> OptimizedGrid | None:
    """The searched grid that is to be taken, if one is; `plain`: nothing but the solver is asked for."""
    fitting = [each for each in searched if each.nfe == nfe and asked.name in (AUTO, each.sampler)]
    fitting.sort(key=lambda each: each.error)
    if grid == OPTIMIZED and not fitting:
        kind = "" if asked.name == AUTO else f"{asked.name} and "
        raise RequestError(
            f"this model has no grid optimised for {kind}NFE {nfe}; sampling with `optimize_grid` and `nfe={nfe}` "
            "makes one"
        )
    if grid == OPTIMIZED and not plain:
        raise RequestError("grid 'optimized' was made for the solver alone; leave churn, restart and guidance out")
    if fitting and (grid == OPTIMIZED or (grid == AUTO and plain and fitting[0].is_better)):
        return fitting[0]
    return None


def _falling(name: str) -> Grid:
    """A grid by its name; it refuses numbers that leave no distinct times."""
    make = grids.named(name)

    def checked(flow: Flow, steps: int) -> Tensor:
        times = make(flow, steps)
        if not times.isfinite().all() or not (times.diff() < 0).all():
            raise RequestError(f"grid '{name}' has no {steps + 1} distinct times; take other numbers")
        return times

    return checked


def _calls(flow: Flow, nfe: int, call_cost: CallCost) -> int:
    """About how many calls of V a budget buys, where some of them take two evaluations."""
    return max(1, most_steps(SOLVERS["euler"], grids.named("sigmoid"), flow, nfe, call_cost))


def _check_adaptive(solver: Solver, grid: str, call_cost: CallCost | None) -> None:
    if grid != AUTO:
        raise RequestError(f"{solver.name} chooses its times itself; leave `grid` out")
    if call_cost is not None:
        raise RequestError(f"{solver.name} does not know ahead how many calls are guided; take another sampler")
