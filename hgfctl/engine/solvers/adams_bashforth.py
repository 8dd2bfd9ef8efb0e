"""Adams-Bashforth on V with variable steps: high order for one evaluation a step (Hairer et al. 1993, III.5)."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.running_sum import RunningSum
from hgfctl.engine.solvers.solver import Solver


@dataclass(frozen=True)
class AdamsBashforth(Solver):
    """x(s) = x(t) + int_t^s P(r) dr, where the polynomial P goes through the last `order` velocities.

    The order rises from 1, a step at a time. On a uniform grid the first step's error, O(h^2), is what
    remains; on a cosine grid the first steps are so short that the full order shows.

    Args:
        order: number of velocities used.
    """

    order: int

    steps_velocity: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"ab{self.order}"

    def steps(self, nfe: int) -> int:
        return nfe

    def cost(self, steps: int) -> int:
        return steps

    def trajectory(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        yield start
        total = RunningSum(start)
        past: deque[tuple[Tensor, Tensor]] = deque(maxlen=self.order)
        for t, end in pairwise(times):
            past.appendleft((t, velocity(total.value, t)))
            nodes, velocities = zip(*past, strict=True)
            weights = integration_weights(torch.stack(nodes), t, end)
            moved = torch.stack([w * v for w, v in zip(weights.to(start), velocities, strict=True)]).sum(0)
            yield total.add(moved, flow.confine)


def integration_weights(nodes: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """w_j = int_start^end l_j(r) dr, l_j the Lagrange polynomials of the nodes: exact for polynomials of their degree.

    Solved from the moments sum_j w_j u_j^k = 1/(k + 1) with u = (node - start)/(end - start), in float64.
    """
    h = end - start
    u = (nodes - start) / h
    k = torch.arange(len(nodes), dtype=u.dtype)
    weights: Tensor = h * torch.linalg.solve(u ** k.unsqueeze(1), 1 / (k + 1))
    return weights


AB2 = AdamsBashforth(2)
AB3 = AdamsBashforth(3)
AB4 = AdamsBashforth(4)
