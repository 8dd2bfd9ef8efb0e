"""Hamiltonian score matching (HSM24, section 4): F is the score if and only if its own flow keeps v unpredictable.

With x0 ~ pi, v0 ~ N(0, I) independent and F as the force, V(x, t) = E[v_t | x_t = x] vanishes for all t if and only if
F = grad log pi; in general V = t (F - grad log pi) + O(t^2). Both losses fly F's own leapfrog.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.func import functional_call

from hgfctl.engine.integrators import reversible
from hgfctl.engine.integrators.symplectic import LEAPFROG
from hgfctl.engine.losses.loss import Loss
from hgfctl.engine.losses.score_loss import dot, noise_like
from hgfctl.engine.models.score import Field, Score
from hgfctl.engine.phase_space import State
from hgfctl.engine.provided import CRITIC, DataScale


@dataclass(frozen=True)
class HSMGalerkin(Loss):
    """HSM without a critic: 2 sum_i w_i E[v_i / t_i . F(x_i)] along F's own flight, no gradient through it.

    HSD = 0 if and only if E[v_t . psi(x_t)] = 0 for every psi; psi here are the directions in which F can move. It is a
    fixed-point iteration, not the gradient of HSD: its root is V = 0. T must stay below about (pi/2) / sqrt(the largest
    curvature of -log pi); leapfrog's own error biases the root by O((T/steps)^2).

    Args:
        duration: T.
        steps: of the leapfrog; looks at t_i = i T / steps with weights w_i ~ t_i^2 of sum 1.
        antithetic: fly with +v0 and -v0, at twice the cost; without, the gradient's variance grows as 1/T^2.
    """

    trains: ClassVar = (Score,)
    duration: float = 0.1
    steps: int = 1
    antithetic: bool = True

    def __post_init__(self) -> None:
        _require(self.duration, self.steps)

    @property
    def flight(self) -> float:
        return self.duration

    def __call__(self, field: Field, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        v0 = noise_like(x0, rng)
        if not self.antithetic:
            return galerkin(field, State(x0, v0), labels, self.duration, self.steps)
        pairs = State(torch.cat([x0, x0]), torch.cat([v0, -v0]))
        both = None if labels is None else torch.cat([labels, labels])
        return galerkin(field, pairs, both, self.duration, self.steps).reshape(2, -1).mean(0)


def galerkin(field: Field, start: State, labels: Tensor | None, duration: float | Tensor, steps: int) -> Tensor:
    """The loss of `HSMGalerkin` for flights from `start`, (B,).

    Its value estimates J(F) = E |F|^2 + 2 E div F, as that of the classical losses does; its gradient comes from the
    factors psi alone.

    Args:
        field: F, which is the force, too.
        start: (x0, v0).
        labels: (B,) or None.
        duration: T, or (B,) with each flight's own.
        steps: of the leapfrog.
    """
    share = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    times = share * duration if isinstance(duration, float) else share.unsqueeze(1) * duration.double().cpu()
    guesses: list[Tensor] = []

    def force(x: Tensor, t: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and bool(guesses)):  # F(x0) enters the flight only
            guesses.append(field(x, labels))
        return guesses[-1].detach()

    flight = list(LEAPFROG.trajectory(force, start, times))
    weights = (times.square() / times.square().sum(0))[1:].to(start.x)
    parts = zip(weights, times[1:].to(start.x), flight[1:], guesses[1:], strict=True)
    terms = [w * (2 / t * dot(state.v, psi) - dot(psi.detach(), psi.detach())) for w, t, state, psi in parts]
    return torch.stack(terms).sum(0)


class HSMMinMax(nn.Module, Loss):
    """HSM as a game (HSM24, section 4): F minimises what the critic V_phi maximises,

        E[ 2 V_phi(x_t, t) . v_t - |V_phi(x_t, t)|^2 ] / t^2,

    which at the critic's optimum is HSD_t / t^2. Gradients for F flow through the flight. One backward pass serves both
    players: each sees the other's weights as constants, and the critic's part enters with the opposite sign.

    Args:
        critic: a network C(x, noise, labels), called with noise = ln(t)/4.
        sd: root mean square of the data per coordinate: the critic sees x/sd.
        duration: T.
        steps: of the leapfrog to T; each batch flies to t = i T / steps with i drawn from 1 ... steps.
        antithetic: fly with +v0 and -v0, at twice the cost.
        form: "plain", V = t C(x, t) / sd; "residual", V = t (F(x) - C(x, t) / sd) with F held, whose optimal C is the
            score, whatever F is, so that the critic need not chase F.
        adjoint: how gradients flow through the flight; "reversible" in memory that does not grow with its steps.
    """

    trains: ClassVar = (Score,)
    learners: ClassVar = "the field or its critic"

    def __init__(
        self,
        critic: Annotated[nn.Module, CRITIC],
        sd: DataScale,
        duration: float = 0.1,
        steps: int = 1,
        antithetic: bool = True,
        form: Literal["plain", "residual"] = "residual",
        adjoint: Literal["autograd", "reversible"] = "autograd",
    ) -> None:
        super().__init__()
        _require(duration, steps)
        self.critic, self.sd = critic, sd
        self.duration, self.steps, self.antithetic = duration, steps, antithetic
        self.form, self.adjoint = form, adjoint

    @property
    def flight(self) -> float:
        return self.duration

    def forward(self, field: nn.Module, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        """(B,): the value is the game's; its gradient descends for the field and ascends for the critic."""
        v0 = noise_like(x0, rng)
        reached = int(torch.randint(1, self.steps + 1, (), generator=rng))
        times = self.duration / self.steps * torch.arange(reached + 1, dtype=torch.float64)
        if not self.antithetic:
            return self._game(field, State(x0, v0), labels, times)
        pairs = State(torch.cat([x0, x0]), torch.cat([v0, -v0]))
        both = None if labels is None else torch.cat([labels, labels])
        return self._game(field, pairs, both, times).reshape(2, -1).mean(0)

    def _game(self, field: nn.Module, start: State, labels: Tensor | None, times: Tensor) -> Tensor:
        def force(x: Tensor, t: Tensor) -> Tensor:
            here: Tensor = field(x, labels)
            return here

        if self.adjoint == "reversible":
            end = reversible.integrate(LEAPFROG, force, start, times, list(field.parameters()))
        else:
            end = LEAPFROG.integrate(force, start, times)
        held_field = {name: p.detach() for name, p in field.named_parameters()}
        held_critic = {name: p.detach() for name, p in self.critic.named_parameters()}
        t = float(times[-1])

        def value(state: State, critic: dict[str, Tensor]) -> Tensor:
            noise = state.x.new_full((len(state.x),), math.log(t) / 4)
            guess = t / self.sd * functional_call(self.critic, critic, (state.x / self.sd, noise, labels))
            if self.form == "residual":
                guess = t * functional_call(field, held_field, (state.x, labels)) - guess
            return (2 * dot(guess, state.v) - dot(guess, guess)) / t**2

        descends = value(end, held_critic)
        ascends = value(State(end.x.detach(), end.v.detach()), dict(self.critic.named_parameters()))
        return descends - (ascends - ascends.detach())


def _require(duration: float, steps: int) -> None:
    if not 0 < duration < math.inf:
        raise ValueError(f"duration must be positive and finite, not {duration}")
    if steps < 1:
        raise ValueError(f"steps must be 1 or more, not {steps}")
