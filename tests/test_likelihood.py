"""Likelihoods against the closed forms of mixtures, boxes and Gaussians; the solver and the traces behind them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hgfctl.engine.data.checkerboard import Checkerboard
from hgfctl.engine.data.mixture import GaussianMixture, gmm_mixture, ring_mixture, spectral_mixture
from hgfctl.engine.evaluation.dequantisation import REACH, dequantised
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.integrators.dormand_prince import ERROR, A, C, solve
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.networks.unet import UNet
from hgfctl.engine.oracles.boxes import BoxesHVP
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.transport.divergence import ExactTrace, Hutchinson, rademacher
from hgfctl.engine.transport.likelihood import LogLikelihood, log_likelihood
from hgfctl.engine.transport.transport import Adaptive, Method, budgeted, transported, velocity_of
from hgfctl.errors import HgfctlError, RequestError

FLOWS: dict[str, LinearFlow] = {"diffusion": Diffusion(), "flow-matching": FlowMatching(), "oscillation": Oscillation()}


def of_mixture(mixture: GaussianMixture, flow: LinearFlow, x: Tensor, method: Method) -> tuple[LogLikelihood, Tensor]:
    """The likelihood by the exact HVP, and the log-density of x_T under its exact law minus that under the prior."""
    hvp = MixtureHVP(mixture, flow)
    found = log_likelihood(lambda x, t, _: hvp(x, t), flow, x, ExactTrace(mixture.dim), method)
    return found, hvp.log_prob(found.latents, torch.tensor(flow.T, dtype=torch.float64)) - flow.prior.log_prob(
        found.latents
    )


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("mixture", [ring_mixture, gmm_mixture])
def test_likelihood_of_a_mixture_is_its_density(flow: str, mixture: Callable[[], GaussianMixture]) -> None:
    x = mixture().sample(60, generator(0, "x"))
    found, prior = of_mixture(mixture(), FLOWS[flow], x, Adaptive(1e-6, 1e-6))
    error = found.value - mixture().log_prob(x)
    assert (error + prior).abs().max() < 1e-4
    assert (found.error == 0).all()
    if flow != "diffusion":
        assert error.abs().max() < 1e-4
        assert prior.abs().max() < 1e-9


def test_likelihood_in_24_dimensions() -> None:
    """Of 64, in tests/benchmarks/likelihood.py."""
    mixture = spectral_mixture(24, 8)
    x = mixture.sample(2, generator(0, "x"))
    found, _ = of_mixture(mixture, FLOWS["oscillation"], x, Adaptive(1e-7, 1e-7))
    assert (found.value - mixture.log_prob(x)).abs().max() < 1e-4


def test_the_bias_of_diffusion_is_that_of_its_prior() -> None:
    """To first order in 1/sigma_max, for data of mean m, it is x_T . m / sigma_max^2."""
    mixture, flow = gmm_mixture(), Diffusion(sigma_max=40.0)
    x = mixture.sample(60, generator(0, "x"))
    found, _ = of_mixture(mixture, flow, x, Adaptive(1e-7, 1e-7))
    error = found.value - mixture.log_prob(x)
    predicted = -(found.latents @ (mixture.weights @ mixture.means)) / flow.T**2
    assert error.abs().max() > 1e-3
    assert (error - predicted).abs().max() < 0.2 * error.abs().max()


@pytest.mark.parametrize(("sampler", "order"), [("heun", 2), ("rk4", 4), ("ab3", 3)])
def test_fixed_budgets_converge_at_their_order(sampler: str, order: int) -> None:
    mixture, flow = (
        GaussianMixture(torch.ones(2), torch.tensor([[0.3], [-0.3]]), 0.1 * torch.ones(2, 1, 1)),
        FLOWS["oscillation"],
    )
    x = mixture.sample(40, generator(0, "x"))
    errors = []
    for steps in (30, 60):
        method = budgeted(flow, steps * {"heun": 2, "rk4": 4, "ab3": 1}[sampler], sampler, "cosine")
        found, _ = of_mixture(mixture, flow, x, method)
        assert (found.evaluations == steps * {"heun": 2, "rk4": 4, "ab3": 1}[sampler]).all()
        errors.append(float((found.value - mixture.log_prob(x)).abs().mean()))
    assert math.log2(errors[0] / errors[1]) > order - 0.4


def test_likelihood_between_walls() -> None:
    """Uniform on boxes: a constant density, though positions are folded on their way. The oracle's V is not smooth at
    t = 0; at t = 0.001 the edges are blurred over 0.001."""
    board, flow = Checkerboard(), Reflection()
    hvp = BoxesHVP(board.lower, board.upper, flow)
    x = board.sample(40, generator(0, "x"))
    inside = (x / 0.5 - (x / 0.5).round()).abs().amin(1) > 0.02
    found = log_likelihood(lambda x, t, _: hvp(x, t), flow, x[inside], ExactTrace(2), Adaptive(1e-6, 1e-6), 1e-3)
    assert (found.value - board.log_prob(x[inside])).abs().max() < 2e-3
    assert ((found.latents >= flow.lo) & (found.latents <= flow.hi)).all()


def test_a_later_start_gives_the_density_of_that_time() -> None:
    mixture, flow = gmm_mixture(), FLOWS["oscillation"]
    hvp, t = MixtureHVP(gmm_mixture(), flow), torch.tensor(0.3, dtype=torch.float64)
    x = flow.state(mixture.sample(30, generator(0, "x")), torch.randn(30, 2, generator=generator(1)).double(), t).x
    found = log_likelihood(lambda x, t, _: hvp(x, t), flow, x, ExactTrace(2), Adaptive(1e-7, 1e-7), float(t))
    assert (found.value - hvp.log_prob(x, t)).abs().max() < 1e-5


def test_hutchinson_is_unbiased_within_its_error() -> None:
    """32 items, 24 probes each, seeds fixed: |sum| < 3 standard errors fails once in 370; the rms of z is near 1."""
    mixture, flow = spectral_mixture(24, 8), FLOWS["oscillation"]
    hvp, x = MixtureHVP(mixture, flow), mixture.sample(32, generator(0, "x"))
    trace = Hutchinson(rademacher(torch.arange(32), 24, (24,)))
    found = log_likelihood(lambda x, t, _: hvp(x, t), flow, x, trace, Adaptive(1e-4, 1e-4))
    error = found.value - mixture.log_prob(x)
    assert error.sum().abs() < 3 * found.error.square().sum().sqrt()
    assert 0.6 < (error / found.error).square().mean().sqrt() < 1.5


def test_one_probe_has_no_standard_error() -> None:
    x = torch.randn(3, 2, generator=generator(0)).double()
    trace = Hutchinson(rademacher(torch.arange(3), 1, (2,)))
    found = log_likelihood(lambda x, t, _: 0.1 * x, FLOWS["oscillation"], x, trace, budgeted(FLOWS["oscillation"], 8))
    assert found.error.isnan().all()


def test_probes_of_an_item_depend_on_its_seed_alone() -> None:
    many, one = rademacher(torch.arange(5), 3, (2, 4)), rademacher(torch.tensor([3]), 3, (2, 4))
    assert torch.equal(many[3], one[0])
    assert set(many.unique().tolist()) == {-1, 1}


@pytest.fixture(scope="module")
def attentive() -> HVP:
    """A U-Net with attention and weights that matter, in float64."""
    torch.manual_seed(0)
    network = UNet((1, 4, 4), 3, model_channels=8, channel_mult=(1, 2), num_blocks=1, attn_resolutions=(4, 2))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return HVP(network, Oscillation()).double().eval().requires_grad_(False)


def test_divergence_through_attention_is_that_of_finite_differences(attentive: HVP) -> None:
    x = 0.5 * torch.randn(2, 1, 4, 4, generator=generator(0)).double()
    velocity = velocity_of(attentive, torch.tensor([0, 2]))
    t, items = torch.tensor(0.7).double(), torch.arange(2)
    found = ExactTrace(16)(lambda x: velocity(x, t, items), x, items)
    h, expected = 1e-5, torch.zeros(2, dtype=torch.float64)
    for unit in torch.eye(16).double().reshape(16, 1, 4, 4):
        ahead, behind = velocity(x + h * unit, t, items), velocity(x - h * unit, t, items)
        expected += ((ahead - behind) * unit).flatten(1).sum(1) / (2 * h)
    assert torch.allclose(found.divergence[:, 0], expected, rtol=1e-7, atol=1e-8)
    assert torch.equal(found.velocity, velocity(x, t, items))
    assert not found.velocity.requires_grad


def test_an_item_does_not_depend_on_its_batch(attentive: HVP) -> None:
    x, labels = 0.5 * torch.randn(4, 1, 4, 4, generator=generator(0)).double(), torch.tensor([0, 1, 2, 0])

    def found(part: slice) -> LogLikelihood:
        seeds = torch.arange(4)[part]
        return log_likelihood(
            velocity_of(attentive, labels[part]), attentive.flow, x[part],
            Hutchinson(rademacher(seeds, 2, (1, 4, 4))), Adaptive(1e-4, 1e-4),
        )  # fmt: skip

    whole, alone = found(slice(4)), found(slice(2, 3))
    assert torch.allclose(whole.value[2], alone.value[0], rtol=1e-10)
    assert whole.evaluations[2] == alone.evaluations[0]


def test_dormand_prince_satisfies_the_order_conditions() -> None:
    b = torch.tensor([*A[-1], 0.0], dtype=torch.float64)
    c, error = torch.tensor(C, dtype=torch.float64), torch.tensor(ERROR, dtype=torch.float64)
    a = torch.tensor([[*row, *[0.0] * (7 - len(row))] for row in A], dtype=torch.float64)
    assert torch.allclose(a.sum(1), c)
    for weights, order in ((b, 5), (b - error, 4)):
        for k in range(order):
            assert abs(float(weights @ c**k) - 1 / (k + 1)) < 1e-14
        assert abs(float(weights @ (a @ c)) - 1 / 6) < 1e-14
        assert abs(float(weights @ (a @ a @ c)) - 1 / 24) < 1e-14


def test_every_item_keeps_the_tolerance_with_steps_of_its_own() -> None:
    """y' = lambda (cos t - y) for lambda from 1 to 300: stiff items take more steps, and all are as exact."""
    rate = torch.tensor([1.0, 10.0, 300.0], dtype=torch.float64).unsqueeze(1)
    start = rate**2 / (1 + rate**2)
    found = solve(lambda y, t, items: rate[items] * (t.cos().unsqueeze(1) - y), start, (0.0, 2.0), 1e-8, 1e-8)
    exact = (rate**2 * math.cos(2) + rate * math.sin(2)) / (1 + rate**2)
    exact = exact + (start - rate**2 / (1 + rate**2)) * (-2 * rate).exp()
    assert (found.y - exact).abs().max() < 1e-6
    assert found.evaluations[2] > 3 * found.evaluations[0]


def test_backwards_undoes_forwards() -> None:
    mixture, flow = ring_mixture(), FLOWS["flow-matching"]
    hvp, x = MixtureHVP(mixture, flow), mixture.sample(20, generator(0, "x"))
    for tolerance in (1e-5, 1e-8):
        method = Adaptive(tolerance, tolerance)
        latents, _ = transported(lambda x, t, _: hvp(x, t), flow, x, method)
        again, _ = transported(lambda x, t, _: hvp(x, t), flow, latents, method, (flow.T, 0.0))
        assert (again - x).abs().max() < 1000 * tolerance


def test_a_derivative_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hgfctl.engine.integrators.dormand_prince.MOST_EVALUATIONS", 500)
    with pytest.raises(HgfctlError, match="loosen the tolerance"):
        solve(lambda y, t, _: 1e3 * torch.randn_like(y), torch.zeros(1, 1).double(), (0.0, 1.0), 1e-8, 1e-8)


def test_budgets_refuse_what_cannot_be() -> None:
    with pytest.raises(RequestError, match="too small"):
        budgeted(Oscillation(), 3, "rk4")
    with pytest.raises(RequestError, match="does not step V itself"):
        budgeted(Oscillation(), 30, "ddim")


@pytest.mark.parametrize("law", ["uniform", "normal"])
@pytest.mark.parametrize("flow", FLOWS)
def test_dequantisation_bounds_the_probability_of_a_cell(law: str, flow: str) -> None:
    """Importance weights: E_q exp(log p - log q) is P(k) itself, known in one dimension by the error function."""
    levels, sd = 17, 0.4
    step = 2 / (levels - 1)
    x0 = torch.full((20_000, 1), 3 * step)
    drawn = dequantised(x0, levels, torch.arange(20_000), law, FLOWS[flow])  # type: ignore[arg-type]
    a, b, _, _ = FLOWS[flow].path(torch.tensor(drawn.time, dtype=torch.float64))
    width = math.hypot(float(a) * sd, float(b))
    log_p = torch.distributions.Normal(0.0, width).log_prob(drawn.x).sum(1)
    weights = (log_p + drawn.gain).exp()
    blurred = width / float(a)
    cells = torch.tensor([2.5 * step, 3.5 * step]) / (blurred * math.sqrt(2))
    probability = float((cells[1].erf() - cells[0].erf()) / 2)
    error = float(weights.std()) / math.sqrt(len(weights))
    assert abs(float(weights.mean()) - probability) < 4 * error + 1e-6
    assert (drawn.x / a - x0).abs().max() <= step / 2
    assert float(FLOWS[flow].sigma(torch.tensor(drawn.time, dtype=torch.float64))) == pytest.approx(
        0 if law == "uniform" else step / 2 / REACH
    )


def test_bits_of_a_uniform_law_are_those_of_its_levels() -> None:
    """8-bit images uniform over all levels have 8 bits a pixel, whatever the scale of x."""
    x = torch.from_numpy(np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)).float() / 127.5 - 1
    drawn = dequantised(x, 256, torch.arange(256), "uniform", Oscillation())
    log_density = -math.log(2 * 256 / 255)  # on [-1, 1] and half a level to either side
    assert torch.allclose(-(log_density + drawn.gain) / math.log(2), torch.tensor(8.0).double())
    assert drawn.x.min() >= -1 - 1 / 255
    assert drawn.x.max() <= 1 + 1 / 255
