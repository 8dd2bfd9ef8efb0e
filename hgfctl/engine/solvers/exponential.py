"""Exponential multistep methods: the linear part of the ODE exactly, the denoiser D by a polynomial (linear flows).

Since a D + b Z = x, the ODE reads d(x / b) = D d(a / b), so from t to s

    x_s = (b_s / b_t) x_t + b_s int_t^s D d(a / b),

and with D a polynomial in some clock, through the values at past times, the integral is a weighted sum of these values.
A constant D gives DDIM, which holds at both ends (a_T = 0; b_0 = 0 gives x_0 = D). Only sigma = b/a enters: on the same
sigma grid all linear flows give the same samples.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from hgfctl.engine.flows.conversions import denoiser_from_hvp
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.linear import LinearSolver

NOISE = 1e-12
"""a(t) sd / b(t) below which a time counts as T itself, where sigma is infinite."""

NODES, MASSES = (torch.from_numpy(part) for part in leggauss(32))
"""Gauss-Legendre on [-1, 1]."""


class Clock(Protocol):
    """The variable in which D is a polynomial."""

    def read(self, flow: LinearFlow, times: Tensor) -> Tensor:
        """Its readings; infinite ones take no part in interpolation."""

    def moments(self, flow: LinearFlow, start: Tensor, end: Tensor, count: int) -> Tensor:
        """b_s int u^k d(a / b) from start = t to end = s, for k < count: u runs from 0 to 1, linearly on the clock."""


@dataclass(frozen=True)
class LogSNR:
    """lambda = ln(a / b), the clock of DPM-Solver++ and UniPC. The last step, to infinity, holds D constant."""

    def read(self, flow: LinearFlow, times: Tensor) -> Tensor:
        a, b, _, _ = flow.path(times)
        ratio = a.clamp_min(0) / b
        return torch.where(ratio * flow.sd < NOISE, -math.inf, ratio.log())

    def moments(self, flow: LinearFlow, start: Tensor, end: Tensor, count: int) -> Tensor:
        """a_s h int_0^1 u^k e^(-(1 - u) h) du: by parts, and for small h from the series sum_n k! (-h)^n / (k+n+1)!."""
        before, after = self.read(flow, torch.stack([start, end]))
        h = float(after - before)
        if h < 1:
            values = [
                h * sum(math.factorial(k) * (-h) ** n / math.factorial(k + n + 1) for n in range(20))
                for k in range(count)
            ]
        else:
            values = [-math.expm1(-h)]
            for k in range(1, count):
                values.append(1 - k * values[-1] / h)
        return flow.path(end).a * torch.tensor(values, dtype=end.dtype, device=end.device)


@dataclass(frozen=True)
class Angle:
    """theta = atan(sigma / sd), the oscillation's own time: finite at both ends, so no step is a special one.

    With a / b = cot(theta) / sd, integration by parts leaves a cotangent, smooth but for its pole at 0 (and b_s = 0
    there): Gauss-Legendre.
    """

    def read(self, flow: LinearFlow, times: Tensor) -> Tensor:
        a, b, _, _ = flow.path(times)
        return torch.atan2(b, a.clamp_min(0) * flow.sd)

    def moments(self, flow: LinearFlow, start: Tensor, end: Tensor, count: int) -> Tensor:
        before, after = flow.path(start), flow.path(end)
        values = [after.a - after.b / before.b * before.a]
        u, masses = ((NODES + 1) / 2).to(end), (MASSES / 2).to(end)
        theta, theta_end = self.read(flow, torch.stack([start, end]))
        cotangent = 1 / torch.tan(theta + u * (theta_end - theta))
        for k in range(1, count):
            rest = (masses * u ** (k - 1) * cotangent).sum()
            values.append(after.a - k * after.b / flow.sd * rest)
        return torch.stack(values)


LOG_SNR, ANGLE = LogSNR(), Angle()


@dataclass(frozen=True)
class ExponentialMultistep(LinearSolver):
    """D from `order` past values, the order rising from 1; one evaluation a step.

    Args:
        label: what the registry calls it.
        order: number of values that D is a polynomial through.
        corrected: redo every step but the last with the value at its end, which the next step asks for anyway (UniC of
            Zhao et al. 2023, arXiv 2302.04867): one more order, no more evaluations.
        midpoint: integrate straight lines as if D were constant at the middle of the step, as DPM-Solver++(2M) and
            UniPC's B_2(h) do.
        clock: what the polynomial is in.
    """

    label: str
    order: int
    corrected: bool = False
    midpoint: bool = True
    clock: Clock = LOG_SNR

    @property
    def name(self) -> str:
        return self.label

    def steps(self, nfe: int) -> int:
        return nfe

    def cost(self, steps: int) -> int:
        return steps

    def linear_trajectory(self, velocity: Velocity, flow: LinearFlow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        x = before = start
        past: deque[tuple[Tensor, Tensor]] = deque(maxlen=self.order)
        for i, t in enumerate(times[:-1]):
            value = (t, denoiser_from_hvp(flow, x, t, velocity(x, t)))
            if self.corrected and past:
                x = self._step(flow, before, times[i - 1], t, [*past, value])
            yield x
            past.appendleft(value)
            before, x = x, self._step(flow, x, t, times[i + 1], past)
        yield x

    def _step(
        self, flow: LinearFlow, x: Tensor, t: Tensor, end: Tensor, values: Sequence[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """x at `end` from x at t; values: (time, D) of which the last one, in a correction, is that of `end`."""
        readings = self.clock.read(flow, torch.stack([t, end, *(time for time, _ in values)]))
        h, offsets = readings[1] - readings[0], readings[2:] - readings[0]
        shrink = (flow.path(end).b / flow.path(t).b).to(x)
        if not h.isfinite():
            newest = values[-1] if values[-1][0] == end else values[0]
            constant = self.clock.moments(flow, t, end, 1)[0]
            return shrink * x + constant.to(x) * newest[1]
        used = offsets.isfinite()
        u = offsets[used] / h
        moments = self.clock.moments(flow, t, end, len(u))
        if len(u) == 2 and self.midpoint:
            moments = torch.stack([moments[0], moments[0] / 2])
        powers = u ** torch.arange(len(u), dtype=u.dtype, device=u.device).unsqueeze(1)
        weights: Tensor = torch.linalg.solve(powers, moments).to(x)
        denoised = [d for (_, d), finite in zip(values, used.tolist(), strict=True) if finite]
        moved: Tensor = shrink * x + sum(w * d for w, d in zip(weights, denoised, strict=True))
        return moved
