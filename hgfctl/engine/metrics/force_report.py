"""The force of a flow in numbers, which `hgfctl visualize force` draws."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from hgfctl.engine.flows.flights import Flights
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.simulated import Simulated
from hgfctl.engine.metrics.force_derivatives import Derivatives, derivatives
from hgfctl.engine.metrics.force_flights import Drift, Lyapunov, energy_drift, lyapunov, potential_of
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.two_sample import two_sample

MOMENTS = 33
"""Times, evenly spaced from 0 to T."""
POINTS = 64
"""Items at which derivatives are taken, at each time, and that fly with a neighbour."""
DURATIONS = 16
"""Length of those flights in units of T, where the force does not depend on time."""
FEWEST, MOST = 256, 4096
"""Steps of them; flights of stiff forces end before."""
OWN_STEPS = 64
"""Over T, of a leapfrog where the flow needs no integrator."""
GRADIENT = 1e-6
"""Curl up to which a force counts as a gradient: rounding of float32 networks is above it, and is told as it is."""
STEP = 0.2
"""Suggested step, in units of the shortest time of the force: leapfrog then keeps energy to about half a percent."""


@dataclass(frozen=True)
class ForceReport:
    """Numbers of a flow.

    Args:
        T: of the flow.
        depends_on_time, depends_on_velocity: whether the force does, as far as draws show.
        works: whether the part of the force that depends on v does any work; a magnetic force does none.
        curl: how far dF/dx is from symmetric where v = 0, at its worst time; see `metrics.force_derivatives`.
        exact: whether `curl`, `divergence` and `stiffness` come from whole matrices, not from random probes.
        log_volume: what the flow does to the logarithm of phase-space volume from 0 to T, the mean over items.
        lyapunov: how fast neighbours part.
        drift: of the energy, where there is one.
        step: suggested, STEP times the smaller of 1 / sqrt(stiffness) and 1 / damping; infinite without any force.
        steps: over T that are then needed.
        floor: what `distance` is of two independent samples of x_T, in root mean square.
        prior_distance: of x_T and the prior, in the units of `distance`.
        prior_p: the probability of so large a distance or a larger one, were the prior exact.
        t: (MOMENTS,) times, and at each of them:
        distance: of x_t and the x_T of other items, as far as a shift by so many standard deviations a coordinate
            (energy distance; see `two_sample`).
        memory: correlation of x_t and x_0 over items and coordinates.
        size, spread: mean and standard deviation over items of |x_t| / sqrt(d).
        divergence: of the force in phase space, the mean over items.
        stiffness: the largest |dF/dx| of the items.
    """

    T: float
    depends_on_time: bool
    depends_on_velocity: bool
    works: bool
    curl: float
    exact: bool
    log_volume: float
    lyapunov: Lyapunov
    drift: Drift | None
    step: float
    steps: int
    floor: float
    prior_distance: float
    prior_p: float
    t: list[float]
    distance: list[float]
    memory: list[float]
    size: list[float]
    spread: list[float]
    divergence: list[float]
    stiffness: list[float]

    @property
    def is_gradient(self) -> bool:
        """True where the force is a gradient at every time, but for a part that turns v and does no work."""
        return self.curl <= GRADIENT and not self.works

    @property
    def keeps_energy(self) -> bool:
        """True where |v|^2 / 2 + U(x) stays what it is."""
        return self.is_gradient and not self.depends_on_time

    @property
    def conservative(self) -> bool:
        """True where F = -grad U(x), and nothing else."""
        return self.keeps_energy and not self.depends_on_velocity

    @property
    def growth(self) -> float:
        """By how much neighbours part over the flow, by the exponent."""
        return math.exp(min(self.lyapunov.exponent * self.T, 700.0))

    @property
    def scale(self) -> float:
        """Largest over smallest root mean square of x_t: 1 where the flow keeps its scale."""
        squares = [size**2 + spread**2 for size, spread in zip(self.size, self.spread, strict=True)]
        return math.sqrt(max(squares) / min(squares)) if min(squares) else math.inf

    def facts(self) -> dict[str, Any]:
        """All numbers, as JSON has them."""
        derived = {
            "conservative": self.conservative,
            "keeps_energy": self.keeps_energy,
            "growth": self.growth,
            "scale": self.scale,
        }
        nested = {"lyapunov": self.lyapunov._asdict(), "drift": self.drift and self.drift._asdict()}
        return {**asdict(self), **nested, **derived}


def force_report(flow: Flow, x0: Tensor, seed: int = 0) -> ForceReport:
    """Measures a flow on data.

    Args:
        flow: one that has been `measured`, where its prior or moments have to be.
        x0: data (N, *D), float64; 2 POINTS or more.
        seed: of the velocities.
    """
    z = torch.randn(x0.shape, generator=generator(seed, "force report"), dtype=x0.dtype).to(x0)
    times = torch.linspace(0, flow.T, MOMENTS, dtype=torch.float64, device=x0.device)
    states = [flow.state(x0, z, t) for t in times]
    half = len(x0) // 2
    x_end = states[-1].x
    prior = flow.prior.sample(tuple(x_end.shape), generator(seed, "force report", "prior")).to(x_end)
    fit = two_sample(x_end, prior)

    found = [derivatives(flow.force, x[:POINTS], v[:POINTS], t) for (x, v), t in zip(states, times, strict=True)]
    stiffness = [one.stiffness for one in found]
    rate = max(math.sqrt(max(stiffness)), *(one.damping for one in found))
    step = STEP / rate if rate > 0 else math.inf
    on_time, on_velocity, works = _dependence(flow, states, times)
    units = (_root_mean_square([s.x for s in states]), _root_mean_square([s.v for s in states]))
    curl = max(one.curl for one in (_at_rest(flow, states, times) if on_velocity else found))
    start = State(states[0].x[:POINTS], states[0].v[:POINTS])
    kept = curl <= GRADIENT and not works and not on_time
    return ForceReport(
        T=flow.T,
        depends_on_time=on_time,
        depends_on_velocity=on_velocity,
        works=works,
        curl=curl,
        exact=found[0].exact,
        log_volume=float(torch.trapezoid(times.new_tensor([one.divergence for one in found]), times)),
        lyapunov=_lyapunov(flow, start, flow.T * (1 if on_time else DURATIONS), step, units),
        drift=_drift(flow, start, on_velocity) if kept else None,
        step=step,
        steps=math.ceil(flow.T / step) if step < math.inf else 1,
        floor=_floor(x_end),
        prior_distance=fit.shift,
        prior_p=fit.p,
        t=times.tolist(),
        distance=[_distance(x[:half], x_end[half:]) for x, _ in states],
        memory=[_correlation(x, x0) for x, _ in states],
        size=[float(_sizes(x).mean()) for x, _ in states],
        spread=[float(_sizes(x).std(correction=0)) for x, _ in states],
        divergence=[one.divergence for one in found],
        stiffness=stiffness,
    )


def _dependence(flow: Flow, states: list[State], times: Tensor) -> tuple[bool, bool, bool]:
    """Dependence of the force on t, on v, and work of the part that depends on v: by trying."""
    on_time, on_velocity, work, scale = False, False, 0.0, 0.0
    for (x, v), t in zip(states, times, strict=True):
        x, v = x[:POINTS], v[:POINTS]
        force, still = flow.force(x, v, t), flow.force(x, torch.zeros_like(v), t)
        on_time = on_time or not torch.equal(force, flow.force(x, v, times[MOMENTS // 3]))
        on_velocity = on_velocity or not torch.equal(force, still)
        work += float(((force - still) * v).flatten(1).sum(1).abs().sum())
        scale += float(((force - still).flatten(1).norm(dim=1) * v.flatten(1).norm(dim=1)).sum())
    return on_time, on_velocity, work > 1e-9 * scale


def _at_rest(flow: Flow, states: list[State], times: Tensor) -> list[Derivatives]:
    def force(x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return flow.force(x, torch.zeros_like(v), t)

    return [derivatives(force, x[:POINTS], v[:POINTS], t) for (x, v), t in zip(states, times, strict=True)]


def _lyapunov(flow: Flow, start: State, duration: float, step: float, units: tuple[float, float]) -> Lyapunov:
    steps = max(FEWEST, math.ceil(duration / step))
    shorter = min(1.0, MOST / steps)
    return lyapunov(flow.force, start, shorter * duration, min(steps, MOST), units)


def _drift(flow: Flow, start: State, on_velocity: bool) -> Drift:
    """By the flow's own integrator and steps, where it has them; one with a closed form needs none."""
    if isinstance(flow, Simulated):
        flights = flow.flights
    else:
        flights = Flights(_OfFlow(flow, on_velocity), flow.T, OWN_STEPS, "rk4" if on_velocity else "leapfrog")
    potential = potential_of(flow.force, start.x)
    return energy_drift(flights.course, potential, start, flow.T, flights.steps, flights.integrator)


class _OfFlow(Force):
    """The force of a flow that is not made of one."""

    def __init__(self, flow: Flow, on_velocity: bool) -> None:
        self._flow, self._on_velocity = flow, on_velocity

    @property
    def depends_on_velocity(self) -> bool:  # type: ignore[override]
        return self._on_velocity

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return self._flow.force(x, v, t)


def _floor(x: Tensor) -> float:
    """From halves of x, shared out anew eight times."""
    rng, squares = generator("mixing floor"), []
    for _ in range(8):
        order = torch.randperm(len(x), generator=rng)
        squares.append(_distance(x[order[: len(x) // 2]], x[order[len(x) // 2 :]]) ** 2)
    return math.sqrt(sum(squares) / len(squares))


def _distance(x: Tensor, y: Tensor) -> float:
    return two_sample(x, y, permutations=1).shift


def _sizes(x: Tensor) -> Tensor:
    return x.flatten(1).square().mean(1).sqrt()


def _root_mean_square(parts: list[Tensor]) -> float:
    return float(torch.stack(parts).square().mean().sqrt()) or 1.0


def _correlation(x: Tensor, y: Tensor) -> float:
    x, y = (part.flatten(1) - part.flatten(1).mean(0) for part in (x, y))
    size = float((x.square().sum() * y.square().sum()).sqrt())
    return float((x * y).sum()) / size if size else 0.0
