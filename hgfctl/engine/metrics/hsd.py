"""The Hamiltonian score discrepancy of a field F: how far it is from the score, where the score is not known.

HSD_t = E |V(x_t, t)|^2 with V(x, t) = E[v_t | x_t = x] under the force F, x0 ~ pi, v0 ~ N(0, I) (HSM24, section 4). It
vanishes for all t if and only if F is the score, and HSD_t / t^2 -> E |F - grad log pi|^2 as t -> 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.density import ExactDensity
from hgfctl.engine.integrators.integrator import Force
from hgfctl.engine.integrators.symplectic import LEAPFROG
from hgfctl.engine.losses.score_loss import dot, noise_like
from hgfctl.engine.models.score import Field
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.estimate import Estimate, mean


def flight_times(t: float, steps: int) -> Tensor:
    """(steps + 1,) times from 0 to t, float64."""
    return torch.linspace(0, t, steps + 1, dtype=torch.float64)


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
    start = LEAPFROG.integrate(force, here, flight_times(t, steps).flip(0))
    # Against the quadrature's own weight N(v): what p0 at the start has besides.
    log_ratio = log_prob(start.x) + 0.5 * (here.v.square() - start.v.square()).sum(1)
    share = (log_ratio.reshape(count, -1) + log_weight).softmax(1)
    return share @ v


@torch.no_grad()
def hsd_exact(
    force: Force, density: ExactDensity, x0: Tensor, v0: Tensor, t: float, steps: int, nodes: int = 28, batch: int = 32
) -> Estimate:
    """HSD_t of a force in the plane, by `liouville_hvp` where the flight of (x0, v0), (N, 2) each, ends.

    Raises:
        ValueError: the data are not in the plane.
    """
    if density.dim != 2:
        raise ValueError(f"exact HSD is for data in the plane, and these have dimension {density.dim}")
    ends = LEAPFROG.integrate(force, State(x0.double(), v0.double()), flight_times(t, steps)).x
    parts = [liouville_hvp(force, density.log_prob, part, t, steps, nodes) for part in torch.split(ends, batch)]
    return mean(torch.cat(parts).square().sum(1))


def _gauss_hermite(nodes: int) -> tuple[Tensor, Tensor]:
    """Knots and weights of integrals against N(0, 1)."""
    from numpy.polynomial.hermite_e import hermegauss

    knots, weights = hermegauss(nodes)
    return torch.from_numpy(knots), torch.from_numpy(weights / math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Flights:
    """Pairs of flights of a field from the data, with +v0 and -v0, and what a critic makes of them.

    Args:
        field: the force.
        data: where flights start.
        sd: root mean square of the data per coordinate.
        t: time of flight.
        steps: of its leapfrog.
        seed: of the draws.
    """

    field: Field
    data: DataSet
    sd: float
    t: float
    steps: int = 4
    seed: int = 0

    def hvp(self, critic: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
        """V_phi = t C(x / sd) / sd of a network C(x, noise, labels): (B, *D) -> (B, *D)."""
        noise = x.new_full((len(x),), math.log(self.t) / 4)
        velocity: Tensor = self.t / self.sd * critic(x / self.sd, noise, labels)
        return velocity

    def gain(self, critic: nn.Module, data: DataSet, first: int, count: int, key: str) -> Tensor:
        """2 V_phi . v_t - |V_phi|^2, averaged over the two flights of a pair: (count,)."""
        device = next(critic.parameters()).device
        drawn = data.batch(first, count, generator(self.seed, "hsd", key).initial_seed())
        x0 = drawn.x.to(device)
        labels = None if drawn.labels is None else torch.cat([drawn.labels, drawn.labels]).to(device)
        v0 = noise_like(x0, generator(self.seed, "hsd", key, first))
        start = State(torch.cat([x0, x0]), torch.cat([v0, -v0]))
        with torch.no_grad():
            times = flight_times(self.t, self.steps)
            end = LEAPFROG.integrate(lambda x, _: self.field(x, labels), start, times)
        guess = self.hvp(critic, end.x, labels)
        return (2 * dot(guess, end.v) - dot(guess, guess)).reshape(2, -1).mean(0)

    def train(self, critic: nn.Module, fits: int = 1500, batch: int = 256, lr: float = 3e-3) -> None:
        """Adam on the gain of `batch` pairs a step, the learning rate falling to 0 linearly."""
        data, _ = self.data.split()
        critic.train()
        device = next(critic.parameters()).device
        adam = torch.optim.Adam(critic.parameters(), lr=lr, fused=device.type != "mps")
        for i in range(fits):
            for group in adam.param_groups:
                group["lr"] = lr * (1 - i / fits)
            adam.zero_grad()
            loss = -self.gain(critic, data, i * batch, batch, "fit").mean() / self.t**2
            torch.autograd.backward(loss)
            adam.step()
        critic.eval()

    @torch.no_grad()
    def judge(self, critic: nn.Module, pairs: int = 20_000, batch: int = 256) -> Estimate:
        """The mean gain on flights that the critic has not seen; of finite data, from items that it has not."""
        _, data = self.data.split()
        count = int(min(pairs, data.count))
        parts = [
            self.gain(critic, data, i, min(batch, count - i), "held out").double().cpu() for i in range(0, count, batch)
        ]
        return mean(torch.cat(parts))


def hsd_by_critic(flights: Flights, critic: nn.Module, fits: int = 1500, batch: int = 256) -> Estimate:
    """HSD_t by a trained critic, in any dimension: E[2 V_phi . v_t - |V_phi|^2] on held-out flights.

    Above HSD_t only by chance, below it by what the critic has failed to learn, E |V - V_phi|^2; it may be negative.
    The noise of a pair of flights cancels, mostly.

    Args:
        flights: of the field that is judged.
        critic: a network C(x, noise, labels), freshly initialised. Trained in place.
        fits: training steps of the critic.
        batch: pairs a step.
    """
    flights.train(critic, fits, batch)
    return flights.judge(critic, batch=batch)
