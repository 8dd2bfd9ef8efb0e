"""Score matching of noised data at all noise levels with one noise-conditional network (HSM24, section 4).

At noise level sigma the data are y = x0 + sigma z. Both ways to learn their score have, in expectation, one gradient:

    DSM    |F(y, sigma) + z / sigma|^2              needs z, and has noise of order 1/sigma
    HSM    flights from y, see `HSMGalerkin`        needs y alone; flights come in pairs, and their noise is bounded

Where sigma is small HSM's gradient is the less noisy one; where it is large DSM's is, and costs less. From which level
on is measured while training: the signal-to-noise ratio of both gradients, at equal cost, over a ladder of levels.
"""

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor, nn

from hgfctl.engine.losses.hamiltonian import galerkin
from hgfctl.engine.losses.loss import Loss
from hgfctl.engine.losses.score_loss import dot, noise_like
from hgfctl.engine.losses.times import stratified
from hgfctl.engine.models.noised_score import NoisedScore
from hgfctl.engine.phase_space import State

Method = Literal["dsm", "hsm"]

PARTS = 8
"""Number of parts that a batch is split into, to measure the noise of its gradient."""
COST = {"dsm": 1.0, "hsm": 8 / 3, "dsm antithetic": 2.0}
"""Cost of an item, in network evaluations with their gradient, each as much as three without one. A pair of flights has
two with a gradient and two without."""


class DenoisingHSM(nn.Module, Loss):
    """DSM above a noise level, HSM below it; the level is where their measured signal-to-noise ratios cross.

    Noise levels are drawn log-uniformly between those of the model; each item is weighted by 1 / (d gain^2), so that
    the network's error counts alike at all levels.

    Args:
        method: "measured", or one of the two at all levels.
        duration: T of a flight at noise level sigma, in units of sigma: the curvature of -log p_sigma is 1/sigma^2 at
            most, so flights stay stable below pi/2. The bias falls as T^2, and the noise does not grow.
        steps: of the leapfrog.
        antithetic: DSM at y = x0 + sigma z and x0 - sigma z, which bounds its noise at twice the cost.
        levels: of the ladder.
        every: training steps between two measurements; each takes about `levels` times as long as three steps.
    """

    trains: ClassVar = (NoisedScore,)

    def __init__(
        self,
        method: Literal["measured", "dsm", "hsm"] = "measured",
        duration: float = 0.1,
        steps: int = 1,
        antithetic: bool = False,
        levels: int = 8,
        every: int = 500,
    ) -> None:
        super().__init__()
        if not 0 < duration < math.pi / 2:
            raise ValueError(f"duration must lie between 0 and pi/2 (units of sigma), not at {duration}")
        if steps < 1 or levels < 2 or every < 1:
            raise ValueError("steps and every must be 1 or more, and levels 2 or more")
        self.method, self.duration, self.steps, self.antithetic = method, duration, steps, antithetic
        self.every = every
        self.signal: Tensor
        """(levels,): |E g|^2 of the gradient g that both methods share."""
        self.noise: Tensor
        """(2, levels): tr Var g of an item, of DSM and of HSM."""
        self.measured: Tensor
        """(): how often."""
        self.register_buffer("signal", torch.zeros(levels, dtype=torch.float64))
        self.register_buffer("noise", torch.zeros(2, levels, dtype=torch.float64))
        self.register_buffer("measured", torch.zeros((), dtype=torch.int64))

    def forward(self, score: NoisedScore, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        """(B,); see `Loss`."""
        share = stratified(len(x0), rng)
        share = share[torch.randperm(len(x0), generator=rng)]
        low, high = math.log(score.sigma_min), math.log(score.sigma_max)
        sigma = (low + (high - low) * share).exp()
        by_hsm = sigma < self.crossing(score)
        z = noise_like(x0, rng)
        v = noise_like(x0, rng)
        loss = x0.new_zeros(len(x0))
        for method, chosen in (("dsm", ~by_hsm), ("hsm", by_hsm)):
            index = chosen.nonzero().squeeze(1)
            if not len(index):
                continue
            here = index.to(x0.device)
            of_them = None if labels is None else labels[here]
            part = self._loss(method)(score, x0[here], of_them, sigma[index].to(x0), z[here], v[here])
            loss = loss.index_put((here,), part)
        return loss

    def crossing(self, score: NoisedScore) -> float:
        """The noise level below which HSM is used: 0 for nowhere, infinity for everywhere."""
        if self.method != "measured":
            return 0.0 if self.method == "dsm" else math.inf
        if not self.measured:
            return 0.0
        dsm, hsm = self.signal_to_noise().log()
        lead = (hsm - dsm).tolist()
        ladder = self.ladder(score).log().tolist()
        if lead[0] <= 0:
            return 0.0
        for i in range(len(lead) - 1):
            if lead[i + 1] <= 0:
                return math.exp(ladder[i] + (ladder[i + 1] - ladder[i]) * lead[i] / (lead[i] - lead[i + 1]))
        return math.inf

    def signal_to_noise(self) -> Tensor:
        """(2, levels): |E g|^2 / (cost tr Var g) of an item, of DSM and of HSM."""
        cost = torch.tensor([COST["dsm antithetic" if self.antithetic else "dsm"], COST["hsm"]], dtype=torch.float64)
        return self.signal.clamp_min(1e-300).cpu() / (cost.unsqueeze(1) * self.noise.cpu().clamp_min(1e-300))

    def ladder(self, score: NoisedScore) -> Tensor:
        """(levels,): the noise levels at which gradients are measured, from the lowest to the highest."""
        ends = torch.tensor([score.sigma_min, score.sigma_max], dtype=torch.float64).log()
        return torch.linspace(float(ends[0]), float(ends[1]), len(self.signal), dtype=torch.float64).exp()

    def adapt(self, score: NoisedScore, x0: Tensor, labels: Tensor | None, rng: Generator) -> None:
        """Measures signal and noise of both gradients on a batch, and averages with what was measured before."""
        if self.method != "measured" or len(x0) < PARTS:
            return
        signal, noise = torch.zeros_like(self.signal), torch.zeros_like(self.noise)
        for k, level in enumerate(self.ladder(score).tolist()):
            means = []
            for m, method in enumerate(("dsm", "hsm")):
                gradients = torch.stack(
                    [self._gradient(method, score, x, y, level, rng) for x, y in _parts(x0, labels)]
                )
                means.append(gradients.mean(0))
                noise[m, k] = (gradients - means[m]).square().sum() / (PARTS - 1) * (len(x0) // PARTS)
            # One expectation, independent noises: their product estimates its square without the noise's own.
            signal[k] = (means[0] * means[1]).sum().clamp_min(0)
        share = 1.0 if not self.measured else 0.3
        self.signal.lerp_(signal, share)
        self.noise.lerp_(noise, share)
        self.measured += 1

    def facts(self, score: NoisedScore) -> dict[str, float]:
        """`hsm_below_sigma`: the noise level below which HSM is used."""
        crossing = self.crossing(score)
        return {"hsm_below_sigma": min(crossing, score.sigma_max)}

    def _gradient(
        self, method: str, score: NoisedScore, x0: Tensor, labels: Tensor | None, level: float, rng: Generator
    ) -> Tensor:
        """The gradient of the mean loss of a part of the batch at one noise level, flat, float64."""
        weights = list(score.parameters())
        with torch.enable_grad():
            loss = self._loss(method)(
                score, x0, labels, x0.new_full((len(x0),), level), noise_like(x0, rng), noise_like(x0, rng)
            ).mean()
            gradient = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        return torch.cat([g.flatten() for g in gradient]).to(self.noise)

    def _loss(self, method: str) -> Callable[..., Tensor]:
        return self._dsm if method == "dsm" else self._hsm

    def _dsm(
        self, score: NoisedScore, x0: Tensor, labels: Tensor | None, sigma: Tensor, z: Tensor, v: Tensor
    ) -> Tensor:
        wide = sigma.reshape(-1, *[1] * (x0.ndim - 1))
        sides = [z, -z] if self.antithetic else [z]
        guesses = [(score(x0 + wide * side, sigma, labels), side) for side in sides]
        terms = [dot(guess, guess) + 2 / sigma * dot(guess, side) for guess, side in guesses]
        return self._weight(score, x0, sigma) * torch.stack(terms).mean(0)

    def _hsm(
        self, score: NoisedScore, x0: Tensor, labels: Tensor | None, sigma: Tensor, z: Tensor, v: Tensor
    ) -> Tensor:
        y = x0 + sigma.reshape(-1, *[1] * (x0.ndim - 1)) * z
        levels = torch.cat([sigma, sigma])
        both = None if labels is None else torch.cat([labels, labels])
        pairs = State(torch.cat([y, y]), torch.cat([v, -v]))
        terms = galerkin(lambda x, labels: score(x, levels, labels), pairs, both, self.duration * levels, self.steps)
        return self._weight(score, x0, sigma) * terms.reshape(2, -1).mean(0)

    @staticmethod
    def _weight(score: NoisedScore, x0: Tensor, sigma: Tensor) -> Tensor:
        return 1 / (x0[0].numel() * score.gain(sigma).square())


def denoising_dsm(antithetic: bool = False) -> DenoisingHSM:
    """DSM at all noise levels: what `DenoisingHSM` is measured against.

    Args:
        antithetic: see `DenoisingHSM`.
    """
    return DenoisingHSM(method="dsm", antithetic=antithetic)


def _parts(x0: Tensor, labels: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    size = len(x0) // PARTS
    places = [slice(i * size, (i + 1) * size) for i in range(PARTS)]
    return [(x0[place], None if labels is None else labels[place]) for place in places]
