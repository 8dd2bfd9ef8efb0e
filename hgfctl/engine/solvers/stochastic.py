"""Solvers that put noise back in: what they share, and EDM's churn."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

from torch import Tensor

from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.integrators import runge_kutta
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.linear import LinearSolver
from hgfctl.engine.solvers.solver import Draw


@dataclass(frozen=True, kw_only=True)
class StochasticSolver(LinearSolver):
    """A solver that needs a source of noise before it can work.

    Args:
        normal: the source; None until the items are known.
    """

    normal: Draw | None = None

    draws_noise: ClassVar[bool] = True
    needs: ClassVar[str] = "puts noise back in, and that needs"

    def with_noise(self, normal: Draw) -> Self:
        """The same with a source."""
        return dataclasses.replace(self, normal=normal)

    def raised(self, flow: LinearFlow, x: Tensor, t: Tensor, to: Tensor, strength: float = 1.0) -> Tensor:
        """x at a later time: (a'/a) x + strength sqrt(b'^2 - (a' b/a)^2) z, which takes p_t to p_t' for strength 1.

        Args:
            x: (B, *D), at time t.
            t, to: scalars, t below `to`.
            strength: of the noise.
        """
        assert self.normal is not None
        before, after = flow.path(t), flow.path(to)
        keep = after.a / before.a
        spread = (after.b**2 - (keep * before.b) ** 2).clamp_min(0).sqrt()
        return keep.to(x) * x + strength * spread.to(x) * self.normal().to(x)


@dataclass(frozen=True, kw_only=True)
class ChurnedHeun(StochasticSolver):
    """EDM's stochastic sampler (Karras et al. 2022, algorithm 2), on the flow's own time.

    Before each step within `levels` noise is added: sigma -> (1 + g) sigma, g = min(churn / N, sqrt 2 - 1). Not at T,
    where x is noise already.

    Args:
        churn: S_churn.
        levels: S_min and S_max, noise levels for data of root mean square 0.5; they scale with sd.
        strength: S_noise, standard deviation of the noise added.
    """

    churn: float
    levels: tuple[float, float] = (0.0, math.inf)
    strength: float = 1.0

    @property
    def name(self) -> str:
        return "heun+churn"

    def steps(self, nfe: int) -> int:
        return (nfe + 1) // 2

    def cost(self, steps: int) -> int:
        return 2 * steps - 1

    def linear_trajectory(self, velocity: Velocity, flow: LinearFlow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        x = start
        yield x
        gain = min(self.churn / (len(times) - 1), math.sqrt(2) - 1)
        low, high = (level * flow.sd / 0.5 for level in self.levels)
        for i, (t, end) in enumerate(pairwise(times)):
            sigma = flow.sigma(t)
            if i and gain and low <= float(sigma) <= high:
                raised = flow.time((1 + gain) * sigma)
                x, t = self.raised(flow, x, t, raised, self.strength), raised
            tableau = runge_kutta.EULER if end == 0 else runge_kutta.HEUN
            x = runge_kutta.step(velocity, x, t, end - t, tableau)
            yield x
