"""Flows against oracles: simulation, Monte Carlo, differentiation, closed forms and a second derivation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hgfctl.engine.data.checkerboard import Checkerboard
from hgfctl.engine.data.mixture import GaussianMixture, gmm64_mixture, ring_mixture
from hgfctl.engine.flows import conversions as convert
from hgfctl.engine.flows.boxes_hvp import BoxesHVP
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.mixture_hvp import MixtureHVP
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.preconditioning import precondition
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.randomness import generator

LINEAR = {
    "diffusion": Diffusion(sd=0.5),
    "flow-matching": FlowMatching(sd=0.5),
    "flow-matching s=1": FlowMatching(sd=0.5, s=1.0),
    "oscillation": Oscillation(sd=0.5),
    "oscillation alpha=2.5 s=0.8": Oscillation(sd=0.5, alpha=2.5, s=0.8),
}
ALL = {**LINEAR, "reflection": Reflection(sd=0.577)}
linear = pytest.mark.parametrize("flow", LINEAR.values(), ids=LINEAR.keys())
every = pytest.mark.parametrize("flow", ALL.values(), ids=ALL.keys())


def tilted_mixture() -> GaussianMixture:
    """Three components in the plane with full covariances and unequal weights."""
    factors = torch.tensor([[[0.3, 0.0], [0.2, 0.1]], [[0.15, 0.1], [-0.2, 0.3]], [[0.4, 0.0], [0.0, 0.1]]]).double()
    means = torch.tensor([[0.5, 0.1], [-0.4, -0.3], [0.0, 0.6]]).double()
    return GaussianMixture(torch.tensor([0.5, 0.3, 0.2]), means, factors @ factors.mT)


def times_of(flow: Flow, fractions: tuple[float, ...]) -> list[Tensor]:
    """Times at which the clock's angle atan(sigma/sd) is so far between data and noise."""
    return [flow.time(torch.tensor(flow.sd * math.tan(f * math.pi / 2)).double()) for f in fractions]


def z_scores(x: Tensor, residual: Tensor, bins: int = 20) -> Tensor:
    """Mean residual over its standard error, in every square bin of the plane with 200 points or more."""
    low, high = x.quantile(0.01, dim=0), x.quantile(0.99, dim=0)
    cell = ((x - low) / (high - low) * bins).floor().long()
    inside = ((cell >= 0) & (cell < bins)).all(1)
    index, residual = cell[inside, 0] * bins + cell[inside, 1], residual[inside]
    count = torch.bincount(index, minlength=bins**2).double()
    scores = []
    for r in residual.T:
        mean = torch.bincount(index, r, minlength=bins**2) / count
        variance = torch.bincount(index, r**2, minlength=bins**2) / count - mean**2
        scores.append((mean / (variance / count).sqrt())[count >= 200])
    return torch.cat(scores)


@linear
def test_exact_hvp_of_a_mixture_is_the_mean_velocity(flow: LinearFlow) -> None:
    """RMS of about 3 x 500 z-scores in [.9, 1.1]: a right formula fails with probability below 1e-6."""
    mixture, rng, scores = tilted_mixture(), generator(0, "monte carlo"), []
    for t in times_of(flow, (0.15, 0.5, 0.85)):
        x0 = mixture.sample(400_000, rng)
        x, v = flow.state(x0, torch.randn(x0.shape, generator=rng, dtype=torch.float64), t)
        scores.append(z_scores(x, v - MixtureHVP(mixture, flow)(x, t)))
    rms = torch.cat(scores).square().mean().sqrt()
    assert len(torch.cat(scores)) > 800
    assert 0.9 < rms < 1.1


def test_exact_hvp_of_boxes_is_the_mean_velocity() -> None:
    """As above, for a checkerboard under reflection."""
    flow, board, rng, scores = Reflection(), Checkerboard(), generator(1, "monte carlo"), []
    exact = BoxesHVP(board.lower, board.upper, flow)
    for t in (0.05, 0.3, 1.0):
        x0 = board.sample(60_000, rng)
        x, v = flow.state(x0, torch.randn(x0.shape, generator=rng, dtype=torch.float64), torch.tensor(t))
        scores.append(z_scores(x, v - exact(x, torch.tensor(t))))
    assert 0.9 < torch.cat(scores).square().mean().sqrt() < 1.1


@pytest.mark.parametrize("time", [0.02, 0.3, 3.0])
def test_density_of_reflected_boxes_integrates_to_one(time: float) -> None:
    board = Checkerboard()
    side = (torch.arange(200, dtype=torch.float64) + 0.5) / 100 - 1
    density, _ = BoxesHVP(board.lower, board.upper, Reflection()).moments(
        torch.cartesian_prod(side, side), torch.tensor(time)
    )
    assert float(density.mean() * 4) == pytest.approx(1, abs=2e-4)


def test_reflected_velocity_has_no_normal_component_at_the_walls() -> None:
    board = Checkerboard()
    wall = torch.stack([torch.ones(9), torch.linspace(-1, 1, 9)], -1).double()
    velocity = BoxesHVP(board.lower, board.upper, Reflection())(wall, torch.tensor(0.4))
    assert velocity[:, 0].abs().max() < 1e-14
    assert velocity[:, 1].abs().max() > 1e-3


@every
def test_velocity_is_the_time_derivative_of_position(flow: Flow) -> None:
    rng = generator(2)
    x0 = torch.rand(64, 3, generator=rng, dtype=torch.float64) - 0.5
    z, h = torch.randn(64, 3, generator=rng, dtype=torch.float64), 1e-6
    for fraction in (0.2, 0.5, 0.9):
        t = torch.tensor(fraction * flow.T, dtype=torch.float64)
        ahead, behind = (flow.state(x0, z, t + sign * h).x for sign in (1, -1))
        slope, v = (ahead - behind) / (2 * h), flow.state(x0, z, t).v
        smooth = (slope - v).abs() < 1e-6 * (1 + v.abs())
        assert smooth.double().mean() > (0.97 if isinstance(flow, Reflection) else 0.999)


@linear
def test_force_is_the_time_derivative_of_velocity(flow: LinearFlow) -> None:
    rng = generator(3)
    x0, z = torch.randn(2, 32, 3, generator=rng, dtype=torch.float64)
    t, h = torch.tensor(0.4 * flow.T, dtype=torch.float64), 1e-5
    slope = (flow.state(x0, z, t + h).v - flow.state(x0, z, t - h).v) / (2 * h)
    torch.testing.assert_close(slope, flow.force(flow.state(x0, z, t).x, t), atol=1e-6, rtol=1e-6)


@every
def test_state_starts_at_the_data_with_the_velocity_law(flow: Flow) -> None:
    rng = generator(4)
    x0 = torch.rand(16, 2, generator=rng, dtype=torch.float64) - 0.5
    z = torch.randn(16, 2, generator=rng, dtype=torch.float64)
    x, v = flow.state(x0, z, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(x, x0)
    torch.testing.assert_close(v, flow.velocity_law(x0, z))


@every
def test_state_ends_at_the_prior(flow: Flow) -> None:
    """Exactly for flow matching and oscillation; for diffusion and reflection to the error that they state."""
    rng = generator(5)
    x0 = 0.5 * torch.rand(200_000, 1, generator=rng, dtype=torch.float64)
    z = torch.randn(x0.shape, generator=rng, dtype=torch.float64)
    x = flow.state(x0, z, torch.tensor(flow.T, dtype=torch.float64)).x
    prior = flow.prior.sample((200_000, 1), generator(6))
    for moment in (1, 2):
        # Five standard errors of the difference of two means of 200,000.
        error = ((x**moment).var() + (prior**moment).var()).div(200_000).sqrt()
        offset = x0.pow(moment).mean() if isinstance(flow, Diffusion) else 0
        assert ((x**moment).mean() - (prior**moment).mean() - offset).abs() < 5 * error


@every
def test_prior_log_prob_integrates_to_one(flow: Flow) -> None:
    reach = 12 * float(flow.prior.sample((1000, 1), generator(7)).std())
    x = torch.linspace(-reach, reach, 200_001, dtype=torch.float64).unsqueeze(1)
    assert float(flow.prior.log_prob(x).exp().sum() * (2 * reach / 200_000)) == pytest.approx(1, abs=1e-4)


@linear
def test_exact_velocity_obeys_the_continuity_equation(flow: LinearFlow) -> None:
    exact = MixtureHVP(tilted_mixture(), flow)
    for t in times_of(flow, (0.2, 0.6)):
        x0 = 0.4 * torch.randn(40, 2, generator=generator(8), dtype=torch.float64)
        x = flow.state(x0, x0.flip(0), t).x.requires_grad_()
        time = t.clone().requires_grad_()
        log_p = exact.log_prob(x, time)
        (score,) = torch.autograd.grad(log_p.sum(), x, create_graph=True)
        v = exact(x, time)
        divergence = sum(torch.autograd.grad(v[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(2))
        rate = torch.stack([torch.autograd.grad(value, time, retain_graph=True)[0] for value in log_p])
        # d log p/dt + div V + V . grad log p = 0
        torch.testing.assert_close(rate, -(divergence + (v * score).sum(1)), atol=1e-8, rtol=1e-8)


@linear
def test_score_from_hvp_is_the_gradient_of_log_density(flow: LinearFlow) -> None:
    exact = MixtureHVP(tilted_mixture(), flow)
    for t in times_of(flow, (0.1, 0.5, 0.9)):
        x = torch.randn(50, 2, generator=generator(9), dtype=torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(exact.log_prob(x, t).sum(), x)
        score = convert.score_from_hvp(flow, x, t, exact(x, t))
        torch.testing.assert_close(score, gradient, atol=1e-9, rtol=1e-9)


@given(
    name=st.sampled_from(sorted(LINEAR)),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_conversions_agree_and_invert(name: str, fraction: float, seed: int) -> None:
    """HVP, denoiser, noise and score of a mixture in three dimensions, each from each, to 1e-10."""
    flow = LINEAR[name]
    rng = generator(seed)
    factors = 0.3 * torch.randn(2, 3, 3, generator=rng, dtype=torch.float64) + 0.3 * torch.eye(3, dtype=torch.float64)
    means = torch.randn(2, 3, generator=rng, dtype=torch.float64)
    mixture = GaussianMixture(torch.ones(2), means, factors @ factors.mT + 1e-2 * torch.eye(3))
    exact = MixtureHVP(mixture, flow)
    (t,) = times_of(flow, (fraction,))
    x = flow.state(mixture.sample(8, rng), torch.randn(8, 3, generator=rng, dtype=torch.float64), t).x
    v = exact(x, t)
    denoised, noise = exact.denoiser_and_noise(x, t)

    def same(a: Tensor, b: Tensor) -> None:
        assert (a - b).abs().max() <= 1e-10 * (1 + b.abs().max())

    same(convert.denoiser_from_hvp(flow, x, t, v), denoised)
    same(convert.noise_from_hvp(flow, x, t, v), noise)
    same(convert.hvp_from_denoiser_and_noise(flow, x, t, denoised, noise), v)
    same(convert.hvp_from_denoiser(flow, x, t, denoised), v)
    same(convert.hvp_from_noise(flow, x, t, noise), v)
    same(convert.hvp_from_score(flow, x, t, convert.score_from_hvp(flow, x, t, v)), v)


@linear
def test_wronskian_is_constant_and_not_zero(flow: LinearFlow) -> None:
    w = flow.path(torch.linspace(0, flow.T, 50, dtype=torch.float64)).wronskian
    assert (w - w[0]).abs().max() < 1e-12 * flow.T
    assert w[0].abs() > 0.1


@given(name=st.sampled_from(sorted(ALL)), log_sigma=st.floats(-8, 4))
def test_time_inverts_the_clock(name: str, log_sigma: float) -> None:
    flow, sigma = ALL[name], torch.tensor(math.exp(log_sigma), dtype=torch.float64)
    t = flow.time(sigma)
    assert 0 <= t <= flow.T
    if t < flow.T:
        torch.testing.assert_close(flow.sigma(t), sigma, rtol=1e-9, atol=0.0)


@given(alpha=st.floats(0.1, 20), sd=st.floats(0.05, 10), fraction=st.floats(0, 1))
def test_oscillation_preconditioner_is_constant(alpha: float, sd: float, fraction: float) -> None:
    """c_in = 1/sd, c_skip = 0, c_out = alpha sd: the scale invariance of HSM24."""
    flow = Oscillation(sd=sd, alpha=alpha)
    c_in, c_skip, c_out = precondition(flow, torch.tensor(fraction * flow.T, dtype=torch.float64))
    assert float(c_in) == pytest.approx(1 / sd, rel=1e-12)
    assert float(c_skip) == pytest.approx(0, abs=1e-12 * alpha)
    assert float(c_out) == pytest.approx(alpha * sd, rel=1e-12)


@given(log_sigma=st.floats(math.log(0.01), math.log(70)), sd=st.floats(0.1, 2))
def test_diffusion_preconditioner_is_edms(log_sigma: float, sd: float) -> None:
    """Karras et al. 2022, table 1, for the denoiser D = c_skip x + c_out N, seen through V = (x - D)/sigma."""
    flow, sigma = Diffusion(sd=sd), math.exp(log_sigma)
    c_in, c_skip, c_out = precondition(flow, torch.tensor(sigma, dtype=torch.float64))
    assert float(c_in) == pytest.approx(1 / math.hypot(sigma, sd), rel=1e-10)
    assert 1 - sigma * float(c_skip) == pytest.approx(sd**2 / (sigma**2 + sd**2), rel=1e-7, abs=1e-12)
    assert sigma * float(c_out) == pytest.approx(sigma * sd / math.hypot(sigma, sd), rel=1e-7)


@every
def test_preconditioned_input_and_target_have_unit_variance(flow: Flow) -> None:
    """Monte Carlo with 100,000 x 2 draws: 2 % is more than five standard errors."""
    rng = generator(10)
    if isinstance(flow, Reflection):
        x0 = 2 * torch.rand(100_000, 2, generator=rng, dtype=torch.float64) - 1
    else:
        x0 = flow.sd * torch.randn(100_000, 2, generator=rng, dtype=torch.float64)
    z = torch.randn(x0.shape, generator=rng, dtype=torch.float64)
    for t in times_of(flow, (0.1, 0.5, 0.9)):
        c_in, c_skip, c_out = precondition(flow, t)
        x, v = flow.state(x0, z, t)
        assert float((c_in * x).square().mean()) == pytest.approx(1, abs=0.02)
        assert float(((v - c_skip * x) / c_out).square().mean()) == pytest.approx(1, abs=0.02)


@given(alpha=st.floats(0.3, 5), fraction=st.floats(0.02, 0.98))
def test_edm_network_is_the_oscillation_hvp(alpha: float, fraction: float) -> None:
    """V(x, t) = -alpha sd N(x/sd; ln(sigma)/4) for any N behind EDM's denoiser D(y; sigma), by the conversions."""
    sd, flow = 0.5, Oscillation(sd=0.5, alpha=alpha)
    t = torch.tensor(fraction * flow.T, dtype=torch.float64)
    sigma = flow.sigma(t)

    def network(y: Tensor, noise: Tensor) -> Tensor:
        return torch.sin(3 * y + noise) + 0.3 * y.flip(1) ** 2

    def edm_denoiser(y: Tensor) -> Tensor:
        spread = sigma**2 + sd**2
        return sd**2 / spread * y + sigma * sd / spread.sqrt() * network(y / spread.sqrt(), sigma.log() / 4)

    x = sd * torch.randn(20, 4, generator=generator(11), dtype=torch.float64)
    a = flow.path(t).a
    through_denoiser = convert.hvp_from_denoiser(flow, x, t, edm_denoiser(x / a))
    torch.testing.assert_close(through_denoiser, -alpha * sd * network(x / sd, sigma.log() / 4), atol=1e-10, rtol=1e-10)


def bounced(x: float, v: float, duration: float, lo: float, hi: float) -> tuple[float, float]:
    """Free flight with elastic walls, one event after another."""
    while True:
        wall = hi if v > 0 else lo
        until = (wall - x) / v if v else math.inf
        if until >= duration:
            return x + v * duration, v
        x, v, duration = wall, -v, duration - until


@given(
    lo=st.floats(-3, 0),
    side=st.floats(0.5, 4),
    place=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    velocity=st.lists(st.floats(-4, 4), min_size=3, max_size=3),
    duration=st.floats(0, 6),
)
def test_folding_equals_event_simulation(
    lo: float, side: float, place: list[float], velocity: list[float], duration: float
) -> None:
    flow = Reflection(lo=lo, hi=lo + side)
    x0 = torch.tensor([[lo + side * p for p in place]], dtype=torch.float64).clamp(flow.lo, flow.hi)
    v0 = torch.tensor([velocity], dtype=torch.float64)
    x, v = flow.state(x0, v0, torch.tensor(duration, dtype=torch.float64))
    for i in range(3):
        expected_x, expected_v = bounced(float(x0[0, i]), float(v0[0, i]), duration, flow.lo, flow.hi)
        assert float(x[0, i]) == pytest.approx(expected_x, abs=1e-12)
        if min(expected_x - flow.lo, flow.hi - expected_x) > 1e-9:  # at a wall the sign is a matter of rounding
            assert float(v[0, i]) == expected_v


@given(values=st.lists(st.floats(-50, 50), min_size=1, max_size=20))
def test_folding_ends_in_the_box_and_leaves_it_alone(values: list[float]) -> None:
    flow = Reflection(lo=-1, hi=2)
    once = flow.confine(torch.tensor([values], dtype=torch.float64))
    assert bool(((once >= flow.lo) & (once <= flow.hi)).all())
    torch.testing.assert_close(flow.confine(once), once, atol=1e-12, rtol=0)


def test_mixture_hvp_is_finite_at_both_ends_of_time() -> None:
    for mixture in (ring_mixture(), gmm64_mixture()):
        for flow in LINEAR.values():
            x = flow.prior.sample((16, mixture.dim), generator(12))
            for t in (0.0, flow.T):
                assert bool(MixtureHVP(mixture, flow)(x, torch.tensor(t, dtype=torch.float64)).isfinite().all())


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Diffusion(sd=0), "sd"),
        (lambda: Diffusion(sd=math.nan), "sd"),
        (lambda: Diffusion(sigma_max=-1), "sigma_max"),
        (lambda: FlowMatching(s=0), "s"),
        (lambda: Oscillation(alpha=0), "alpha"),
        (lambda: Oscillation(alpha=math.inf), "alpha"),
        (lambda: Oscillation(s=-1), "s"),
        (lambda: Reflection(lo=1, hi=1), "lo"),
        (lambda: Reflection(duration=0), "duration"),
    ],
)
def test_impossible_parameters_are_refused_by_name(make: object, word: str) -> None:
    with pytest.raises(ValueError, match=rf"\b{word}\b"):
        make()  # type: ignore[operator]
