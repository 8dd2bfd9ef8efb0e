"""From a budget to a solver and a grid; `auto` is what measured best."""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.engine.solvers.pricing import Price, extra, most_steps
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import RequestError

BEST: dict[type[Flow], tuple[tuple[int, str, str], ...]] = {
    Oscillation: ((6, "ab2", "trimmed-cosine"), (12, "dpm++2m", "sigmoid"), (10**9, "ab4", "cosine")),
    FlowMatching: ((6, "ab2", "trimmed-cosine"), (12, "dpm++2m", "sigmoid"), (10**9, "ab4", "cosine")),
    Diffusion: ((20, "dpm++2m", "sigmoid"), (10**9, "ab4", "sigmoid")),
    Reflection: ((15, "ab4", "sigmoid"), (30, "heun", "quadratic"), (10**9, "heun", "cosine")),
}
"""Flow -> (largest budget, sampler, grid), measured by tests/benchmarks: solvers.py with exact HVPs of mixtures for the
linear flows, checkerboard.py with a trained network for reflection."""


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


def plan(flow: Flow, nfe: int, sampler: str = "auto", grid: str = "auto", price: Price | None = None) -> Plan:
    """As many steps as `nfe` evaluations allow.

    Args:
        flow: that of V.
        nfe: the budget.
        sampler, grid: names; `auto` goes by the number of calls that the budget buys.
        price: of a call of V, in evaluations; 1 when None.

    Raises:
        RequestError: an unknown sampler or grid, one that the flow does not admit, or a budget below one step's cost.
    """
    calls = most_steps(SOLVERS["euler"], GRIDS["sigmoid"], flow, nfe, price)
    best_sampler, best_grid = next((s, g) for most, s, g in BEST[type(flow)] if calls <= most)
    solver: Solver = SOLVERS[best_sampler if sampler == "auto" else sampler]
    name = best_grid if grid == "auto" else grid
    make = GRIDS[name]
    solver.check(flow)
    steps = most_steps(solver, make, flow, nfe, price)
    if steps < 1:
        least = solver.cost(1) + extra(solver, flow, make(flow, 1), price)
        guided = ", guided" if price else ""
        raise RequestError(f"{solver.name} takes {least} evaluations a step{guided}, and --nfe {nfe} is too few")
    times = make(flow, steps)
    return Plan(solver, name, times, extra(solver, flow, times, price))
