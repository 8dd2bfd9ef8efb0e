"""UniPC, DPM-Solver++(3M), iPNDM, DEIS, Adams-Moulton, Dormand-Prince, churn, restarts; by exact HVPs of mixtures."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hgfctl.config import Component, SampleSection
from hgfctl.engine.data.mixture import GaussianMixture, ring_mixture
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.integrators.dormand_prince import ERROR, A, C
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.options import configured
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.adaptive import DormandPrince
from hgfctl.engine.solvers.deis import IPNDM
from hgfctl.engine.solvers.exponential import ANGLE, LOG_SNR, Clock
from hgfctl.engine.solvers.grids import named
from hgfctl.engine.solvers.restart import Restart
from hgfctl.engine.solvers.stochastic import ChurnedHeun
from hgfctl.errors import HgfctlError, RequestError

LINEAR: dict[str, LinearFlow] = {
    "diffusion": Diffusion(),
    "flow-matching": FlowMatching(),
    "oscillation": Oscillation(),
    "faster-and-wider": Oscillation(alpha=2.0, s=0.8),
}
SIGMA = torch.cat([torch.logspace(1, -2, 12, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])


@pytest.fixture(scope="module")
def smooth() -> tuple[MixtureHVP, Tensor, Tensor]:
    """A wide-moded mixture, starts at t = 1.2, and where they are at t = 0.3."""
    flow = Oscillation()
    exact = MixtureHVP(ring_mixture(radius=0.5, sd=0.35), flow)
    x = flow.prior.sample((32, 2), generator(0))
    return exact, x, SOLVERS["rk4"].solve(exact, flow, x, _inside(600))


def _inside(steps: int) -> Tensor:
    """A cosine grid between two times inside (0, T): first steps so short that the rise from order 1 costs nothing."""
    angle = torch.linspace(0, math.pi, steps + 1, dtype=torch.float64)
    return 0.75 + 0.45 * torch.cos(angle)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("abm2", 3), ("abm3", 4), ("dpm++3m", 3), ("unipc2", 3), ("unipc3", 4), ("deis3", 4),
        ("angle-ab4", 4), ("angle-abm3", 4), ("angle-unipc2", 3), ("angle-unipc3", 4),
    ],
)  # fmt: skip
def test_error_falls_as_the_order_says(name: str, order: int, smooth: tuple[MixtureHVP, Tensor, Tensor]) -> None:
    exact, x, truth = smooth
    coarse, fine = ((SOLVERS[name].solve(exact, exact.flow, x, _inside(n)) - truth).norm() for n in (50, 100))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.3)


def _sampled(name: str, flow: LinearFlow, noise: Tensor) -> Tensor:
    """The ring, from noise at sigma = 10, on the same sigma grid for every flow; x / a = sigma z there."""
    times = flow.time(SIGMA)
    start = flow.path(times[0]).a * noise * SIGMA[0]
    return SOLVERS[name].solve(MixtureHVP(ring_mixture(), flow), flow, start, times)


@pytest.mark.parametrize(
    "name",
    ["dpm++3m", "unipc2", "unipc3", "ipndm4", "angle-ab2", "angle-ab4", "angle-abm3", "angle-unipc2", "angle-unipc3"],
)
def test_exponential_and_rotated_solvers_are_one_algorithm_for_all_linear_flows(name: str) -> None:
    noise = torch.randn(16, 2, generator=generator(3), dtype=torch.float64)
    first, *others = (_sampled(name, flow, noise) for flow in LINEAR.values())
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-10, rtol=0)


def test_rotation_changes_nothing_for_the_oscillation_itself() -> None:
    noise = torch.randn(16, 2, generator=generator(4), dtype=torch.float64)
    for name in ("ab2", "ab4", "abm3"):
        turned = _sampled(f"angle-{name}", LINEAR["oscillation"], noise)
        torch.testing.assert_close(turned, _sampled(name, LINEAR["oscillation"], noise), atol=1e-12, rtol=0)


@pytest.mark.parametrize("order", [2, 3])
def test_unipc_against_the_formulas_of_its_paper(order: int) -> None:
    """Zhao et al. 2023, data prediction with B_2(h), as linear systems R a = phi / B; diffusion, so alpha = 1."""
    flow, mixture = Diffusion(), ring_mixture()
    exact = MixtureHVP(mixture, flow)
    sigmas = np.geomspace(8, 0.05, 9)

    def denoise(x: np.ndarray, sigma: float) -> np.ndarray:
        v = exact(torch.from_numpy(x), torch.tensor(sigma, dtype=torch.float64)).numpy()
        return x - sigma * v

    def update(x: np.ndarray, i: int, points: list[tuple[float, np.ndarray]], d0: np.ndarray, half: bool) -> np.ndarray:
        """From sigma_i to sigma_(i+1): points are (r_k, D_k) besides the one at r = 0."""
        h = math.log(sigmas[i] / sigmas[i + 1])
        big_b = math.expm1(-h)
        phi, factorial, g = [], 1.0, math.expm1(-h) / -h - 1
        for k in range(1, len(points) + 1):
            factorial *= k
            phi.append(g * factorial / big_b)
            g = g / -h - 1 / math.factorial(k + 1)
        r = np.array([ratio for ratio, _ in points])
        a = np.array([0.5]) if half else np.linalg.solve(r ** np.arange(len(r))[:, None], phi) if len(r) else []
        rest = sum((c * (d - d0) / ratio for c, (ratio, d) in zip(a, points, strict=True)), np.zeros_like(d0))
        return sigmas[i + 1] / sigmas[i] * x - big_b * d0 - big_b * rest

    x = 8 * torch.randn(16, 2, generator=generator(5), dtype=torch.float64).numpy()
    start, values = torch.from_numpy(x), [denoise(x, sigmas[0])]
    for i in range(8):
        lam, h = -np.log(sigmas), math.log(sigmas[i] / sigmas[i + 1])
        back = [((lam[j] - lam[i]) / h, values[j]) for j in range(i - 1, max(i - order, -1), -1)]
        predicted = update(x, i, back, values[i], half=len(back) == 1)
        if i == 7:
            x = predicted
            break
        values.append(denoise(predicted, sigmas[i + 1]))
        x = update(x, i, [*back, (1.0, values[-1])], values[i], half=not back)
    made = SOLVERS[f"unipc{order}"].solve(exact, flow, start, torch.from_numpy(sigmas))
    np.testing.assert_allclose(made.numpy(), x, atol=1e-11)


@pytest.mark.parametrize("flow", LINEAR.values(), ids=LINEAR.keys())
@pytest.mark.parametrize(("clock", "variable"), [(LOG_SNR, "lambda"), (ANGLE, "theta")])
def test_moments_of_exponential_steps_are_integrals(flow: LinearFlow, clock: Clock, variable: str) -> None:
    """b_s int u^k d(a/b), by the trapezoidal rule with 200,001 points in the clock's own variable."""
    for before, after in ((5.0, 0.3), (0.5, 0.45), (1.0, 0.02)):
        start, end = flow.time(torch.tensor([before, after], dtype=torch.float64))
        u = torch.linspace(0, 1, 200_001, dtype=torch.float64)
        if variable == "lambda":
            sigma = before * (after / before) ** u
        else:
            angles = [math.atan(sigma / flow.sd) for sigma in (before, after)]
            sigma = flow.sd * torch.tan(angles[0] + u * (angles[1] - angles[0]))
        ratio = 1 / sigma
        expected = [flow.path(end).b * ((u[1:] ** k + u[:-1] ** k) / 2 * ratio.diff()).sum() for k in range(4)]
        torch.testing.assert_close(clock.moments(flow, start, end, 4), torch.stack(expected), rtol=1e-7, atol=1e-9)


def test_ipndm_is_adams_bashforth_with_fixed_coefficients_on_its_clock() -> None:
    """y = x / a, dy = Z dsigma; four orders of its start included."""
    flow = Oscillation()
    exact, fixed = MixtureHVP(ring_mixture(), flow), [[1], [3, -1], [23, -16, 5], [55, -59, 37, -9]]
    y = SIGMA[0] * torch.randn(8, 2, generator=generator(6), dtype=torch.float64)
    times, noises = flow.time(SIGMA[:-1]), []
    start = flow.path(times[0]).a * y
    for i, step in enumerate(SIGMA[:-1].diff()):
        noises.insert(0, exact.denoiser_and_noise(flow.path(times[i]).a * y, times[i])[1])
        weights = torch.tensor(fixed[min(i, 3)], dtype=torch.float64) / (1, 2, 12, 24)[min(i, 3)]
        y = y + step * sum(w * z for w, z in zip(weights, noises))
    made = IPNDM(4).solve(exact, flow, start, times)
    torch.testing.assert_close(made, flow.path(times[-1]).a * y, atol=1e-11, rtol=0)


def test_equal_steps_of_diffusion_make_ipndm_deis_and_adams_bashforth_one() -> None:
    flow = Diffusion()
    exact, x = MixtureHVP(ring_mixture(), flow), 3 * torch.randn(8, 2, generator=generator(7), dtype=torch.float64)
    times = torch.linspace(3, 0.1, 15, dtype=torch.float64)
    first, *others = (SOLVERS[name].solve(exact, flow, x, times) for name in ("ab4", "ipndm4", "deis3"))
    for other in others:
        torch.testing.assert_close(other, first, atol=1e-10, rtol=0)


def test_the_embedded_pair_fulfils_the_order_conditions() -> None:
    """Of quadrature: sum b c^(k-1) = 1/k to order 5 and 4; and sum_j a_ij = c_i. The order itself is measured below."""
    fifth = np.array([*A[-1], 0.0])
    for weights, order in ((fifth, 5), (fifth - np.array(ERROR), 4)):
        for k in range(1, order + 1):
            assert np.dot(weights, np.array(C) ** (k - 1)) == pytest.approx(1 / k, abs=1e-14)
    assert [sum(row) for row in A] == pytest.approx(C, abs=1e-14)


@pytest.mark.parametrize("flow", [Oscillation(), Diffusion()], ids=["oscillation", "diffusion"])
def test_dormand_prince_keeps_its_tolerance(flow: LinearFlow) -> None:
    exact = MixtureHVP(ring_mixture(sd=0.2), flow)
    x = flow.prior.sample((24, 2), generator(8))
    ends = torch.tensor([flow.T, 0.0], dtype=torch.float64)
    truth = DormandPrince(1e-9).solve(exact, flow, x, ends)
    if isinstance(flow, Oscillation):
        against = SOLVERS["rk4"].solve(exact, flow, x, named("sigmoid")(flow, 400))
        torch.testing.assert_close(truth, against, atol=1e-8, rtol=0)
    loose, tight = ((DormandPrince(t).solve(exact, flow, x, ends) - truth).abs().max() for t in (1e-4, 1e-6))
    assert loose < 1e-2
    assert tight < 1e-4
    assert tight < loose


def test_dormand_prince_steps_item_by_item_and_counts() -> None:
    flow, counted = Oscillation(), []
    exact = MixtureHVP(ring_mixture(), flow)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        counted.append(len(x))
        return exact(x, t)

    x = flow.prior.sample((12, 2), generator(9))
    chosen = plan(flow, 600, "dopri5")
    assert (chosen.nfe, chosen.grid, chosen.times.tolist()) == (600, "adaptive", [flow.T, 0.0])
    together = chosen.solver.solve(velocity, flow, x, chosen.times)
    needed = len(counted)
    assert needed % 6 == 1
    alone = torch.cat([chosen.solver.solve(exact, flow, one, chosen.times) for one in x.split(1)])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)
    counted.clear()
    with pytest.raises(HgfctlError, match=r"dopri5 takes more than `nfe=\d+` evaluations .*; raise `nfe` or"):
        DormandPrince(budget=needed - 1).solve(velocity, flow, x, chosen.times)
    assert len(counted) < needed
    with pytest.raises(RequestError, match="dopri5 takes 7 evaluations or more"):
        plan(flow, 6, "dopri5")
    with pytest.raises(RequestError, match="leave `grid` out"):
        plan(flow, 60, "dopri5", "rho")


def test_dormand_prince_says_when_a_tolerance_is_out_of_reach() -> None:
    rng = generator(10)

    def rough(x: Tensor, t: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=rng, dtype=x.dtype)

    with pytest.raises(HgfctlError, match="precision"):
        DormandPrince(1e-9).solve(
            rough, Oscillation(), torch.zeros(2, 2, dtype=torch.float64), torch.tensor([1.0, 0.0])
        )


def _normals(seed: int, like: Tensor) -> Callable[[], Tensor]:
    rng = generator(seed)
    return lambda: torch.randn(like.shape, generator=rng, dtype=torch.float64)


def test_churn_is_algorithm_2_of_karras_et_al() -> None:
    """Written again in sigma, for diffusion; levels between which there is churn, and its strength, included."""
    flow = Diffusion()
    exact, times = MixtureHVP(ring_mixture(), flow), named("rho")(flow, 12)
    x = flow.prior.sample((8, 2), generator(11))
    solver = ChurnedHeun(churn=10, levels=(0.05, 50.0), strength=1.1, normal=_normals(12, x))
    made, normal = solver.solve(exact, flow, x, times), _normals(12, x)
    for i in range(12):
        t, after = times[i], times[i + 1]
        gamma = min(10 / 12, math.sqrt(2) - 1) if 0.05 <= t <= 50 else 0.0
        raised = t + gamma * t
        if gamma:
            x = x + (raised**2 - t**2).sqrt() * 1.1 * normal()
        slope = exact(x, raised)
        moved = x + (after - raised) * slope
        x = moved if after == 0 else x + (after - raised) * (slope + exact(moved, after)) / 2
    torch.testing.assert_close(made, x, atol=1e-10, rtol=0)


@pytest.mark.parametrize("flow", LINEAR.values(), ids=LINEAR.keys())
def test_raising_takes_one_marginal_to_the_next(flow: LinearFlow) -> None:
    """x = a x0 + b z turns into a' x0 + (noise of variance b'^2): for x0 = 0 and x0 = 1 at a time."""
    t, to = flow.time(torch.tensor([0.1, 0.7], dtype=torch.float64))
    z = torch.randn(200_000, 1, generator=generator(13), dtype=torch.float64)
    solver = ChurnedHeun(churn=1.0, normal=_normals(14, z))
    before, after = flow.path(t), flow.path(to)
    x = solver.raised(flow, before.a + before.b * z, t, to)
    # Standard errors are b' / sqrt(N) and b' / sqrt(2 N): four of them.
    assert float(x.mean()) == pytest.approx(float(after.a), abs=4 * float(after.b) / 447)
    assert float(x.std()) == pytest.approx(float(after.b), rel=4 / 632)


@pytest.mark.parametrize("options", [{"churn": 10}, {"restart": 3}], ids=["churn", "restart"])
@pytest.mark.parametrize("flow", [Oscillation(), Diffusion()], ids=["oscillation", "diffusion"])
def test_stochastic_samples_follow_the_law(flow: LinearFlow, options: dict[str, int]) -> None:
    """Of the ring: all modes alike (chi-square, 7 degrees of freedom, 1e-3) and the spread around them."""
    mixture: GaussianMixture = ring_mixture()
    chosen = plan(flow, 120, Component(name="heun", options=options), "sigmoid")
    x = flow.prior.sample((800, 2), generator(15))
    solver = chosen.solver.with_noise(_normals(16, x))
    made = solver.solve(MixtureHVP(mixture, flow), flow, x, chosen.times)
    distance, mode = torch.cdist(made, mixture.means).min(1)
    assert float(distance.square().mean().sqrt()) == pytest.approx(0.05 * math.sqrt(2), rel=0.12)
    counts = torch.bincount(mode, minlength=8).double()
    assert float(((counts - 100) ** 2 / 100).sum()) < 24.3


@pytest.mark.parametrize("sampler", ["euler", "heun", "rk4", "ab4", "unipc3", "angle-abm3"])
@pytest.mark.parametrize("nfe", [25, 40, 61])
def test_restarts_stay_within_the_budget(sampler: str, nfe: int) -> None:
    flow, calls = Oscillation(), []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        calls.append(t)
        return -x

    chosen = plan(flow, nfe, Component(name=sampler, options={"restart": 2, "restart_steps": 2}), "cosine")
    x = torch.ones(1, 2, dtype=torch.float64)
    path = list(chosen.solver.with_noise(_normals(17, x)).trajectory(velocity, flow, x, chosen.times))
    assert len(path) == len(chosen.times)
    assert len(calls) == chosen.nfe <= nfe
    assert chosen.solver.cost(len(chosen.times)) > nfe


def test_restarts_contract_what_went_wrong_before() -> None:
    """Near the end all is moved by 0.3: more restarts spread it evenly over the modes again (Xu et al., theorem 1)."""
    flow, mixture = Oscillation(), ring_mixture()
    exact = MixtureHVP(mixture, flow)
    x = flow.prior.sample((400, 2), generator(18))
    times = named("sigmoid")(flow, 30)
    stop = int((flow.sigma(times[1:-1]) / 0.06).log().abs().argmin())
    wrong = SOLVERS["heun"].solve(exact, flow, x, times[:stop]) + 0.3
    spreads = []
    for repeats in (1, 4):
        solver = Restart(base=SOLVERS["heun"], repeats=repeats, levels=(0.06, 0.4), descent=4, normal=_normals(19, x))
        made = solver.solve(exact, flow, wrong, times[stop - 1 :])
        nearest = torch.cdist(made, mixture.means).min(1).indices
        counts = torch.bincount(nearest, minlength=8).double()
        spreads.append(float(((counts - 50) ** 2).sum()))
    assert spreads[1] < 0.7 * spreads[0]


def test_options_that_do_not_fit_are_refused() -> None:
    for sampler, options, said in (
        ("ab4", {"churn": 1}, "churn is for heun"),
        ("heun", {"churn": 1, "restart": 1}, "choose one"),
        ("dopri5", {"restart": 1}, "dopri5 keeps a tolerance"),
    ):
        with pytest.raises(RequestError, match=said):
            configured(Component(name=sampler, options=options), 50)
    with pytest.raises(RequestError, match="heun\\+churn puts noise back in, and that needs a linear flow"):
        plan(Reflection(), 20, Component(name="heun", options={"churn": 1}))
    with pytest.raises(RequestError, match="heun\\+restart takes 33 evaluations or more, and `nfe=20` is too few"):
        plan(Oscillation(), 20, Component(name="heun", options={"restart": 5}))
    with pytest.raises(ValueError, match="the lower noise level comes first"):
        SampleSection(restart_levels=(0.3, 0.06))


@pytest.mark.parametrize("name", ["power:3", "sigmoid:2.5", "sigmoid:1,2", "rho:5", "log-snr:0.01"])
@pytest.mark.parametrize("flow", [*LINEAR.values(), Reflection()], ids=[*LINEAR.keys(), "reflection"])
def test_families_of_grids_fall_from_T_to_zero(name: str, flow: Flow) -> None:
    for steps in (1, 2, 7, 60):
        times = named(name)(flow, steps)
        assert len(times) == steps + 1
        assert (float(times[0]), float(times[-1])) == (flow.T, 0.0)
        assert bool((times.diff() < 0).all())


def test_numbers_of_a_family() -> None:
    flow = Oscillation()
    torch.testing.assert_close(named("power:2")(flow, 9), named("quadratic")(flow, 9))
    torch.testing.assert_close(named("sigmoid:2,1")(flow, 9), named("sigmoid")(flow, 9))
    assert float(flow.sigma(named("log-snr:0.03")(flow, 9)[-2])) == pytest.approx(0.03)
    for name, said in (
        ("sigmoid:a", "numbers go after the colon"),
        ("cosine:2", "cosine takes no numbers"),
        ("sigmoid:1,2,3", "sigmoid takes steepness, exponent"),
        ("power:-1", "exponent must be positive"),
        ("powr:2", "did you mean 'power'"),
    ):
        with pytest.raises(RequestError, match=said):
            named(name)
