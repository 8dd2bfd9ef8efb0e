"""Score losses against what they estimate, in closed form; HSD against a linear flow's own."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hgfctl.engine.data.density import DensityData
from hgfctl.engine.data.mixture import GaussianMixture, gmm_mixture
from hgfctl.engine.integrators import INTEGRATORS
from hgfctl.engine.losses.hamiltonian import HSMGalerkin, HSMMinMax
from hgfctl.engine.losses.score_matching import DSM, ESM, ISM, SSM, SSMVR
from hgfctl.engine.metrics import hsd_study
from hgfctl.engine.metrics.hsd import Flights, hsd_by_critic, hsd_exact, liouville_hvp
from hgfctl.engine.metrics.score_error import score_error
from hgfctl.engine.metrics.score_report import score_report
from hgfctl.engine.models.networks.mlp import MLP
from hgfctl.engine.models.networks.perceptron import Perceptron
from hgfctl.engine.models.score import Score
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.hmc import HMCSampler
from hgfctl.errors import RequestError

SLOPE = torch.tensor([[-1.3, 0.4], [0.1, -0.7]], dtype=torch.float64)
COVARIANCE = torch.tensor([[0.8, 0.2], [0.2, 0.5]], dtype=torch.float64)
GAUSSIAN = GaussianMixture(torch.ones(1), torch.zeros(1, 2, dtype=torch.float64), COVARIANCE.unsqueeze(0))


class Linear(nn.Module):
    """F(x) = A x."""

    def __init__(self, slope: Tensor = SLOPE) -> None:
        super().__init__()
        self.slope = nn.Parameter(slope.clone())

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x @ self.slope.T


def hyvarinen(slope: Tensor, covariance: Tensor) -> Tensor:
    """J of F(x) = A x for x ~ N(0, C): tr(A C A^T) + 2 tr A."""
    return torch.trace(slope @ covariance @ slope.T) + 2 * torch.trace(slope)


NOISED = COVARIANCE + 0.3**2 * torch.eye(2)
ESTIMATORS: dict[str, tuple[Callable[..., Tensor], Tensor]] = {
    "dsm": (DSM(sigma=0.3), NOISED),
    "dsm antithetic": (DSM(sigma=0.3, antithetic=True), NOISED),
    "ssm": (SSM(), COVARIANCE),
    "ssm-vr": (SSMVR(), COVARIANCE),
    "ism": (ISM(), COVARIANCE),
}


def z_score(values: Tensor, expected: float) -> float:
    return float((values.mean() - expected) / (values.std() / math.sqrt(len(values))))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_value_and_gradient_are_those_of_hyvarinens_functional(name: str) -> None:
    loss, covariance = ESTIMATORS[name]
    x0 = GAUSSIAN.sample(40_000, generator(0, "x"))
    field = Linear()
    values = loss(field, x0, None, generator(1, "loss"))
    assert values.shape == (40_000,)
    assert abs(z_score(values.detach(), float(hyvarinen(SLOPE, covariance)))) < 4
    (found,) = torch.autograd.grad(values.mean(), field.slope)
    expected = 2 * SLOPE @ covariance + 2 * torch.eye(2)
    assert float((found - expected).abs().max()) < (0.15 if name == "dsm" else 0.06)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_value_of_galerkin_is_hyvarinens_too(steps: int) -> None:
    x0 = GAUSSIAN.sample(100_000, generator(0, "x"))
    values = HSMGalerkin(duration=0.02, steps=steps)(Linear(), x0, None, generator(1, "v")).detach()
    assert abs(z_score(values, float(hyvarinen(SLOPE, COVARIANCE)))) < 4


def test_explicit_score_matching_is_the_other_losses_plus_the_scores_own_square() -> None:
    x0 = GAUSSIAN.sample(40_000, generator(0, "x"))
    explicit = ESM(GAUSSIAN)(Linear(), x0, None, generator(0, "unused"))
    constant = float(torch.trace(torch.linalg.inv(COVARIANCE)))
    assert abs(z_score(explicit.detach(), float(hyvarinen(SLOPE, COVARIANCE)) + constant)) < 4
    error = score_error(Linear(), GAUSSIAN, x0)
    assert error.esm.value == pytest.approx(float(explicit.detach().mean()), rel=1e-12)
    assert error.relative == pytest.approx(error.esm.value / constant, rel=0.02)


@pytest.mark.parametrize("antithetic", [False, True])
def test_the_variance_of_dsm_grows_as_its_noise_falls_unless_pairs_cancel_it(antithetic: bool) -> None:
    x0 = GAUSSIAN.sample(20_000, generator(0, "x"))
    wide, narrow = (DSM(s, antithetic)(Linear(), x0, None, generator(1, "z")).detach().var() for s in (0.1, 0.01))
    assert float(narrow / wide) == pytest.approx(1.0 if antithetic else 100.0, rel=0.15)


@pytest.mark.parametrize("antithetic", [False, True])
def test_galerkin_rests_at_the_score_and_pulls_towards_it(antithetic: bool) -> None:
    loss = HSMGalerkin(duration=0.2, steps=8, antithetic=antithetic)
    x0 = GAUSSIAN.sample(40_000, generator(0, "x"))
    score = -torch.linalg.inv(COVARIANCE)

    def pull(slope: Tensor) -> Tensor:
        field = Linear(slope)
        loss(field, x0, None, generator(1, "v")).mean().backward()
        assert field.slope.grad is not None
        return field.slope.grad

    noise = 0.04 if antithetic else 0.15
    assert float(pull(score).abs().max()) < noise
    off = torch.tensor([[0.5, 0.0], [0.3, -0.4]], dtype=torch.float64)
    explicit = 2 * off @ COVARIANCE  # the gradient of E |F - s|^2, to O(T)
    torch.testing.assert_close(pull(score + off), explicit, rtol=0.1, atol=noise + 0.05)


def moments(slope: Tensor, t: float) -> Tensor:
    """Covariance of (x_t, v_t), (4, 4), for F(x) = A x and x0 ~ N(0, C), in closed form."""
    zero, one = torch.zeros(2, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    move = torch.matrix_exp(t * torch.cat([torch.cat([zero, one], 1), torch.cat([slope, zero], 1)]))
    return move @ torch.block_diag(COVARIANCE, one) @ move.T


def critic(slope: Tensor, t: float) -> Tensor:
    """V(x, t) = K x: K = C_vx C_xx^-1 of that flow."""
    spread = moments(slope, t)
    return spread[2:, :2] @ torch.linalg.inv(spread[:2, :2])


class LinearCritic(nn.Module):
    """C(x) = K x, blind to time."""

    def __init__(self, slope: Tensor) -> None:
        super().__init__()
        self.slope = nn.Parameter(slope.clone())

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        return x @ self.slope.T


@pytest.mark.parametrize("form", ["plain", "residual"])
@pytest.mark.parametrize("adjoint", ["autograd", "reversible"])
def test_the_game_at_its_best_critic_is_the_discrepancy(form: str, adjoint: str) -> None:
    """Value: HSD_t/t^2 in closed form. The critic rests; the field's gradient is that of HSD (envelope theorem)."""
    t, sd = 0.5, 0.8
    x0 = GAUSSIAN.sample(60_000, generator(0, "x"))
    best = critic(SLOPE, t)
    opponent = LinearCritic(best / t * sd * sd if form == "plain" else (SLOPE - best / t) * sd * sd)
    game = HSMMinMax(opponent, sd, duration=t, steps=40, form=form, adjoint=adjoint)  # type: ignore[arg-type]
    field = Linear()
    rng = next(g for g in (generator(i, "game") for i in range(10_000)) if reaches(g, 40, x0))
    game(field, x0, None, rng).mean().backward()

    def discrepancy(slope: Tensor) -> float:
        k, xx = critic(slope, t), moments(slope, t)[:2, :2]
        return float(torch.trace(k @ xx @ k.T)) / t**2

    rng = next(g for g in (generator(i, "game") for i in range(10_000)) if reaches(g, 40, x0))
    values = game(field, x0, None, rng).detach()
    assert abs(z_score(values, discrepancy(SLOPE))) < 4
    h = 1e-4
    expected = torch.zeros(2, 2, dtype=torch.float64)
    for i in range(2):
        for j in range(2):
            bump = torch.zeros(2, 2, dtype=torch.float64)
            bump[i, j] = h
            expected[i, j] = (discrepancy(SLOPE + bump) - discrepancy(SLOPE - bump)) / (2 * h)
    assert field.slope.grad is not None
    assert opponent.slope.grad is not None
    torch.testing.assert_close(field.slope.grad, expected, rtol=0.05, atol=0.04)
    assert float(opponent.slope.grad.abs().max()) < 0.03


def reaches(rng: torch.Generator, steps: int, x0: Tensor) -> bool:
    """Whether a game with this generator flies all steps; the generator is left as it was."""
    before = rng.get_state()
    torch.randn(x0.shape, generator=rng, dtype=x0.dtype)
    reached = int(torch.randint(1, steps + 1, (), generator=rng))
    rng.set_state(before)
    return reached == steps


def test_the_players_of_the_game_pull_apart() -> None:
    """A step against the gradient of one player's weights: down for the field, up for the critic."""
    torch.manual_seed(0)
    field = Score(Perceptron((2,), 0, width=16), sd=1.0).double()
    opponent = MLP((2,), 0, width=16, blocks=1).double()
    nn.init.normal_(opponent.dec.weight, std=0.3)
    game = HSMMinMax(opponent, 1.0, duration=0.3, steps=1, form="plain")
    x0 = gmm_mixture().sample(500, generator(0, "x"))

    def value() -> Tensor:
        return game(field, x0, None, generator(1, "v")).mean()

    before = value()
    before.backward()
    for player in (field, opponent):
        backup = copy.deepcopy(player.state_dict())
        with torch.no_grad():
            for p in player.parameters():
                p -= 1e-3 * p.grad  # type: ignore[operator]
        after = value()
        assert (after < before) if player is field else (after > before)
        player.load_state_dict(backup)


@pytest.mark.parametrize("conservative", [False, True])
def test_a_conservative_field_has_no_curl(conservative: bool) -> None:
    torch.manual_seed(0)
    field = Score(Perceptron((3,), 0, width=16), sd=0.7, conservative=conservative).double()
    x = torch.randn(3, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda x: field(x.unsqueeze(0))[0])(x) if not conservative else _jacobian(field, x)
    curl = float((jacobian - jacobian.T).detach().abs().max())
    assert curl < 1e-12 if conservative else curl > 1e-3


def _jacobian(field: Score, x: Tensor) -> Tensor:
    here = x.unsqueeze(0).requires_grad_()
    out = field(here)
    return torch.stack([torch.autograd.grad(out[0, i], here, retain_graph=True)[0][0] for i in range(3)])


def test_an_energys_gradient_is_the_field() -> None:
    field = Score(Perceptron((2,), 0, width=16), sd=0.7, conservative=True).double()
    x, h = torch.randn(5, 2, dtype=torch.float64), 1e-5
    with torch.no_grad():
        for i in range(2):
            bump = torch.zeros(2, dtype=torch.float64)
            bump[i] = h
            slope = (field.energy(x + bump) - field.energy(x - bump)) / (2 * h)
            torch.testing.assert_close(-slope, field(x)[:, i], rtol=1e-6, atol=1e-8)
    with pytest.raises(ValueError, match="no energy"):
        Score(Perceptron((2,), 0), sd=1.0).energy(x)


@pytest.mark.parametrize("conservative", [False, True])
def test_training_lowers_the_error(conservative: bool) -> None:
    torch.manual_seed(0)
    density = gmm_mixture()
    field = Score(Perceptron((2,), 0, width=32), sd=0.9, conservative=conservative)
    adam = torch.optim.Adam(field.parameters(), lr=5e-3)
    held_out = density.sample(2000, generator(9, "x")).float()
    before = score_error(field, density, held_out).relative
    for step in range(150):
        x0 = density.sample(256, generator(step, "x")).float()
        adam.zero_grad()
        HSMGalerkin()(field, x0, None, generator(step, "v")).mean().backward()
        adam.step()
    assert before > 0.7
    assert score_error(field, density, held_out).relative < 0.35


def test_liouville_agrees_with_the_linear_flow() -> None:
    """F(x) = A x of any trace: a linear flow of Gaussian data, V = K x."""
    x = torch.randn(20, 2, generator=generator(0, "x"), dtype=torch.float64)
    for t in (0.05, 0.3, 0.8):
        found = liouville_hvp(lambda x, t: x @ SLOPE.T, GAUSSIAN.log_prob, x, t, steps=600)
        torch.testing.assert_close(found, x @ critic(SLOPE, t).T, rtol=1e-4, atol=1e-5)


def test_liouville_agrees_with_simulation() -> None:
    """Flights through a mixture under its wrong score: E[(v_t - V(x_t)) g(x_t)] = 0 for any g."""
    density, t, count = gmm_mixture(), 0.5, 1500
    rng = generator(0, "flight")
    start = State(density.sample(count, rng), torch.randn(count, 2, generator=rng, dtype=torch.float64))

    def force(x: Tensor, t: Tensor) -> Tensor:
        return 0.6 * density.score(x) + torch.sin(x)

    end = INTEGRATORS["leapfrog"].integrate(force, start, torch.linspace(0, t, 21, dtype=torch.float64))
    residual = end.v - torch.cat([liouville_hvp(force, density.log_prob, x, t, 20, nodes=20) for x in end.x.split(500)])
    for test in (torch.ones_like(end.x), end.x, torch.sin(2 * end.x), end.x.flip(1) * end.x):
        product = (residual * test).mean(1)
        assert abs(z_score(product, 0.0)) < 4
    assert float((end.v - residual).square().mean()) > 0.1  # there was something to predict


def test_the_discrepancy_vanishes_at_the_score_and_tends_to_the_explicit_error() -> None:
    density = gmm_mixture()
    rng = generator(0, "hsd")
    x0 = density.sample(400, rng)
    v0 = torch.randn(400, 2, generator=rng, dtype=torch.float64)
    assert hsd_exact(lambda x, t: density.score(x), density, x0, v0, 0.1, steps=4).value < 1e-6

    def wrong(x: Tensor, t: Tensor) -> Tensor:
        return density.score(x) + 0.5 * torch.tanh(x.flip(1))

    esm = score_error(lambda x, _: wrong(x, x.new_zeros(())), density, x0).esm.value
    for t, closeness in ((0.1, 0.08), (0.05, 0.02), (0.01, 0.005)):
        assert hsd_exact(wrong, density, x0, v0, t, steps=4).value / t**2 == pytest.approx(esm, rel=closeness)


def test_a_trained_critic_finds_the_discrepancy() -> None:
    """In closed form: F(x) = A x, Gaussian data; at the score itself nothing is found."""
    data = DensityData(GAUSSIAN)
    for slope in (SLOPE, -torch.linalg.inv(COVARIANCE)):
        t, matrix = 0.5, slope.float()
        torch.manual_seed(0)
        flights = Flights(lambda x, _, m=matrix: x @ m.T, data, 0.8, t, 8)  # type: ignore[misc]
        found = hsd_by_critic(flights, Perceptron((2,), 0, width=32), fits=300)
        k, spread = critic(slope, t), moments(slope, t)
        expected = float(torch.trace(k @ spread[:2, :2] @ k.T))
        assert found.value == pytest.approx(expected, rel=0.05, abs=2e-3)
        assert 0 < found.error < 1e-2


class Matrix(nn.Module):
    """A network N(u) = A u."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone(), requires_grad=False)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        return x @ self.matrix.T


def test_hmc_samples_the_law_whose_score_it_is_given() -> None:
    """And the leapfrog's bias is the stated one: variance larger by 1/(1 - (h/2s)^2) along an axis of deviation s."""
    spreads, sd, step = torch.tensor([0.25, 0.64, 1.44], dtype=torch.float64), 0.8, 0.4
    score = Score(Matrix(-torch.diag(sd**2 / spreads)), sd=sd)
    sampler = HMCSampler((3,), 0, score, budget=200, step=step, flight=2.0)
    assert (sampler.steps, sampler.flights, sampler.nfe) == (5, 33, 198)
    (batch,) = sampler.batches(torch.arange(20_000), 20_000)
    lengths = torch.linspace(0.8, 1.2, 201, dtype=torch.float64) * step * sd
    # A flight of every length leaves its own bias; those of the last few are mixed.
    bias = 1 / (1 - lengths.square().unsqueeze(1) / (4 * spreads))
    found = batch.x.double().var(0) / spreads
    assert bool((found > 0.97 * bias.min(0).values).all())
    assert bool((found < 1.03 * bias.max(0).values).all())
    assert float(found[0]) > 1.05
    correlation = torch.corrcoef(batch.x.T.double())
    assert float((correlation - torch.eye(3)).abs().max()) < 0.03
    assert float(batch.x.mean(0).abs().max()) < 0.05


def test_an_hmc_sample_depends_on_its_seed_alone() -> None:
    score = Score(Perceptron((2,), 0, width=16), sd=0.7).double()
    sampler = HMCSampler((2,), 0, score, budget=60)
    (whole,) = sampler.batches(torch.arange(9), 9)
    parts = torch.cat([part.x for part in sampler.batches(torch.arange(3, 9), 2)])
    torch.testing.assert_close(parts, whole.x[3:], rtol=1e-5, atol=1e-6)
    with pytest.raises(RequestError, match="16 evaluations a flight"):
        HMCSampler((2,), 0, score, budget=15)


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="sigma"):
        DSM(sigma=0)
    with pytest.raises(ValueError, match="duration"):
        HSMGalerkin(duration=-1)
    with pytest.raises(ValueError, match="steps"):
        HSMMinMax(LinearCritic(SLOPE), 1.0, steps=0)
    with pytest.raises(ValueError, match="not conditional"):
        Perceptron((2,), 3)
    with pytest.raises(ValueError, match="use the unet"):
        Perceptron((1, 8, 8), 0)


def test_the_study_of_the_discrepancy_finds_what_theory_says() -> None:
    density = gmm_mixture()
    found = hsd_study.agreement(density, 0.25, items=100)
    assert len(found.esm) >= 24
    assert found.pearson > 0.97
    assert bool((found.hsd / 0.25**2 < 1.05 * found.esm).all())
    short, long = hsd_study.limit(density, (0.02, 0.4), items=300)
    assert short.ratio.value == pytest.approx(1, abs=0.02)
    assert 0.5 < long.ratio.value < 0.85
    noise = hsd_study.gradient_noise(density, (0.02, 0.1), items=150)
    by_name = {name: [e.value for e in estimates] for name, estimates in noise.methods.items()}
    assert by_name["HSM, critic at its optimum"][1] > 100 * by_name["DSM"][1]
    assert by_name["DSM"][1] == pytest.approx(25 * by_name["DSM"][0], rel=0.6)  # falls as sigma^2
    assert by_name["HSM without a critic"][0] == pytest.approx(by_name["DSM"][0], rel=0.5)
    for name in ("DSM, pairs", "HSM without a critic, pairs"):
        assert by_name[name] == pytest.approx([0.1, 0.1], rel=0.3)


def test_reports_draw_critics_from_a_stream_of_their_own() -> None:
    """The caller's generator stays as it was, and what the caller has drawn from it changes no number."""
    data, found = DensityData(GAUSSIAN), []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        report = score_report(lambda x, labels: -x, data, (0.1,), 0.8, lambda: Perceptron((2,), 0), fits=2, seed=0)
        (by_critic,) = hsd_study.limit_by_critic(GAUSSIAN, (0.1,), fits=2)
        assert torch.equal(torch.get_rng_state(), before)
        found.append((report.as_json(), by_critic))
    assert found[0] == found[1]
