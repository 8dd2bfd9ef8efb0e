"""Multistep methods on the noise Z rather than the denoiser: iPNDM and DEIS (Zhang and Chen 2022, arXiv 2204.13902).

In y = x / a a linear flow reads dy = Z dsigma, so from t to s

    x_s = (a_s / a_t) x_t + a_s int_t^s Z dsigma.

Out of a T where a = 0, sigma is infinite and y is, too: the first step is DDIM's, x_s = a_s D + b_s Z, which both
methods begin with anyway.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.conversions import denoiser_from_hvp, noise_from_hvp
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.exponential import MASSES, NODES
from hgfctl.engine.solvers.linear import LinearSolver


@dataclass(frozen=True)
class NoiseMultistep(LinearSolver):
    """Z from `order` past values, the order rising from 1; one evaluation a step. A subclass gives the weights.

    Args:
        order: number of values used.
    """

    order: int

    def steps(self, nfe: int) -> int:
        return nfe

    def cost(self, steps: int) -> int:
        return steps

    @abstractmethod
    def weights(self, flow: LinearFlow, nodes: Sequence[Tensor], t: Tensor, end: Tensor) -> Tensor:
        """w_j with a_s int_t^s Z dsigma = sum_j w_j Z_j; nodes: the times of the values, newest (t) first."""

    def linear_trajectory(self, velocity: Velocity, flow: LinearFlow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        x = start
        past: deque[tuple[Tensor, Tensor]] = deque(maxlen=self.order)
        yield x
        for i, t in enumerate(times[:-1]):
            end = times[i + 1]
            v = velocity(x, t)
            noise, after = noise_from_hvp(flow, x, t, v), flow.path(end)
            past.appendleft((t, noise))
            if i == 0:
                x = after.a.to(x) * denoiser_from_hvp(flow, x, t, v) + after.b.to(x) * noise
            else:
                nodes, values = zip(*past, strict=True)
                weights = self.weights(flow, nodes, t, end).to(x)
                x = (after.a / flow.path(t).a).to(x) * x + sum(w * z for w, z in zip(weights, values, strict=True))
            yield x


FIXED = ((1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""Adams-Bashforth's coefficients for equal steps, newest first."""


class IPNDM(NoiseMultistep):
    """int Z dsigma = (sigma_s - sigma_t) sum_j c_j Z_j with the coefficients of equal steps, whatever the steps."""

    @property
    def name(self) -> str:
        return f"ipndm{self.order}"

    def weights(self, flow: LinearFlow, nodes: Sequence[Tensor], t: Tensor, end: Tensor) -> Tensor:
        before, after = flow.path(t), flow.path(end)
        step = after.b - after.a * before.b / before.a
        return step * step.new_tensor(FIXED[len(nodes) - 1])


class DEIS(NoiseMultistep):
    """tAB: Z a polynomial in the flow's own time, integrated against dsigma = w dt / a^2, w the Wronskian."""

    @property
    def name(self) -> str:
        return f"deis{self.order - 1}"

    def weights(self, flow: LinearFlow, nodes: Sequence[Tensor], t: Tensor, end: Tensor) -> Tensor:
        h = end - t
        u, masses = ((NODES + 1) / 2).to(t), (MASSES / 2).to(t)
        path = flow.path(t + u * h)
        density = masses * h * path.wronskian / path.a**2
        k = torch.arange(len(nodes), dtype=t.dtype, device=t.device).unsqueeze(1)
        moments = flow.path(end).a * (u**k * density).sum(1)
        weights: Tensor = torch.linalg.solve(((torch.stack(list(nodes)) - t) / h) ** k, moments)
        return weights


IPNDM4 = IPNDM(4)
DEIS_TAB3 = DEIS(4)
