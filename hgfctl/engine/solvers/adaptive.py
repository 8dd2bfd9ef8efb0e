"""An adaptive method, for references: it keeps a tolerance, not a number of steps (Dormand and Prince 1980)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.integrators.dormand_prince import ERROR, A, C
from hgfctl.engine.phase_space import Velocity, over
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import HgfctlError

FIRST_STEP = 0.01
"""As a share of the interval."""
STAGES = len(C) - 1
"""Evaluations of a step; the first slope is the last one of the step before."""
SAFETY, LEAST, MOST = 0.9, 0.2, 5.0
"""By how much a step may differ from the one before."""
VANISHED = 1e-8
"""A share of the interval: with steps as short as this there is no end."""


@dataclass(frozen=True)
class DormandPrince(Solver):
    """Every item with steps of its own: as long as the fifth and the fourth order agree to the tolerance.

    The difference, root mean square over coordinates, is to stay below tolerance x (sd + |x|). Six evaluations a step,
    tried or taken, and one to begin with.

    Args:
        tolerance: of a step.
        budget: evaluations that no item may exceed; None for no limit.
    """

    options: ClassVar[tuple[str, ...]] = ("tolerance",)
    adaptive: ClassVar[bool] = True

    tolerance: PositiveFloat = 1e-5
    budget: int | None = None

    @property
    def name(self) -> str:
        return "dopri5"

    def within(self, nfe: int) -> "DormandPrince":
        return replace(self, budget=nfe)

    def steps(self, nfe: int) -> int:
        """1: the method chooses its times between those of a grid, and needs none."""
        return int(nfe >= 1 + STAGES)

    def cost(self, steps: int) -> int:
        """At most, where there is a budget; at least, where there is none."""
        return self.budget or 1 + steps * STAGES

    def trajectory(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        """As `Solver.trajectory`; V is called with a time for each item, (B,).

        Raises:
            HgfctlError: the budget is used up, or the tolerance is out of reach, before the end.
        """
        x, t = start, times[0].expand(len(start))
        yield x
        slope, used = velocity(x, t), 1
        h = FIRST_STEP * (times[1] - times[0]).expand(len(start))
        for begin, end in pairwise(times):
            while bool((t != end).any()):
                used += STAGES
                if self.budget and used > self.budget:
                    raise HgfctlError(
                        f"dopri5 takes more than `nfe={self.budget}` evaluations for a tolerance of "
                        f"{self.tolerance:g}; raise `nfe` or `tolerance`"
                    )
                last = h.abs() >= (end - t).abs()
                step = torch.where(last, end - t, h)
                moved, last_slope, error = self._tried(velocity, flow, x, t, step, slope)
                accepted = error <= 1
                x, slope = torch.where(over(accepted, x), moved, x), torch.where(over(accepted, x), last_slope, slope)
                h = step * (SAFETY * error**-0.2).clamp(LEAST, MOST)
                t = torch.where(accepted, torch.where(last, end, t + step), t)
                h = torch.where(t == end, FIRST_STEP * (end - begin), h)
                if bool((h.abs() < VANISHED * (end - begin).abs()).any()):
                    raise HgfctlError(
                        f"dopri5: a tolerance of {self.tolerance:g} is below what the model's own precision admits; "
                        "raise `tolerance`"
                    )
            yield x

    def _tried(
        self, velocity: Velocity, flow: Flow, x: Tensor, t: Tensor, h: Tensor, first: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """A step: where it ends, V there, and the error in units of the tolerance (B,), never nan."""
        slopes, width, moved = [first], over(h, x).to(x), x
        for row, c in zip(A[1:], C[1:], strict=True):
            moved = flow.confine(x + width * sum(a * k for a, k in zip(row, slopes, strict=True)))
            slopes.append(velocity(moved, t + c * h))
        between = width * sum(e * k for e, k in zip(ERROR, slopes, strict=True))
        scale = self.tolerance * (flow.sd + torch.maximum(x.abs(), moved.abs()))
        error = (between / scale).square().flatten(1).mean(1).sqrt().to(t)
        return moved, slopes[-1], torch.nan_to_num(error, nan=torch.inf)


DOPRI5 = DormandPrince()
