"""A force along flights: how fast neighbours part, and how well an integrator keeps energy."""

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.integrators import runge_kutta
from hgfctl.engine.metrics.force_derivatives import FieldOfForce
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator
from hgfctl.errors import RequestError

APART = 1e-4
"""Distance of neighbours, in units of the flight's own sizes; small against what bends it, large against rounding."""
ROUNDING = 1e-11
"""A relative change of energy below it tells nothing of an integrator."""
FARTHEST = 1e6
"""Units of x beyond which rounding hides so small a distance."""
SHOWN = 128
"""Moments that are kept of longer flights."""
NODES = 48
"""Nodes of the quadrature that makes a potential of a force."""

Course = Callable[[State, Tensor], Iterable[State]]
"""The states at times, (N + 1,), from the first one's."""


class Lyapunov(NamedTuple):
    """Neighbouring flights: their log distance grows as exponent * t.

    Args:
        exponent: mean over flights, 1 / time.
        spread: standard deviation over flights.
        duration: of the flights; the first half is left out, in which directions find each other.
        t: times at which neighbours are looked at.
        parted: the logarithm of how much farther apart they are than at the start, the mean over flights.
        parted_spread: its standard deviation.
    """

    exponent: float
    spread: float
    duration: float
    t: list[float]
    parted: list[float]
    parted_spread: list[float]


class Drift(NamedTuple):
    """Changes of the energy along flights, in units of the mean kinetic energy: the root mean square of the largest.

    Args:
        relative: with the steps given.
        order: of its fall as steps are halved; NaN where rounding is all there is.
        steps, integrator: of the flights.
        t: the time after each step, from 0 on.
        change: of the energy by then, the root mean square over flights, in the same units.
    """

    relative: float
    order: float
    steps: int
    integrator: str
    t: list[float]
    change: list[float]


def lyapunov(
    force: FieldOfForce, start: State, duration: float, steps: int, units: tuple[float, float] = (1.0, 1.0)
) -> Lyapunov:
    """Two flights by Runge-Kutta of order 4, the second brought back to a small distance after every step.

    Where a position goes beyond FARTHEST, or is no number, all flights end before.

    Args:
        force: F.
        start: (B, *D).
        duration, steps: of the flights.
        units: of x and v, in which distances are measured.
    """
    rng = generator("neighbours")
    unit_x, unit_v = units
    apart = [
        unit * torch.randn(part.shape, generator=rng, dtype=part.dtype).to(part) for unit, part in zip(units, start)
    ]
    h, count = duration / steps, len(start.x)

    def derivative(y: Tensor, t: Tensor) -> Tensor:
        x, v = y
        return torch.stack([v, force(x, v, t)])

    def length(dx: Tensor, dv: Tensor) -> Tensor:
        return ((dx / unit_x).flatten(1).square().sum(1) + (dv / unit_v).flatten(1).square().sum(1)).sqrt()

    def resized(dx: Tensor, dv: Tensor) -> Tensor:
        factor = (APART / length(dx, dv)).reshape(-1, *[1] * (dx.ndim - 1))
        return torch.stack([factor * dx, factor * dv])

    y = torch.stack(start)
    difference = resized(*apart)
    growths: list[Tensor] = []
    for i in range(steps):
        try:
            pair = runge_kutta.step(derivative, torch.cat([y, y + difference], 1), i * h, h, runge_kutta.RK4)
        except RequestError:  # of a force that is watched
            break
        y, difference = pair[:, :count], pair[:, count:] - pair[:, :count]
        growth = (length(*difference) / APART).log()
        if not bool(growth.isfinite().all()) or float(y[0].abs().max()) > FARTHEST * unit_x:
            break
        growths.append(growth)
        difference = resized(*difference)
    if len(growths) < 2:
        return Lyapunov(math.nan, math.nan, h * len(growths), [], [], [])
    rates = torch.stack(growths[len(growths) // 2 :]).mean(0) / h
    times = h * torch.arange(1, len(growths) + 1, dtype=torch.float64)
    parted, every = torch.stack(growths).cumsum(0), -(-len(growths) // SHOWN)
    return Lyapunov(
        exponent=float(rates.mean()),
        spread=float(rates.std(correction=0)),
        duration=h * len(growths),
        t=times[::every].tolist(),
        parted=parted.mean(1)[::every].tolist(),
        parted_spread=parted.std(1, correction=0)[::every].tolist(),
    )


def energy_drift(
    course: Course, potential: Callable[[Tensor], Tensor], start: State, duration: float, steps: int, integrator: str
) -> Drift:
    """H = |v|^2 / 2 + U(x) along flights of `steps` and of twice as many.

    Args:
        course: the integrator.
        potential: U, (B, *D) -> (B,).
        start: (B, *D).
        duration, steps: of the flights.
        integrator: what it is called.
    """
    coarse, fine = (_changes(course, potential, start, duration, n) for n in (steps, 2 * steps))
    relative, halved = (float(changes.amax(0).square().mean().sqrt()) for changes in (coarse, fine))
    return Drift(
        relative=relative,
        order=math.log2(relative / halved) if relative > ROUNDING and halved > 0 else math.nan,
        steps=steps,
        integrator=integrator,
        t=torch.linspace(0, duration, steps + 1, dtype=torch.float64).tolist(),
        change=coarse.square().mean(1).sqrt().tolist(),
    )


def _changes(
    course: Course, potential: Callable[[Tensor], Tensor], start: State, duration: float, steps: int
) -> Tensor:
    """|H_t - H_0| in units of the mean kinetic energy, (steps + 1, B)."""
    times = torch.linspace(0, duration, steps + 1, dtype=torch.float64)
    kinetic, energy = [], []
    for x, v in course(start, times):
        kinetic.append(v.flatten(1).square().sum(1) / 2)
        energy.append(kinetic[-1] + potential(x))
    return (torch.stack(energy) - energy[0]).abs() / torch.stack(kinetic).mean()


def potential_of(force: FieldOfForce, like: Tensor) -> Callable[[Tensor], Tensor]:
    """U(x) = -int_0^1 F(s x) . x ds of a force that is a gradient; 0 at x = 0.

    By Gauss and Legendre in u, s = u^2: nodes crowd at x = 0, where bodies that repel each other meet.

    Args:
        force: taken at v = 0 and t = 0.
        like: items of the shape, to say where the integral is done.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    zero = torch.zeros((), dtype=torch.float64, device=like.device)

    def potential(x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for u, weight in zip(((nodes + 1) / 2).tolist(), (weights / 2).tolist(), strict=True):
            along = force(u**2 * x, torch.zeros_like(x), zero)
            total = total - 2 * u * weight * (along * x).flatten(1).sum(1)
        return total

    return potential
