"""Scores at noise levels: conversions, denoising losses and their measured crossing, Langevin sampling, curvature."""

import math

import pytest
import torch
from torch import Tensor, nn

from hgfctl.engine.data.dataset import Items, Noised
from hgfctl.engine.data.density import DensityData, known_density
from hgfctl.engine.data.mixture import GaussianMixture, gmm_mixture
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.losses.denoising import DenoisingHSM, denoising_dsm
from hgfctl.engine.metrics.hsd import Flights
from hgfctl.engine.metrics.stiffness import curvature
from hgfctl.engine.models.hvp import HVP, score_of_hvp
from hgfctl.engine.models.networks.mlp import MLP
from hgfctl.engine.models.networks.perceptron import Perceptron
from hgfctl.engine.models.noised_score import NoisedScore, ScoreHVP
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.langevin import LangevinSampler
from hgfctl.errors import RequestError


class ExactHVP(HVP):
    """A mixture's own predictor in the place of a trained one."""

    def __init__(self, mixture: GaussianMixture, flow: LinearFlow) -> None:
        super().__init__(nn.Identity(), flow)
        self.exact = MixtureHVP(mixture, flow)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.exact(x, t)


class ExactScore(NoisedScore):
    """A mixture's own scores in the place of learned ones."""

    def __init__(self, mixture: GaussianMixture) -> None:
        super().__init__(Perceptron((mixture.dim,), 0, width=4).double(), sd=0.8, sigma_min=0.01, sigma_max=20.0)
        self.mixture = mixture

    def forward(self, y: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        levels = sigma.expand(len(y))
        return torch.cat([self.mixture.noised(float(s)).score(x.unsqueeze(0)) for x, s in zip(y, levels, strict=True)])


@pytest.mark.parametrize("flow", [Diffusion(0.8), FlowMatching(0.8), Oscillation(0.8)], ids=["d", "fm", "osc"])
@pytest.mark.parametrize("sigma", [0.05, 0.7, 6.0])
def test_a_flows_score_is_that_of_noised_data(flow: LinearFlow, sigma: float) -> None:
    mixture = gmm_mixture()
    y = mixture.noised(sigma).sample(50, generator(0, "y"))
    found = score_of_hvp(ExactHVP(mixture, flow), sigma)(y, None)
    torch.testing.assert_close(found, mixture.noised(sigma).score(y), rtol=1e-9, atol=1e-9)


def test_a_score_of_noised_data_is_a_diffusions_predictor() -> None:
    mixture = gmm_mixture()
    x = mixture.noised(0.4).sample(50, generator(0, "x"))
    for t in (0.4, 3.0):
        when = torch.tensor(t, dtype=torch.float64)
        wanted = MixtureHVP(mixture, Diffusion(0.8))(x, when)
        torch.testing.assert_close(ScoreHVP(ExactScore(mixture))(x, when), wanted, rtol=1e-9, atol=1e-9)


def test_noise_levels_that_a_flow_does_not_know_are_refused() -> None:
    with pytest.raises(RequestError, match="lies beyond"):
        score_of_hvp(ExactHVP(gmm_mixture(), Diffusion(0.8, sigma_max=80.0)), 100.0)
    with pytest.raises(RequestError, match="reflection"):
        score_of_hvp(HVP(nn.Identity(), Reflection(0.5)), 0.1)
    with pytest.raises(ValueError, match="sigma_min"):
        NoisedScore(nn.Identity(), 0.5, 1.0, 1.0)


def model(gain: str = "data", seed: int = 0) -> NoisedScore:
    torch.manual_seed(seed)
    network = MLP((2,), 0, width=16, blocks=1)
    nn.init.normal_(network.dec.weight, std=0.1)
    return NoisedScore(network, 0.8, 0.02, 3.0, gain).double()  # type: ignore[arg-type]


def gradient(loss: DenoisingHSM, method: str, score: NoisedScore, sigma: float, count: int) -> list[Tensor]:
    x0 = gmm_mixture().sample(count, generator(0, "x"))
    level = x0.new_full((count,), sigma)
    z, v = (torch.randn(x0.shape, generator=generator(1, name), dtype=torch.float64) for name in "zv")
    value = loss._loss(method)(score, x0, None, level, z, v).mean()
    return list(torch.autograd.grad(value, [score.network.dec.weight, score.network.enc.weight]))  # type: ignore[union-attr,list-item]


@pytest.mark.parametrize("gain", ["noise", "data"])
@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_both_ways_to_learn_the_score_of_noised_data_have_one_gradient(gain: str, sigma: float) -> None:
    """And it is that of the explicit loss E |F - s_sigma|^2 / (d gain^2)."""
    score, law = model(gain), gmm_mixture().noised(sigma)
    y = law.sample(200_000, generator(2, "y"))
    level = torch.tensor(sigma, dtype=torch.float64)
    miss = (score(y, level) - law.score(y)).square().sum(1).mean() / (2 * score.gain(level) ** 2)
    explicit = torch.autograd.grad(miss, [score.network.dec.weight, score.network.enc.weight])  # type: ignore[union-attr,list-item]
    loss = DenoisingHSM(antithetic=True)
    for method in ("dsm", "hsm"):
        for found, wanted in zip(gradient(loss, method, score, sigma, 200_000), explicit, strict=True):
            assert float((found - wanted).norm() / wanted.norm()) < 0.05


def test_the_crossing_is_where_the_measured_ratios_cross() -> None:
    loss, score = DenoisingHSM(levels=3), model()
    assert loss.crossing(score) == 0.0  # nothing measured yet
    loss.measured += 1
    loss.signal.fill_(1.0)
    low, middle, high = loss.ladder(score).tolist()
    assert (low, high) == pytest.approx((0.02, 3.0))
    # At equal cost HSM is twice as good at the lowest level, as good at the middle one, and worse at the highest.
    loss.noise[0] = torch.tensor([2.0, 1.0, 0.1], dtype=torch.float64)
    loss.noise[1] = 3 / 8
    assert loss.crossing(score) == pytest.approx(middle)
    loss.noise[0] = torch.tensor([4.0, 0.25, 0.1], dtype=torch.float64)
    assert loss.crossing(score) == pytest.approx(math.sqrt(low * middle))
    loss.noise[0] = 0.1
    assert loss.crossing(score) == 0.0
    loss.noise[0] = 9.0
    assert loss.crossing(score) == math.inf
    assert loss.facts(score) == {"hsm_below_sigma": 3.0}
    assert DenoisingHSM("hsm").crossing(score) == math.inf
    assert denoising_dsm().crossing(score) == 0.0


def test_the_measured_signal_to_noise_is_that_of_the_gradients() -> None:
    """Against the spread of the gradients of many single items."""
    loss, score = DenoisingHSM(levels=2), model()
    x0 = gmm_mixture().sample(8 * 400, generator(0, "x"))
    for i in range(30):
        loss.adapt(score, x0, None, generator(i, "adapt"))
    for k, level in enumerate(loss.ladder(score).tolist()):
        for m, method in enumerate(("dsm", "hsm")):
            singles = [
                loss._gradient(method, score, x0[i : i + 1], None, level, generator(i, "one")) for i in range(500)
            ]
            spread = float(torch.stack(singles).var(0).sum())
            assert float(loss.noise[m, k]) == pytest.approx(spread, rel=0.3)
    assert loss.noise[0, 0] > 100 * loss.noise[0, 1]  # DSM's noise blows up at the low level
    assert 0.02 < loss.crossing(score) < 3.0


def test_a_measurement_leaves_training_alone() -> None:
    """Weights are as before, and no gradient is left behind for the next step."""
    score, x0 = model(), gmm_mixture().sample(64, generator(0, "x"))
    before = {name: p.clone() for name, p in score.named_parameters()}
    loss = DenoisingHSM(levels=2)
    loss.adapt(score, x0, None, generator(0, "adapt"))
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in score.named_parameters())


class Gaussian(nn.Module):
    """N = 0: F is exactly the score of N(0, (sd^2 + sigma^2) I)."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)


def test_langevin_samples_a_gaussian() -> None:
    sampler = LangevinSampler((3,), 0, NoisedScore(Gaussian(), sd=0.8, sigma_min=0.1, sigma_max=4.0), budget=300)
    (batch,) = sampler.batches(torch.arange(6000), 6000)
    assert sampler.nfe == 300
    assert sampler.levels[[0, -1]].tolist() == pytest.approx([4.0, 0.1])
    # The last evaluation shrinks the law at sigma_min by sd^2 / (sd^2 + sigma_min^2).
    wanted = 0.8**2 * (0.8**2 / (0.8**2 + 0.1**2))
    assert float(batch.x.double().var()) == pytest.approx(wanted, rel=0.035)
    correlation = torch.corrcoef(batch.x.T.double())
    assert float((correlation - torch.eye(3)).abs().max()) < 0.05


def test_a_langevin_sample_depends_on_its_seed_alone() -> None:
    sampler = LangevinSampler((2,), 0, model(), budget=20)
    (whole,) = sampler.batches(torch.arange(9), 9)
    parts = torch.cat([part.x for part in sampler.batches(torch.arange(3, 9), 2)])
    torch.testing.assert_close(parts, whole.x[3:], rtol=1e-5, atol=1e-6)
    for wrong in ({"budget": 2}, {"budget": 20, "step": 2.5}):
        with pytest.raises(RequestError):
            LangevinSampler((2,), 0, model(), **wrong)  # type: ignore[arg-type]


def test_curvature_is_that_of_the_potential() -> None:
    slope = torch.diag(torch.tensor([-4.0, 9.0, -1.0], dtype=torch.float64))
    x = torch.randn(50, 3, generator=generator(0, "x"), dtype=torch.float64)
    found = curvature(lambda x, _: x @ slope, x, rounds=20)
    assert found.size == pytest.approx(9.0, rel=1e-3)  # a repelling direction
    assert found.positive == pytest.approx(4.0, rel=1e-3)
    assert found.quarter_period == pytest.approx(math.pi / 4, rel=1e-3)
    assert curvature(lambda x, _: x, x, rounds=20).quarter_period == math.inf


def test_noised_data_are_the_data_with_noise() -> None:
    law = gmm_mixture()
    assert known_density(DensityData(law).noised(0.3)) is not None
    items = Items(torch.zeros(50, 2), torch.arange(50) % 4)
    noised = items.noised(0.3)
    assert isinstance(noised, Noised)
    assert (noised.shape, noised.classes, noised.count) == ((2,), 4, 50)
    x, labels = noised.batch(0, 5000, seed=1)
    assert float(x.std()) == pytest.approx(0.3, rel=0.03)
    assert torch.equal(x, noised.batch(0, 5000, seed=1).x)
    assert labels is not None
    assert noised.root_mean_square() == pytest.approx(0.3)
    assert known_density(noised) is None


def test_a_critic_is_judged_by_items_that_it_has_not_seen() -> None:
    """HSD of data that a critic could learn by heart: on held-out items it cannot look better than it is."""
    x = torch.randn(40, 8, generator=generator(0, "x"))
    fit, held_out = Items(x).split()
    assert (len(fit), len(held_out)) == (32, 8)
    rows = torch.cat([fit.x, held_out.x])
    assert len(torch.unique(rows, dim=0)) == 40
    torch.manual_seed(0)
    flights = Flights(lambda x, _: -x, Items(x), sd=1.0, t=0.3)
    critic = Perceptron((8,), 0, width=64)
    flights.train(critic, fits=300, batch=64)
    seen = flights.gain(critic, fit, 0, 32, "seen").detach().mean()
    judged = flights.judge(critic)
    assert float(seen) > judged.value + 2 * judged.error
    assert judged.error > 0
