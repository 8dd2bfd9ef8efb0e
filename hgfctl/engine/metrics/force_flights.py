"""What a force does along flights: how fast neighbours part, and how well an integrator keeps energy."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.flows.flow import State
from hgfctl.engine.integrators import runge_kutta
from hgfctl.engine.metrics.force_derivatives import FieldOfForce
from hgfctl.engine.randomness import generator

APART = 1e-4
"""Distance of neighbours, in units of the flight's own sizes; small against what bends it, large against rounding."""
FARTHEST = 1e6
"""Units of x beyond which rounding hides so small a distance."""
NODES = 48
"""Of the quadrature that makes a potential of a force."""

Course = Callable[[State, Tensor], "list[State]"]
"""The states at times, (N + 1,), from the first one's."""


class Lyapunov(NamedTuple):
    """Of neighbouring flights: log distance grows as exponent * t.

    Args:
        exponent: mean over flights, 1 / time.
        spread: standard deviation over flights.
        duration: of the flights; the first half is left out, in which directions find each other.
    """

    exponent: float
    spread: float
    duration: float


class Drift(NamedTuple):
    """Of the energy along flights, in units of the mean kinetic energy: the root mean square of the largest changes.

    Args:
        relative: with the steps given.
        order: of its fall as steps are halved; NaN where rounding is all there is.
        steps, integrator: of the flights.
    """

    relative: float
    order: float
    steps: int
    integrator: str


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
        pair = runge_kutta.step(derivative, torch.cat([y, y + difference], 1), i * h, h, runge_kutta.RK4)
        y, difference = pair[:, :count], pair[:, count:] - pair[:, :count]
        growth = (length(*difference) / APART).log()
        if not bool(growth.isfinite().all()) or float(y[0].abs().max()) > FARTHEST * unit_x:
            break
        growths.append(growth)
        difference = resized(*difference)
    if len(growths) < 2:
        return Lyapunov(math.nan, math.nan, h * len(growths))
    late = torch.stack(growths[len(growths) // 2 :])
    rates = late.mean(0) / h
    return Lyapunov(float(rates.mean()), float(rates.std(correction=0)), h * len(growths))


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
    coarse, fine = (_largest_change(course, potential, start, duration, n) for n in (steps, 2 * steps))
    order = math.log2(coarse / fine) if coarse > 1e-11 and fine > 0 else math.nan
    return Drift(coarse, order, steps, integrator)


def _largest_change(
    course: Course, potential: Callable[[Tensor], Tensor], start: State, duration: float, steps: int
) -> float:
    times = torch.linspace(0, duration, steps + 1, dtype=torch.float64)
    energies, kinetics = [], []
    for x, v in course(start, times):
        kinetic = v.flatten(1).square().sum(1) / 2
        kinetics.append(kinetic)
        energies.append(kinetic + potential(x))
    energy = torch.stack(energies)
    change = (energy - energy[0]).abs().amax(0)
    return float(change.square().mean().sqrt() / torch.stack(kinetics).mean())


def potential_of(force: FieldOfForce, like: Tensor) -> Callable[[Tensor], Tensor]:
    """U(x) = -int_0^1 F(s x) . x ds of a force that is a gradient, by Gauss and Legendre; 0 at x = 0.

    Args:
        force: taken at v = 0 and t = 0.
        like: items of the shape, to say where the integral is done.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    zero = torch.zeros((), dtype=torch.float64, device=like.device)

    def potential(x: Tensor) -> Tensor:
        total = x.new_zeros(len(x))
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            along = force(float(node) * x, torch.zeros_like(x), zero)
            total = total - float(weight) * (along * x).flatten(1).sum(1)
        return total

    return potential
