"""From a budget to a solver and a grid; `auto` is what measured best."""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.solvers import SOLVERS, grids
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
    """

    solver: Solver
    grid: str
    times: Tensor

    @property
    def nfe(self) -> int:
        """Network evaluations an item."""
        return self.solver.cost(len(self.times) - 1)


def plan(flow: Flow, nfe: int, sampler: str = "auto", grid: str = "auto") -> Plan:
    """As many steps as `nfe` evaluations allow.

    Raises:
        RequestError: an unknown sampler or grid, one that the flow does not admit, or a budget below one step's cost.
    """
    best_sampler, best_grid = next((s, g) for most, s, g in BEST[type(flow)] if nfe <= most)
    solver: Solver = SOLVERS[best_sampler if sampler == "auto" else sampler]
    name = best_grid if grid == "auto" else grid
    make = grids.named(name)
    solver.check(flow)
    steps = solver.steps(nfe)
    if steps < 1:
        raise RequestError(f"{solver.name} takes {solver.cost(1)} evaluations a step, and --nfe {nfe} is too few")
    return Plan(solver, name, make(flow, steps))
