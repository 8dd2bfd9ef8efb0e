"""How far a field F is from the score: the explicit error (ESM), and the Hamiltonian score discrepancy (HSD).

HSD_t = E |V(x_t, t)|^2 with V(x, t) = E[v_t | x_t = x] under the force F (HSM24, section 4). It needs no score,
vanishes for all t if and only if F is the score, and HSD_t / t^2 -> ESM as t -> 0.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.data.density import ExactDensity
from hgfctl.engine.flows.flow import State
from hgfctl.engine.integrators.integrator import Force
from hgfctl.engine.integrators.symplectic import LEAPFROG


class Estimate(NamedTuple):
    """A mean over items, and its standard error."""

    value: float
    error: float


class ScoreError(NamedTuple):
    """E |F - s|^2, and the same over E |s|^2."""

    esm: Estimate
    relative: float


@torch.no_grad()
def score_error(field: Callable[[Tensor], Tensor], density: ExactDensity, x: Tensor) -> ScoreError:
    """The explicit error on draws x (N, d) of the density; field: (N, d) -> (N, d)."""
    score = density.score(x.double())
    miss = (field(x).double() - score).square().sum(1)
    return ScoreError(_mean(miss), float(miss.mean() / score.square().sum(1).mean()))


@torch.no_grad()
def liouville_hvp(
    force: Force,
    log_prob: Callable[[Tensor], Tensor],
    x: Tensor,
    t: float,
    steps: int,
    nodes: int = 28,
) -> Tensor:
    """V(x, t) under any force in the plane, without noise: Liouville's theorem and Gauss-Hermite quadrature.

    The flow keeps volume, so the density at (x, v, t) is p0 = pi x N(0, I) at the point that flies there:
    V(x, t) = int v p0(Phi_-t(x, v)) dv / int p0(Phi_-t(x, v)) dv.

    Args:
        force: F(x, t).
        log_prob: of the data, (B, 2) -> (B,).
        x: (B, 2).
        t: time of flight.
        steps: of the leapfrog that flies it, whose own error is part of V.
        nodes: of the quadrature, a coordinate of v.

    Returns:
        (B, 2), float64.
    """
    knots, weights = _gauss_hermite(nodes)
    v = torch.cartesian_prod(knots, knots)
    log_weight = torch.cartesian_prod(weights.log(), weights.log()).sum(1)
    count, x = len(x), x.double()
    here = State(x.repeat_interleave(len(v), 0), v.repeat(count, 1))
    start = LEAPFROG.integrate(force, here, torch.linspace(t, 0, steps + 1, dtype=torch.float64))
    # Against the quadrature's own weight N(v): what p0 at the start has besides.
    log_ratio = log_prob(start.x) + 0.5 * (here.v.square() - start.v.square()).sum(1)
    share = (log_ratio.reshape(count, -1) + log_weight).softmax(1)
    return share @ v


@torch.no_grad()
def hsd_exact(
    force: Force, density: ExactDensity, x0: Tensor, v0: Tensor, t: float, steps: int, nodes: int = 28, batch: int = 500
) -> Estimate:
    """HSD_t of a force in the plane, by `liouville_hvp` where the flight of (x0, v0), (N, 2) each, ends.

    Raises:
        ValueError: the data are not in the plane.
    """
    if density.dim != 2:
        raise ValueError(f"exact HSD is for data in the plane, and these have dimension {density.dim}")
    times = torch.linspace(0, t, steps + 1, dtype=torch.float64)
    ends = LEAPFROG.integrate(force, State(x0.double(), v0.double()), times).x
    parts = [liouville_hvp(force, density.log_prob, part, t, steps, nodes) for part in ends.split(batch)]
    return _mean(torch.cat(parts).square().sum(1))


def _gauss_hermite(nodes: int) -> tuple[Tensor, Tensor]:
    """Knots and weights of integrals against N(0, 1)."""
    from numpy.polynomial.hermite_e import hermegauss

    knots, weights = hermegauss(nodes)
    return torch.from_numpy(knots), torch.from_numpy(weights / math.sqrt(2 * math.pi))


def _mean(values: Tensor) -> Estimate:
    return Estimate(float(values.mean()), float(values.std() / math.sqrt(len(values))))
