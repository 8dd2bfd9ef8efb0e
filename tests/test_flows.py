"""Flows against oracles: simulation, Monte Carlo, differentiation, closed forms and a second derivation."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hgfctl.engine.data.checkerboard import Checkerboard
from hgfctl.engine.data.mixture import GaussianMixture, gmm64_mixture, ring_mixture
from hgfctl.engine.flows import conversions as convert
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.preconditioning import precondition
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.oracles.boxes import BoxesHVP
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator

LINEAR = {
    "diffusion": Diffusion(sd=0.5),
    "flow-matching": FlowMatching(sd=0.5),
    "flow-matching s=1": FlowMatching(sd=0.5, s=1.0),
    "oscillation": Oscillation(sd=0.5, alpha=1.0),
    "oscillation alpha=2.5 s=0.8": Oscillation(sd=0.5, alpha=2.5, s=0.8),
}
ALL = {**LINEAR, "reflection": Reflection(sd=0.577)}
linear = pytest.mark.parametrize("flow", LINEAR.values(), ids=LINEAR.keys())
every = pytest.mark.parametrize("flow", ALL.values(), ids=ALL.keys())


def tilted_mixture() -> GaussianMixture:
    """Three components in the plane with full covariances and unequal weights."""
    factors = torch.tensor([[[0.3, 0.0], [0.2, 0.1]], [[0.15, 0.1], [-0.2, 0.3]], [[0.4, 0.0], [0.0, 0.1]]]).double()
    means = torch.tensor([[0.5, 0.1], [-0.4, -0.3], [0.0, 0.6]]).double()
    return GaussianMixture(torch.tensor([0.5, 0.3, 0.2]).double(), means, factors @ factors.mT)


def solid_mixture() -> GaussianMixture:
    """Two components in space with full covariances and unequal weights."""
    factors = torch.tensor(
        [[[0.4, 0.0, 0.0], [0.2, 0.1, 0.0], [-0.1, 0.1, 0.3]], [[0.2, 0.0, 0.0], [-0.2, 0.3, 0.0], [0.1, 0.2, 0.1]]]
    ).double()
    means = torch.tensor([[0.4, 0.1, -0.3], [-0.4, -0.2, 0.3]]).double()
    return GaussianMixture(torch.tensor([0.7, 0.3]).double(), means, factors @ factors.mT)


def times_of(flow: Flow, fractions: tuple[float, ...]) -> list[Tensor]:
    """Times at which the clock's angle atan(sigma/sd) is so far between data and noise."""
    return [flow.time(torch.tensor(flow.sd * math.tan(f * math.pi / 2)).double()) for f in fractions]


def z_scores(x: Tensor, residual: Tensor, bins: int) -> Tensor:
    """Mean residual over its standard error, in every one of bins^d cells with 200 points or more."""
    low, high = x.quantile(0.01, dim=0), x.quantile(0.99, dim=0)
    cell = ((x - low) / (high - low) * bins).floor().long()
    inside, cells = ((cell >= 0) & (cell < bins)).all(1), bins ** x.shape[1]
    index = (cell[inside] * bins ** torch.arange(x.shape[1])).sum(1)
    count = torch.bincount(index, minlength=cells).double()
    scores = []
    for r in residual[inside].T:
        mean = torch.bincount(index, r, minlength=cells) / count
        variance = torch.bincount(index, r**2, minlength=cells) / count - mean**2
        scores.append((mean / (variance / count).sqrt())[count >= 200])
    return torch.cat(scores)


@linear
@pytest.mark.parametrize(("mixture", "bins"), [(tilted_mixture(), 20), (solid_mixture(), 7)], ids=["plane", "space"])
def test_exact_hvp_of_a_mixture_is_the_mean_velocity(flow: LinearFlow, mixture: GaussianMixture, bins: int) -> None:
    """RMS of 1,200 or more z-scores in [.9, 1.1], five standard errors: a right formula fails once in 10^6 seeds."""
    rng, scores = generator(0, "monte carlo", str(flow)), []  # equal draws would make equal z-scores of every flow
    for t in times_of(flow, (0.15, 0.5, 0.85)):
        x0 = mixture.sample(300_000, rng)
        x, v = flow.state(x0, torch.randn(x0.shape, generator=rng, dtype=torch.float64), t)
        scores.append(z_scores(x, v - MixtureHVP(mixture, flow)(x, t), bins))
    assert len(torch.cat(scores)) > 1200
    assert 0.9 < torch.cat(scores).square().mean().sqrt() < 1.1


def test_exact_hvp_of_boxes_is_the_mean_velocity() -> None:
    """As above, for a checkerboard under reflection, with 1,100 z-scores or more: fails once in 3 x 10^5 seeds."""
    flow, board, rng, scores = Reflection(), Checkerboard(), generator(1, "monte carlo"), []
    exact = BoxesHVP(board.lower, board.upper, flow)
    for time in (0.1, 0.3, 1.0):
        x0, t = board.sample(75_000, rng), torch.tensor(time)
        x, v = flow.state(x0, torch.randn(x0.shape, generator=rng, dtype=torch.float64), t)
        scores.append(z_scores(x, v - exact(x, t), 15))
    assert len(torch.cat(scores)) > 1100
    assert 0.9 < torch.cat(scores).square().mean().sqrt() < 1.1


def divergence(v: Tensor, x: Tensor) -> Tensor:
    """div V at every point, by differentiation."""
    return sum(torch.autograd.grad(v[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(x.shape[1]))


def test_exact_velocity_of_boxes_obeys_the_continuity_equation() -> None:
    board = Checkerboard()
    exact = BoxesHVP(board.lower, board.upper, Reflection())
    x = (2 * torch.rand(30, 2, generator=generator(13), dtype=torch.float64) - 1).requires_grad_()
    for time in (0.1, 0.5):
        t = torch.full((30,), time, dtype=torch.float64, requires_grad=True)
        log_p, v = exact.log_prob(x, t), exact(x, t)
        score, rate = torch.autograd.grad(log_p.sum(), (x, t), retain_graph=True)
        torch.testing.assert_close(rate, -(divergence(v, x) + (v * score).sum(1)), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("time", [1e-4, 1e-3, 1e-2])
def test_exact_velocity_points_away_from_a_box_that_is_many_sds_away(time: float) -> None:
    """Where the density underflows: V = distance / t to O(t), from the nearest box; 0 at t = 0."""
    exact = BoxesHVP(torch.tensor([[-0.5]]), torch.tensor([[0.0]]), Reflection())
    x = torch.tensor([[0.4], [-0.8]], dtype=torch.float64)
    reached = exact(x, torch.tensor(time)) * time
    torch.testing.assert_close(reached, torch.tensor([[0.4], [-0.3]]).double(), rtol=0, atol=4 * time**2)
    assert not exact(x, torch.tensor(0.0)).any()


@pytest.mark.parametrize("time", [0.02, 0.3, 3.0])
def test_density_of_reflected_boxes_integrates_to_one(time: float) -> None:
    board = Checkerboard()
    side = (torch.arange(200, dtype=torch.float64) + 0.5) / 100 - 1
    density = BoxesHVP(board.lower, board.upper, Reflection()).log_prob(
        torch.cartesian_prod(side, side), torch.tensor(time)
    )
    assert float(density.exp().mean() * 4) == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_reflected_velocity_has_no_normal_component_at_the_walls(axis: int, side: float) -> None:
    board = Checkerboard()
    wall = torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(1).repeat(1, 2)
    wall[:, axis] = side
    velocity = BoxesHVP(board.lower, board.upper, Reflection())(wall, torch.tensor(0.4))
    assert velocity[:, axis].abs().max() < 1e-14
    assert velocity[:, 1 - axis].abs().max() > 1e-3


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
    torch.testing.assert_close(slope, flow.force(*flow.state(x0, z, t), t), atol=1e-6, rtol=1e-6)


@every
def test_state_starts_at_the_data_with_the_velocity_law(flow: Flow) -> None:
    rng = generator(4)
    x0 = torch.rand(16, 2, generator=rng, dtype=torch.float64) - 0.5
    z = torch.randn(16, 2, generator=rng, dtype=torch.float64)
    x, v = flow.state(x0, z, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(x, x0)
    torch.testing.assert_close(v, flow.velocity_law(x0, z))


@pytest.mark.parametrize("name", [name for name in LINEAR if name != "diffusion"])
def test_state_ends_at_the_noise_exactly(name: str) -> None:
    flow = LINEAR[name]
    x0, z = torch.randn(2, 16, 2, generator=generator(14), dtype=torch.float64)
    x, _ = flow.state(x0, z, torch.tensor(flow.T, dtype=torch.float64))
    torch.testing.assert_close(x, flow.prior_sd * z, rtol=0, atol=1e-15)


@linear
def test_exact_velocity_at_both_ends_of_time(flow: LinearFlow) -> None:
    """x_0 tells nothing of z: V(x, 0) = E[v0 | x0 = x]. Where a(T) = 0, x_T tells nothing of x0: D = E[x0]."""
    mixture = tilted_mixture()
    exact, x = MixtureHVP(mixture, flow), mixture.sample(20, generator(15))
    torch.testing.assert_close(exact(x, torch.tensor(0.0)), flow.velocity_law(x, torch.zeros_like(x)))
    if isinstance(flow, Diffusion):
        return
    T = torch.tensor(flow.T, dtype=torch.float64)
    mean = mixture.weights @ mixture.means
    _, _, da, db = flow.path(T)
    torch.testing.assert_close(exact(x, T), da * mean + db * x / flow.prior_sd, atol=1e-12, rtol=1e-12)


@every
def test_times_of_items_equal_one_time_for_all_and_types_are_kept(flow: Flow) -> None:
    x0, z = torch.rand(2, 4, 3, 2, 2, generator=generator(16)) - 0.5
    times = flow.T * torch.tensor([0.0, 0.3, 0.7, 1.0], dtype=torch.float64)
    together = flow.state(x0, z, times)
    for i, t in enumerate(times):
        alone = flow.state(x0[i : i + 1], z[i : i + 1], t)
        assert torch.equal(together.x[i : i + 1], alone.x)
        assert torch.equal(together.v[i : i + 1], alone.v)
    assert together.x.dtype == together.v.dtype == torch.float32
    assert bool(torch.cat([*precondition(flow, times), *precondition(flow, times.float())]).isfinite().all())


@every
def test_exact_velocity_takes_times_of_items_and_keeps_the_type(flow: Flow) -> None:
    x = torch.rand(3, 2, generator=generator(17)) - 0.5
    times = flow.T * torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)
    board = Checkerboard()
    exact = (
        MixtureHVP(tilted_mixture(), flow)
        if isinstance(flow, LinearFlow)
        else BoxesHVP(board.lower, board.upper, Reflection())
    )
    together = exact(x, times)
    assert together.dtype == torch.float32
    for i, t in enumerate(times):
        torch.testing.assert_close(together[i : i + 1], exact(x[i : i + 1], t), atol=1e-7, rtol=1e-6)


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


def test_uniform_log_prob_is_exact_in_high_dimension() -> None:
    prior = Reflection(lo=0.0, hi=3.0).prior
    x = prior.sample((2, 3, 32, 32), generator(18))
    assert prior.log_prob(x).tolist() == [-3072 * math.log(3)] * 2
    x[1, 0, 0, 0] = 3.1
    assert prior.log_prob(x).tolist() == [-3072 * math.log(3), -math.inf]
    assert prior.log_prob(x[:0]).shape == (0,)


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
        rate = torch.stack([torch.autograd.grad(value, time, retain_graph=True)[0] for value in log_p])
        # d log p/dt + div V + V . grad log p = 0
        torch.testing.assert_close(rate, -(divergence(v, x) + (v * score).sum(1)), atol=1e-8, rtol=1e-8)


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
    assert 1 - sigma * float(c_skip) == pytest.approx(sd**2 / (sigma**2 + sd**2), rel=1e-10, abs=1e-12)
    assert sigma * float(c_out) == pytest.approx(sigma * sd / math.hypot(sigma, sd), rel=1e-12)


@every
def test_residual_moment_is_what_the_best_linear_guess_leaves(flow: Flow) -> None:
    for t in times_of(flow, (0.05, 0.5, 0.95)):
        xx, xv, vv, residual = flow.moments(t)
        assert float(residual) == pytest.approx(float(vv - xv**2 / xx), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_preconditioner_does_not_cancel_at_late_times(dtype: torch.dtype) -> None:
    """vv - xv^2 / xx is 2.5e-11 here, far below float32's resolution of 1: c_out = sd / hypot(sigma, sd)."""
    c_out = precondition(Diffusion(sd=0.5, sigma_max=1e6), torch.tensor(1e5, dtype=dtype)).c_out
    assert float(c_out) == pytest.approx(0.5 / math.hypot(1e5, 0.5), rel=4 * torch.finfo(dtype).eps)


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


@given(values=st.lists(st.floats(-50, 50), min_size=1, max_size=20), lo=st.floats(-3, 0), side=st.floats(0.1, 4))
def test_folding_ends_in_the_box_and_leaves_it_alone(values: list[float], lo: float, side: float) -> None:
    flow = Reflection(lo=lo, hi=lo + side)
    for dtype in (torch.float32, torch.float64):
        once = flow.confine(torch.tensor([[*values, flow.lo, flow.hi, 2 * flow.hi - flow.lo]], dtype=dtype))
        assert bool(((once >= flow.lo) & (once <= flow.hi)).all())
        torch.testing.assert_close(flow.confine(once), once, atol=8 * torch.finfo(dtype).eps, rtol=0)


@given(seed=st.integers(0, 2**32), lo=st.floats(-3, 0), side=st.floats(0.5, 4), duration=st.floats(0, 6))
def test_reflection_flies_back_and_looks_the_same_in_a_mirror(
    seed: int, lo: float, side: float, duration: float
) -> None:
    flow, rng, t = Reflection(lo=lo, hi=lo + side), generator(seed), torch.tensor(duration, dtype=torch.float64)
    x0 = flow.prior.sample((20, 3), rng)
    v0 = torch.randn(20, 3, generator=rng, dtype=torch.float64)
    x, v = flow.state(x0, v0, t)
    back = flow.state(x, -v, t)
    torch.testing.assert_close(back.x, x0, atol=1e-12, rtol=0)
    torch.testing.assert_close(back.v, -v0, atol=0, rtol=0)
    mirrored = flow.state(2 * flow.centre - x0, -v0, t)
    torch.testing.assert_close(mirrored.x, 2 * flow.centre - x, atol=1e-12, rtol=0)
    torch.testing.assert_close(mirrored.v, -v, atol=0, rtol=0)


def test_mixture_hvp_is_finite_at_both_ends_of_time() -> None:
    for mixture in (ring_mixture(), gmm64_mixture()):
        for flow in LINEAR.values():
            x = flow.prior.sample((16, mixture.dim), generator(12))
            for t in (0.0, flow.T):
                assert bool(MixtureHVP(mixture, flow)(x, torch.tensor(t, dtype=torch.float64)).isfinite().all())


POSITIVE = [
    *((flow, "sd") for flow in (Diffusion, FlowMatching, Oscillation, Reflection)),
    (Diffusion, "sigma_max"),
    (FlowMatching, "s"),
    (Oscillation, "s"),
    (Oscillation, "alpha"),
    (Reflection, "duration"),
]


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("flow", "name"), POSITIVE, ids=[f"{flow.__name__}.{name}" for flow, name in POSITIVE])
def test_impossible_parameters_are_refused_by_name(flow: Callable[..., Flow], name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"\b{name}\b.*{value}"):
        flow(**{name: value})


@pytest.mark.parametrize(("lo", "hi"), [(1, 1), (1, -1), (-math.inf, 1), (0, math.inf), (math.nan, 1), (0, math.nan)])
def test_a_box_that_is_none_is_refused(lo: float, hi: float) -> None:
    with pytest.raises(ValueError, match=r"\blo\b.*\bhi\b"):
        Reflection(lo=lo, hi=hi)


@pytest.mark.parametrize(("lower", "upper"), [(-1.5, 0.0), (0.0, 1.5), (0.5, 0.0), (math.nan, 0.0)])
def test_boxes_outside_the_walls_are_refused(lower: float, upper: float) -> None:
    with pytest.raises(ValueError, match="lower < upper"):
        BoxesHVP(torch.tensor([[lower]]), torch.tensor([[upper]]), Reflection())
