"""From a budget to a solver and a grid; `auto` is what measured best."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.sampling.best import best
from hgfctl.engine.sampling.call_cost import Price, extra, most_steps
from hgfctl.engine.sampling.optimized_grids import OPTIMIZED, OptimizedGrid
from hgfctl.engine.sampling.options import NONE, configured
from hgfctl.engine.solvers import SOLVERS, grids
from hgfctl.engine.solvers.adaptive import DormandPrince
from hgfctl.engine.solvers.grids import Grid
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
    sampler: str = "auto",
    grid: str = "auto",
    shape: tuple[int, ...] | None = None,
    options: SampleSection = NONE,
    searched: Sequence[OptimizedGrid] = (),
    price: Price | None = None,
) -> Plan:
    """As many steps as `nfe` evaluations allow.

    Args:
        flow: that of V.
        nfe: the budget.
        sampler, grid: names; `auto` goes by the number of calls that the budget buys.
        shape: of an item, for `auto`; see `best`.
        options: churn, restart, tolerance.
        searched: grids made for this model. `auto` takes one for this budget that did better than its own choice, if
            there is one; grid "optimized" takes the best.
        price: of a call of V, in evaluations; 1 when None.

    Raises:
        RequestError: an unknown sampler or grid, one that the flow does not admit, or a budget below one step's cost.
    """
    plain = not options.churn and not options.restart and price is None
    fitting = [one for one in searched if one.nfe == nfe and sampler in ("auto", one.sampler)]
    fitting.sort(key=lambda one: one.error)
    if grid == OPTIMIZED and not fitting:
        kind = "" if sampler == "auto" else f"{sampler} and "
        raise RequestError(
            f"this model has no grid optimised for {kind}NFE {nfe}; "
            f"hgfctl sample CKPT --optimize-grid --nfe {nfe} makes one"
        )
    if grid == OPTIMIZED and not plain:
        raise RequestError("grid 'optimized' was made for the solver alone; leave churn, restart and guidance out")
    if fitting and (grid == OPTIMIZED or (grid == "auto" and plain and fitting[0].is_better)):
        chosen = fitting[0]
        solver = configured(chosen.sampler, nfe, options)
        solver.check(flow)
        return Plan(solver, OPTIMIZED, chosen.tensor())
    usual = best(flow, nfe if price is None else _calls(flow, nfe, price), shape)
    if sampler == "auto":
        sampler = "heun" if options.churn else usual.sampler
    solver = configured(sampler, nfe, options)
    solver.check(flow)
    if isinstance(solver, DormandPrince):
        _check_adaptive(solver, grid, price)
    name = usual.grid if grid == "auto" else grid
    make = _falling(name)
    steps = most_steps(solver, make, flow, nfe, price)
    if steps < 1:
        least = next(budget for budget in count(nfe + 1) if most_steps(solver, make, flow, budget, price))
        guided = ", guided," if price else ""
        raise RequestError(f"{solver.name}{guided} takes {least} evaluations or more, and --nfe {nfe} is too few")
    times = make(flow, steps)
    name = ADAPTIVE if isinstance(solver, DormandPrince) else name
    return Plan(solver, name, times, extra(solver, flow, times, price))


def _falling(name: str) -> Grid:
    """A grid by its name; it refuses numbers that leave no distinct times."""
    make = grids.named(name)

    def checked(flow: Flow, steps: int) -> Tensor:
        times = make(flow, steps)
        if not times.isfinite().all() or not (times.diff() < 0).all():
            raise RequestError(f"grid '{name}' has no {steps + 1} distinct times; take other numbers")
        return times

    return checked


def _calls(flow: Flow, nfe: int, price: Price) -> int:
    """About how many calls of V a budget buys, where some of them take two evaluations."""
    return max(1, most_steps(SOLVERS["euler"], grids.named("sigmoid"), flow, nfe, price))


def _check_adaptive(solver: Solver, grid: str, price: Price | None) -> None:
    if grid != "auto":
        raise RequestError(f"{solver.name} chooses its times itself; leave --grid out")
    if price is not None:
        raise RequestError(f"{solver.name} does not know ahead how many calls are guided; take another sampler")
