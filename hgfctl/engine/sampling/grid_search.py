"""A grid for one model, one solver and one budget, by a short search on that model.

After Align Your Steps (Sabour et al. 2024, arXiv 2404.14507) and GITS (Chen et al. 2024, arXiv 2405.11326): the times
that serve a model best can be found from a few of its trajectories. Those minimise a bound of the path measures'
divergence and a sum of local errors; here it is the error itself that is minimised, the distance to the converged
samples, since a budget of a few steps is cheap to try. No gradient through the network is needed.

A grid is its logarithmic increments in the angle atan(sigma / sd). First a smooth change of them (Legendre polynomials
over the steps), which a multistep method can follow, then each increment for itself; both by a pattern search whose
stride halves when nothing helps.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from numpy.polynomial.legendre import legvander
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.phase_space import Velocity, as_times
from hgfctl.engine.sampling.optimized_grids import OptimizedGrid
from hgfctl.engine.sampling.sampler import FlowSampler
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.engine.solvers.grids import from_angles, named
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import RequestError

TRIES = 300
DEGREE = 5
"""The degree of the smooth change."""
STRIDE, SMALLEST = 0.4, 0.02
"""First and last, in units of ln(increment)."""
FAMILIES = ("sigmoid:1", "sigmoid:1.5", "sigmoid:2.5", "sigmoid:1.5,1.5", "sigmoid:1,2", "log-snr:0.01")
"""Grids that the search may begin with, besides those that need no number."""
SEEN, HELD_OUT = range(10**12, 10**12 + 32), range(2 * 10**12, 2 * 10**12 + 64)
"""Seeds of the items that the search looks at, and of those that judge it; far from a user's."""
CONVERGED = 150
"""Steps to the samples that a grid is measured against."""


@dataclass(frozen=True)
class Trajectories:
    """Starts and where a converged solver takes them.

    Args:
        velocity: V(x, t) of these items.
        flow: of the model.
        start, end: (B, *D).
    """

    velocity: Velocity
    flow: Flow
    start: Tensor
    end: Tensor

    @classmethod
    def of(cls, sampler: FlowSampler, seeds: Sequence[int]) -> "Trajectories":
        """Those of a model from these seeds, its classes in turn."""
        flow, which = sampler.hvp.flow, torch.tensor(seeds)
        start, labels = sampler.on_device(which)
        velocity = partial(sampler.velocity, labels=labels)
        method = "angle-abm3" if flow.linear else "heun"
        times = as_times(named("sigmoid")(flow, CONVERGED), start)
        return cls(velocity, flow, start, SOLVERS[method].solve(velocity, flow, start, times))

    def errors(self, solver: Solver, times: Tensor) -> Tensor:
        """RMS distance per coordinate from the converged samples: (B,)."""
        made = solver.solve(self.velocity, self.flow, self.start, as_times(times, self.start))
        return (made - self.end).square().flatten(1).mean(1).sqrt()


@dataclass(frozen=True)
class Progress:
    """How often a grid was tried so far, and the geometric mean of the best one's errors."""

    tried: int
    error: float


def search(sampler: FlowSampler, nfe: int, tries: int = TRIES) -> Iterator[Progress | OptimizedGrid]:
    """Looks for better times for a sampler's solver; yields the grid last, judged on held-out items.

    Args:
        sampler: whose plan is to be improved.
        nfe: the budget that its plan was made for.
        tries: of grids, at most.

    Raises:
        RequestError: its solver has no grid to improve, or puts noise in.
    """
    solver, before, flow = sampler.plan.solver, sampler.plan.times, sampler.hvp.flow
    if solver.draws_noise or solver.adaptive or len(before) < 3:
        raise RequestError(f"`optimize_grid`: {solver.name} at NFE {nfe} has no grid that could be improved")
    objective = _Objective(solver, Trajectories.of(sampler, SEEN))
    steps = len(before) - 1
    for times in (before, *(named(name)(flow, steps) for name in (*GRIDS, *FAMILIES))):
        objective(times)
    smooth = torch.from_numpy(legvander(torch.linspace(-1, 1, steps).numpy(), DEGREE)[:, 1:]).double()
    for basis in (smooth, torch.eye(steps, dtype=torch.float64)):
        yield objective.progress
        grid_of = partial(_changed, flow, _increments(flow, objective.best).log(), basis)
        for _ in _pattern_search(objective, grid_of, basis.shape[1]):
            yield objective.progress
            if objective.tried >= tries:
                break
    judges = Trajectories.of(sampler, HELD_OUT)
    yield OptimizedGrid(
        flow=repr(flow),
        sampler=solver.name,
        nfe=nfe,
        times=tuple(objective.best.tolist()),
        error=float(judges.errors(solver, objective.best).median()),
        error_before=float(judges.errors(solver, before).median()),
        grid_before=sampler.plan.grid,
    )


class _Objective:
    """Mean logarithm of the error: a few items that land in another mode do not decide. Remembers the best."""

    def __init__(self, solver: Solver, items: Trajectories) -> None:
        self.solver, self.items = solver, items
        self.tried, self.best, self.least = 0, torch.empty(0), math.inf

    def __call__(self, times: Tensor) -> float:
        self.tried += 1
        value = float(self.items.errors(self.solver, times).double().clamp_min(1e-12).log().mean())
        if value < self.least:
            self.best, self.least = times, value
        return value if math.isfinite(value) else math.inf

    @property
    def progress(self) -> Progress:
        return Progress(self.tried, math.exp(self.least))


def _pattern_search(
    error: Callable[[Tensor], float], grid_of: Callable[[Tensor], Tensor], size: int
) -> Iterator[Tensor]:
    """From 0, coordinate by coordinate, both ways, the stride halved when nothing helped (Hooke and Jeeves 1961)."""
    place, stride = torch.zeros(size, dtype=torch.float64), STRIDE
    least = error(grid_of(place))
    while stride >= SMALLEST:
        improved = False
        for k in range(size):
            for sign in (1, -1):
                tried = place.clone()
                tried[k] += sign * stride
                value = error(grid_of(tried))
                yield tried
                if value < least:
                    place, least, improved = tried, value, True
                    break
        stride = stride if improved else stride / 2


def _increments(flow: Flow, times: Tensor) -> Tensor:
    return -torch.atan(flow.sigma(times) / flow.sd).diff()


def _changed(flow: Flow, logarithms: Tensor, basis: Tensor, change: Tensor) -> Tensor:
    """Times of increments whose logarithms are these plus basis x change."""
    increments = (logarithms + basis @ change).exp()
    left = increments.flip(0).cumsum(0).flip(0)
    return from_angles(flow, torch.cat([left / left[0], left.new_zeros(1)]))
