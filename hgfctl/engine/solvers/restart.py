"""Restart sampling (Xu et al. 2023, arXiv 2306.14878): back to more noise and down again, a few times over."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.solver import Solver
from hgfctl.engine.solvers.stochastic import StochasticSolver

RHO = 7
"""The way down again is evenly spaced in sigma^(1/RHO), as EDM's grid is."""


@dataclass(frozen=True, kw_only=True)
class Restart(StochasticSolver):
    """A solver stops at the lower level; noise takes x up to the upper one, the solver down again, `repeats` times.

    The noise contracts the errors made above, as a stochastic sampler's would, while every descent is that of an ODE.
    The time of the grid that is nearest to the lower level is moved there.

    Args:
        base: the solver.
        repeats: K.
        levels: sigma of the stop and of what is gone back to, for data of root mean square 0.5; they scale with sd.
        descent: steps of each way down again.
    """

    base: Solver
    repeats: int
    levels: tuple[float, float]
    descent: int

    least = 2

    @property
    def name(self) -> str:
        return f"{self.base.name}+restart"

    def admits(self, flow: Flow) -> bool:
        return super().admits(flow) and self.base.admits(flow)

    def steps(self, nfe: int) -> int:
        """The steps of the main way, which takes two at least: the lower level lies between them."""
        steps = self.base.steps(max(nfe - self._extra, 0))
        return steps if steps >= self.least else 0

    def cost(self, steps: int) -> int:
        return self.base.cost(steps) + self._extra

    @property
    def _extra(self) -> int:
        """A descent ends above 0: it costs what so many steps before a last one do."""
        return self.repeats * (self.base.cost(self.descent + 1) - self.base.cost(1))

    def linear_trajectory(self, velocity: Velocity, flow: LinearFlow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        low, high = (times.new_tensor(level * flow.sd / 0.5) for level in self.levels)
        stop = 1 + int((flow.sigma(times[1:-1]) / low).log().abs().argmin())
        times = times.clone()
        times[stop] = flow.time(low)
        roots = torch.linspace(1, 0, self.descent + 1, dtype=times.dtype, device=times.device)
        ends = low ** (1 / RHO), high ** (1 / RHO)
        descent = flow.time((ends[0] + roots * (ends[1] - ends[0])) ** RHO)
        *above, x = self.base.trajectory(velocity, flow, start, times[: stop + 1])
        yield from above
        for _ in range(self.repeats):
            x = self.raised(flow, x, descent[-1], descent[0])
            x = self.base.solve(velocity, flow, x, descent)
        yield from self.base.trajectory(velocity, flow, x, times[stop:])
