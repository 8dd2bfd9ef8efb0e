"""Adams-Bashforth-Moulton on V: a predictor, and a corrector that asks for nothing more (Hairer et al. 1993, III.1)."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.adams_bashforth import integration_weights
from hgfctl.engine.solvers.running_sum import RunningSum
from hgfctl.engine.solvers.solver import Solver


@dataclass(frozen=True)
class AdamsMoulton(Solver):
    """Predict with `order` velocities, evaluate, correct with one more, keep the velocity of the prediction (PEC).

    What UniPC does for the denoiser: every step but the last is redone when V at its end is known. With no exponential
    it serves all flows.

    Args:
        order: number of velocities that the predictor uses; it rises from 1.
    """

    order: int

    @property
    def name(self) -> str:
        return f"abm{self.order}"

    def steps(self, nfe: int) -> int:
        return nfe

    def cost(self, steps: int) -> int:
        return steps

    def trajectory(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        total, x = RunningSum(start), start
        past: deque[tuple[Tensor, Tensor]] = deque(maxlen=self.order)
        for i, t in enumerate(times[:-1]):
            value = (t, velocity(x, t))
            if past:
                x = total.add(_increment([value, *past], times[i - 1], t), flow.confine)
            yield x
            past.appendleft(value)
            x = flow.confine(total.value + _increment(past, t, times[i + 1]))
        yield x


def _increment(values: Sequence[tuple[Tensor, Tensor]], t: Tensor, end: Tensor) -> Tensor:
    nodes, velocities = zip(*values, strict=True)
    weights = integration_weights(torch.stack(nodes), t, end).to(velocities[0])
    return torch.stack([w * v for w, v in zip(weights, velocities, strict=True)]).sum(0)


ABM2 = AdamsMoulton(2)
ABM3 = AdamsMoulton(3)
