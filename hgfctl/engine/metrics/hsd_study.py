"""The worth of HSD, on densities in the plane whose score is known: does it follow ESM, what is its limit, what noise
have the gradients that it gives? No training: perturbed scores F = s + eps p(x) stand for learned ones.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.data.density import DensityData, ExactDensity
from hgfctl.engine.integrators.symplectic import LEAPFROG
from hgfctl.engine.losses.hamiltonian import galerkin
from hgfctl.engine.losses.score_loss import dot
from hgfctl.engine.metrics.hsd import Flights, flight_times, hsd_by_critic, hsd_exact, liouville_hvp
from hgfctl.engine.models.networks.perceptron import Perceptron
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator, seeded
from hgfctl.engine.statistics.estimate import Estimate, mean

Shape = Callable[[Tensor], Tensor]

SHAPES: dict[str, Shape] = {
    "linear": lambda x: x,
    "sine": lambda x: torch.sin(2 * x.flip(1)),
    "constant": lambda x: torch.tensor([1.0, -0.5], dtype=x.dtype).expand_as(x),
    "tanh": lambda x: torch.tanh(x.flip(1) * x),
}
"""Directions in which a score may be wrong: a gradient, a field with a curl, and two that are neither."""
SIZES = (0.1, 0.2, 0.4, 0.6, 0.9, 1.2, 1.6)
STEP = 0.05
"""Longest leapfrog step."""


@dataclass(frozen=True)
class Perturbed:
    """F(x) = s(x) + eps p(x)."""

    density: ExactDensity
    shape: Shape
    eps: float

    def __call__(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        return self.density.score(x) + self.eps * self.shape(x)


@dataclass(frozen=True)
class Agreement:
    """ESM and exact HSD_T of a family of perturbed scores.

    Args:
        t: T.
        esm, hsd: (fields,), in one order.
        pearson: their correlation.
    """

    t: float
    esm: Tensor
    hsd: Tensor
    pearson: float


def agreement(density: ExactDensity, t: float, items: int = 600, seed: int = 0) -> Agreement:
    """Over SHAPES x SIZES, 28 fields."""
    x0, v0 = _starts(density, items, seed)
    found = []
    for shape in SHAPES.values():
        for eps in SIZES:
            field = Perturbed(density, shape, eps)
            hsd = hsd_exact(field, density, x0, v0, t, _steps(t), nodes=24).value
            found.append((eps**2 * float(shape(x0).square().sum(1).mean()), hsd))
    esm, hsd = torch.tensor(found, dtype=torch.float64).T
    return Agreement(t, esm, hsd, float(torch.corrcoef(torch.stack([esm, hsd]))[0, 1]))


class Limit(NamedTuple):
    """HSD_t / (t^2 ESM) of one perturbed score at one t: exactly, or by a trained critic."""

    t: float
    ratio: Estimate


def limit(density: ExactDensity, times: Sequence[float], items: int = 1500, seed: int = 0) -> list[Limit]:
    """Exactly, for the sine of size 0.8. Numerator and denominator are averaged over the same starts."""
    x0, v0 = _starts(density, items, seed)
    field = Perturbed(density, SHAPES["sine"], 0.8)
    found = []
    for t in times:
        end = LEAPFROG.integrate(field, State(x0, v0), flight_times(t, _steps(t))).x
        v = torch.cat([liouville_hvp(field, density.log_prob, x, t, _steps(t)) for x in torch.split(end, 32)])
        hsd, esm = v.square().sum(1) / t**2, 0.64 * SHAPES["sine"](x0).square().sum(1)
        ratio = float(hsd.mean() / esm.mean())
        found.append(Limit(t, Estimate(ratio, mean(hsd - ratio * esm).error / float(esm.mean()))))
    return found


def limit_by_critic(density: ExactDensity, times: Sequence[float], fits: int = 600, seed: int = 0) -> list[Limit]:
    """The same as far as a critic finds it that is trained for so many steps."""
    x0, _ = _starts(density, 20_000, seed)
    field = Perturbed(density, SHAPES["sine"], 0.8)
    esm = 0.64 * float(SHAPES["sine"](x0).square().sum(1).mean())
    sd = float(x0.square().mean().sqrt())
    found = []
    for t in times:
        flights = Flights(lambda x, _: field(x.double()).float(), DensityData(density), sd, t, _steps(t), seed)
        with seeded(seed, torch.device("cpu")):  # the critic's weights are drawn from torch's global generator
            hsd = hsd_by_critic(flights, Perceptron((2,), 0), fits)
        found.append(Limit(t, Estimate(*(part / (t**2 * esm) for part in hsd))))
    return found


@dataclass(frozen=True)
class GradientNoise:
    """(E g)^2 / Var g of the per-item gradient g with respect to eps, at flight time t or noise level sigma = t.

    Args:
        levels: t = sigma.
        methods: name -> an estimate at each level.
    """

    levels: tuple[float, ...]
    methods: dict[str, list[Estimate]]


def gradient_noise(
    density: ExactDensity, levels: Sequence[float], items: int = 500, seed: int = 0, eps: float = 0.8
) -> GradientNoise:
    """Noise of F = s + eps p, p a sine: HSM with its best critic, HSM without one, and DSM; the last two with
    and without pairs.

    DSM learns the score of noised data, and its F is perturbed from that.
    """
    shape = SHAPES["sine"]
    found: dict[str, list[Estimate]] = {name: [] for name in METHODS}
    for level in levels:
        x0, v0 = _starts(density, items, seed)
        found["HSM, critic at its optimum"].append(_snr(_game(density, shape, eps, x0, v0, level)))
        x0, v0 = _starts(density, 200 * items, seed)
        for name, pairs in (("HSM without a critic", False), ("HSM without a critic, pairs", True)):
            found[name].append(_snr(_both(lambda v: _galerkin(density, shape, eps, x0, v, level), v0, pairs)))  # noqa: B023
        noised = density.noised(level)
        assert noised is not None
        for name, pairs in (("DSM", False), ("DSM, pairs", True)):
            found[name].append(_snr(_both(lambda z: _dsm(noised, shape, eps, x0, z, level), v0, pairs)))  # noqa: B023
    return GradientNoise(tuple(levels), found)


METHODS = (
    "HSM, critic at its optimum",
    "HSM without a critic, pairs",
    "HSM without a critic",
    "DSM, pairs",
    "DSM",
)


@dataclass(frozen=True)
class Study:
    """All three panels."""

    agreements: list[Agreement]
    exact: list[Limit]
    by_critic: list[Limit]
    noise: GradientNoise

    def facts(self) -> dict[str, Any]:
        """The numbers drawn."""
        return {
            "pearson": {str(a.t): a.pearson for a in self.agreements},
            "limit": {str(p.t): p.ratio for p in self.exact},
            "limit_by_critic": {str(p.t): p.ratio for p in self.by_critic},
            "signal_to_noise": {"t": self.noise.levels, **self.noise.methods},
        }


def study(
    density: ExactDensity, draws: int, seed: int, working: Callable[[str], AbstractContextManager[None]]
) -> Study:
    """Args:
    density: in the plane.
    draws: for each point of (b); the others take fewer.
    seed: of the draws.
    working: entered with the name of what is being measured.
    """
    with working("(a) 28 perturbed scores"):
        agreements = [agreement(density, t, 2 * draws // 5, seed) for t in (0.25, 0.5)]
    with working("(b) the limit"):
        exact = limit(density, (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8), draws, seed)
        by_critic = limit_by_critic(density, (0.025, 0.05, 0.1, 0.2, 0.4, 0.8), 2 * draws // 5, seed)
    with working("(c) signal to noise"):
        noise = gradient_noise(density, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5), draws // 3, seed)
    return Study(agreements, exact, by_critic, noise)


def _both(gradient: Callable[[Tensor], Tensor], noise: Tensor, pairs: bool) -> Tensor:
    return 0.5 * (gradient(noise) + gradient(-noise)) if pairs else gradient(noise)


def _game(density: ExactDensity, shape: Shape, eps: float, x0: Tensor, v0: Tensor, t: float) -> Tensor:
    """d/d eps of [2 V . v_t - |V|^2] / t^2 through the flight, V held as the best critic of eps itself."""
    steps, h = _steps(t), 1e-3

    def value(moved: float) -> Tensor:
        end = LEAPFROG.integrate(Perturbed(density, shape, moved), State(x0, v0), flight_times(t, steps))
        held = Perturbed(density, shape, eps)
        v = torch.cat([liouville_hvp(held, density.log_prob, x, t, steps) for x in torch.split(end.x, 32)])
        return (2 * dot(v, end.v) - dot(v, v)) / t**2

    return (value(eps + h) - value(eps - h)) / (2 * h)


def _galerkin(density: ExactDensity, shape: Shape, eps: float, x0: Tensor, v0: Tensor, t: float) -> Tensor:
    """Its loss is linear in what is not held: d/d eps puts p in the place of F."""
    size = torch.full((len(x0),), eps, dtype=torch.float64, requires_grad=True)
    loss = galerkin(
        lambda x, _: density.score(x) + size.unsqueeze(1) * shape(x), State(x0, v0), None, t, _steps(t, least=1)
    )
    (gradient,) = torch.autograd.grad(loss.sum(), size)
    return gradient


def _dsm(noised: ExactDensity, shape: Shape, eps: float, x0: Tensor, z: Tensor, sigma: float) -> Tensor:
    y = x0 + sigma * z
    return 2 * dot(noised.score(y) + eps * shape(y) + z / sigma, shape(y))


def _snr(gradients: Tensor) -> Estimate:
    """With the standard error of 100 bootstrap draws."""

    def ratio(g: Tensor) -> Tensor:
        return g.mean(-1).square() / g.var(-1)

    again = torch.randint(len(gradients), (100, len(gradients)), generator=generator(0, "bootstrap"))
    return Estimate(float(ratio(gradients)), float(torch.stack([ratio(gradients[i]) for i in again]).std()))


def _starts(density: ExactDensity, count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = generator(seed, "study")
    x0 = density.sample(count, rng)
    return x0, torch.randn(x0.shape, generator=rng, dtype=torch.float64)


def _steps(t: float, least: int = 4) -> int:
    return max(least, math.ceil(t / STEP - 1e-9))
