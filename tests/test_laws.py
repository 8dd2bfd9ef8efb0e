"""Velocity laws and priors against Monte Carlo, scipy, torch.distributions, brute force and integration."""

import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from hgfctl.engine.data.mixture import gmm64_mixture
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.priors import PRIORS
from hgfctl.engine.flows.priors.fit import Fitted
from hgfctl.engine.flows.priors.fit_bank import BankFit, silverman
from hgfctl.engine.flows.priors.fit_gaussian import GaussianFit
from hgfctl.engine.flows.priors.fit_mixture import MixtureFit
from hgfctl.engine.flows.priors.mixture import MixturePrior
from hgfctl.engine.flows.priors.report import prior_report
from hgfctl.engine.flows.priors.spread import ledoit_wolf, spread
from hgfctl.engine.flows.velocity_laws import VELOCITY_LAWS
from hgfctl.engine.flows.velocity_laws.law import VelocityLaw
from hgfctl.engine.flows.velocity_laws.optimal_transport import TransportedVelocity, assignment
from hgfctl.engine.flows.velocity_laws.sphere import SphereVelocity
from hgfctl.engine.flows.velocity_laws.student_t import StudentVelocity, student_radius
from hgfctl.engine.losses.loss import Share
from hgfctl.engine.losses.states import draw_states
from hgfctl.engine.losses.times import UniformTimes
from hgfctl.engine.provided import DATA_SCALE, DURATION, ITEM_SHAPE
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.two_sample import two_sample
from hgfctl.engine.transport.interpolation import interpolated
from hgfctl.errors import RequestError
from hgfctl.storage import tensor_files

COVARIANCE = [[1.0, 0.3, 0.0], [0.3, 0.5, -0.2], [0.0, -0.2, 0.8]]
SPREADS = [
    ("gaussian", {"sd": 0.7}),
    ("gaussian", {"sd": [0.5, 1.0, 2.0]}),
    ("gaussian", {"covariance": COVARIANCE}),
    ("flow-matching", {}),
    ("flow-matching", {"s": 0.9}),
    ("sphere", {"speed": 1.3}),
    ("student-t", {"freedom": 12.0, "sd": 0.6}),
]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator("laws", seed, *shape), dtype=torch.float64)


def law(name: str, shape: tuple[int, ...] = (3,), duration: float = 1.0, **options: object) -> VelocityLaw:
    return VELOCITY_LAWS.build(name, options, {DATA_SCALE: 0.5, ITEM_SHAPE: shape, DURATION: duration})


def test_registries_are_read_without_torch() -> None:
    code = (
        "import sys; from hgfctl.engine.flows.velocity_laws import VELOCITY_LAWS; "
        "from hgfctl.engine.flows.priors import PRIORS; assert 'torch' not in sys.modules; "
        "from hgfctl.engine.flows.velocity_laws import VelocityLaw, GaussianVelocity, CoupledVelocity, InitialMoments; "
        "from hgfctl.engine.flows.priors import Prior, GaussianPrior, UniformPrior"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("name", "options"), SPREADS)
def test_moments_are_those_of_draws(name: str, options: dict[str, object]) -> None:
    """Within five standard errors, for data of root mean square 0.4 and T = 0.8."""
    drawn = law(name, duration=0.8, **options)
    x0 = 0.4 * normal(200_000, 3, seed=1)
    v0 = drawn(x0, normal(200_000, 3, seed=2))
    for product, expected in zip((x0 * v0, v0**2), drawn.moments(0.4)):
        mean, error = product.mean(), product.mean(1).std() / len(x0) ** 0.5
        assert abs(mean - expected) < 5 * error + 1e-12


@pytest.mark.parametrize("name", [name for name in VELOCITY_LAWS if name != "aimed"])  # that needs a force
def test_laws_keep_shape_and_type(name: str) -> None:
    for shape in ((3,), (1, 2, 3)):
        x0 = torch.rand(5, *shape, generator=generator(0))
        v0 = law(name, shape)(x0, normal(5, *shape).float())
        assert v0.shape == x0.shape
        assert v0.dtype == torch.float32
        assert bool(v0.isfinite().all())


def test_covariance_of_draws_is_the_one_asked_for() -> None:
    """Each entry within five standard errors, sqrt((C_ii C_jj + C_ij^2) / N)."""
    wanted = torch.tensor(COVARIANCE).double()
    v0 = law("gaussian", covariance=COVARIANCE)(torch.zeros(200_000, 3), normal(200_000, 3))
    error = ((wanted.diag().outer(wanted.diag()) + wanted**2) / len(v0)).sqrt()
    assert bool(((v0.T.cov() - wanted).abs() < 5 * error).all())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sd": -1.0}, "sd must be positive"),
        ({"sd": [1.0, 2.0]}, "sd has 2 numbers, and items have 3"),
        ({"covariance": [[1.0, 0.0], [0.0, 1.0]]}, "items of 3 need 3 x 3"),
        (
            {"covariance": [[1.0, 0.5, 0.0], [0.2, 1.0, 0.0], [0.0, 0.0, 1.0]]},
            r"\[0\]\[1\] is 0.5 and \[1\]\[0\] is 0.2",
        ),
        ({"covariance": [[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]}, "smallest eigenvalue is -1"),
        ({"covariance": [[math.nan, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]}, "not finite"),
    ],
)
def test_what_is_no_covariance_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(RequestError, match=f"velocity law gaussian: .*{said}"):
        law("gaussian", **options)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("sphere", "speed", 0.0),
        ("student-t", "freedom", 2.0),
        ("student-t", "sd", -1.0),
        ("flow-matching", "s", 0.0),
        ("optimal-transport", "batch", 0),
    ],
)
def test_options_out_of_range_are_refused(name: str, option: str, value: float) -> None:
    with pytest.raises(RequestError, match=rf"velocity law {name}: {option}\b"):
        law(name, **{option: value})


@pytest.mark.parametrize("name", ["flow-matching", "optimal-transport"])
def test_straight_lines_end_at_the_noise(name: str) -> None:
    x0, z = normal(8, 3, seed=1), normal(8, 3, seed=2)
    torch.testing.assert_close(x0 + 2.5 * law(name, duration=2.5)(x0, z), 0.5 * z, rtol=0, atol=1e-15)


@given(st.integers(1, 300), st.floats(1e-3, 1e3), st.integers(0, 10**6))
def test_sphere_has_one_speed_and_the_direction_of_the_noise(dim: int, speed: float, seed: int) -> None:
    z = normal(4, dim, seed=seed)
    v0 = SphereVelocity(speed)(z, z)
    assert bool(((v0.norm(dim=1) / (speed * dim**0.5) - 1).abs() < 1e-12).all())
    torch.testing.assert_close(v0 / v0.norm(dim=1, keepdim=True), z / z.norm(dim=1, keepdim=True), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-30, 1e30, 1e300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_laws_of_lengths_are_finite_for_any_noise(size: float, dtype: torch.dtype) -> None:
    z = torch.full((1, 7), min(size, 1e38) if dtype == torch.float32 else size, dtype=dtype)
    for of_length in (SphereVelocity(), StudentVelocity(2.01), StudentVelocity(1e5)):
        assert bool(of_length(z, z).isfinite().all())


@pytest.mark.parametrize("freedom", [2.1, 3.0, 10.0, 1e4])
@pytest.mark.parametrize("dim", [1, 2, 64, 3072])
def test_student_radius_is_as_rare_as_that_of_the_noise(dim: int, freedom: float) -> None:
    """By scipy's F and chi^2, counted from the nearer end; out to shares of 1e-28."""
    length = dim**0.5 + torch.linspace(max(-4.0, 0.02 - dim**0.5), 7.5, 60, dtype=torch.float64)
    for kept, tolerance in ((length, 1e-9), (length.float(), 1e-4)):
        ratio = student_radius(kept, dim, freedom).double().numpy() ** 2 / dim
        squared = kept.double().numpy() ** 2
        for ours, theirs in ((stats.f.cdf, stats.chi2.cdf), (stats.f.sf, stats.chi2.sf)):
            share = theirs(squared, dim)
            assert np.max(np.abs(ours(ratio, dim, freedom) / share - 1)[share < 0.6]) < tolerance * dim


def test_student_in_one_dimension_is_the_quantile_of_t() -> None:
    z = torch.linspace(-8, 8, 101, dtype=torch.float64).unsqueeze(1)
    expected = torch.from_numpy(np.sign(z.numpy()) * stats.t.isf(stats.norm.sf(z.abs().numpy()), 3.5))
    torch.testing.assert_close(StudentVelocity(3.5)(z, z), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dim", [1, 2, 20])
def test_student_coordinates_follow_t(dim: int) -> None:
    """Kolmogorov-Smirnov, and of a projection too: a multivariate t has t's in every direction; fails once in 500."""
    v0 = StudentVelocity(4.0, sd=2.0)(normal(20_000, dim), normal(20_000, dim)) / 2
    along = normal(dim, seed=3)
    for values in (v0[:, 0], v0 @ along / along.norm()):
        assert stats.kstest(values.numpy(), stats.t(4.0).cdf).pvalue > 1e-3


def cost(x: Tensor, z: Tensor) -> float:
    return float((x - z).square().sum())


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 9), st.integers(0, 10**6))
def test_transport_permutes_noise_and_never_costs_more(count: int, dim: int, batch: int, seed: int) -> None:
    x0, z = normal(count, dim, seed=seed), normal(count, dim, seed=seed + 1)
    transported = TransportedVelocity(0.5, 1.0, batch)
    paired = transported.paired(x0, z, None)
    assert sorted(map(tuple, paired.tolist())) == sorted(map(tuple, z.tolist()))
    assert cost(x0, 0.5 * paired) <= cost(x0, 0.5 * z) + 1e-9
    assert torch.equal(paired, transported.paired(x0, z, None))


@given(st.integers(1, 6), st.integers(1, 3), st.floats(0.1, 3), st.integers(0, 10**6))
def test_transport_equals_trying_all_permutations(count: int, dim: int, sd: float, seed: int) -> None:
    x0, z = normal(count, dim, seed=seed), normal(count, dim, seed=seed + 1)
    least = min(cost(x0, sd * z[list(order)]) for order in itertools.permutations(range(count)))
    assert cost(x0, sd * z[assignment(x0, z)]) == pytest.approx(least, rel=1e-12)


def test_transport_in_one_dimension_sorts() -> None:
    x0, z = normal(50, 1, seed=5), normal(50, 1, seed=6)
    paired = TransportedVelocity(0.5).paired(x0, z, None)
    assert torch.equal(paired[x0.flatten().argsort()].flatten(), z.flatten().sort().values)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.integers(1, 8))
def test_transport_keeps_classes_apart(labels: list[int], batch: int) -> None:
    classes = torch.tensor(labels)
    x0, z = normal(len(labels), 2, seed=7), normal(len(labels), 2, seed=8)
    paired = TransportedVelocity(0.5, 1.0, batch).paired(x0, z, classes)
    for label in set(labels):
        of_class = classes == label
        assert sorted(map(tuple, paired[of_class].tolist())) == sorted(map(tuple, z[of_class].tolist()))


def test_transport_within_classes_keeps_the_prior_of_a_class() -> None:
    """Two classes on two sides: x1 of a class is normal where pairs stay within it, and on its side where not."""
    classes = torch.arange(2000) % 2
    x0 = normal(2000, 2, seed=9) * 0.2 + (2 * classes - 1).unsqueeze(1)
    z, fresh = normal(2000, 2, seed=10), normal(1000, 2, seed=11)
    transported = TransportedVelocity(1.0)
    assert two_sample(transported.paired(x0, z, classes)[classes == 0], fresh).p > 0.01
    assert two_sample(transported.paired(x0, z, None)[classes == 0], fresh).shift > 0.5
    assert two_sample(transported.paired(x0, z, None)[::3], fresh).p > 0.01


class TransportedFlow(FlowMatching):
    @property
    def velocity_law(self) -> TransportedVelocity:
        return TransportedVelocity(self.prior_sd)


def test_states_are_drawn_with_the_pairs_of_the_law() -> None:
    """x_t + (1 - t) v_t is where an item ends: the same ends in either flow, within each class in another order."""
    x0, labels = normal(64, 2, seed=12).float(), torch.arange(64) % 3
    ends = []
    for flow in (FlowMatching(), TransportedFlow()):
        x, v, t, _ = draw_states(flow, UniformTimes(), None, x0, labels, generator(1), Share(0, 64))
        ends.append(x + (1 - t.float()).unsqueeze(1) * v)
    assert cost(x0, ends[1]) < cost(x0, ends[0])
    for label in range(3):
        plain, paired = (end[labels == label] for end in ends)
        torch.testing.assert_close(paired.sum(0), plain.sum(0), atol=1e-5, rtol=0)
        assert torch.cdist(plain, paired).min(1).values.max() < 1e-5


def three_normals() -> MixturePrior:
    factors = torch.tensor([[[0.3, 0.0], [0.2, 0.1]], [[0.15, 0.0], [-0.2, 0.3]], [[0.4, 0.0], [0.1, 0.1]]]).double()
    means = torch.tensor([[0.5, 0.1], [-0.4, -0.3], [0.0, 0.6]]).double()
    return MixturePrior(torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), means, factors)


def spiral(count: int, seed: int = 0) -> Tensor:
    """A thin spiral in the plane."""
    angle = 3 * math.pi * torch.rand(count, generator=generator("spiral", seed), dtype=torch.float64).sqrt()
    along = torch.stack([angle * angle.cos(), angle * angle.sin()], 1) / 10
    return along + 0.01 * normal(count, 2, seed=seed + 100)


def moments_of(prior: MixturePrior) -> tuple[Tensor, Tensor]:
    """Mean and covariance, from the parameters."""
    means, w = prior.means.flatten(1).double(), prior.weights
    mean, factors = w @ means, prior.factors
    within = factors @ factors.mT if factors.ndim == 3 else factors.square().diag_embed()
    within = within.expand(len(w), -1, -1)
    apart = means - mean
    return mean, torch.einsum("k,kij->ij", w, within) + (apart.T * w) @ apart


ENDS = {
    "normal": 0.3 + normal(2000, 2) @ torch.tensor([[0.4, 0.1], [0.0, 0.2]]).double(),
    "three": three_normals().sample((2000, 2), generator("three")),
    "spiral": spiral(2000),
}
FITS = {name: [PRIORS.build(name, {})(ends) for ends in ENDS.values()] for name in ("gaussian", "mixture", "bank")}
every_fit = pytest.mark.parametrize("fitted", [fit for fits in FITS.values() for fit in fits])


@pytest.mark.parametrize(
    "fitted", [*FITS["gaussian"], *FITS["mixture"], *(BankFit(points=200)(ends) for ends in ENDS.values())]
)
def test_densities_integrate_to_one_in_the_plane(fitted: Fitted) -> None:
    mean, covariance = moments_of(fitted.prior)
    sides = torch.linspace(-4, 4, 251, dtype=torch.float64).unsqueeze(1) * covariance.diag().sqrt() + mean
    density = fitted.prior.log_prob(torch.cartesian_prod(sides[:, 0], sides[:, 1])).exp()
    assert float(density.sum() * (sides[1] - sides[0]).prod()) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", ["gaussian", "mixture", "bank"])
def test_densities_integrate_to_one_on_the_line(name: str) -> None:
    ends = torch.cat([0.1 * normal(300, 1, seed=1) - 1, 0.3 * normal(700, 1, seed=2) + 1])
    grid = torch.linspace(-6, 6, 20_001, dtype=torch.float64).unsqueeze(1)
    density = PRIORS.build(name, {})(ends).prior.log_prob(grid).exp()
    assert float(density.sum() * 12 / 20_000) == pytest.approx(1, abs=1e-6)


def test_densities_equal_those_of_torch_distributions() -> None:
    from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

    prior, x = three_normals(), normal(100, 2)
    full = MixtureSameFamily(Categorical(prior.weights), MultivariateNormal(prior.means, scale_tril=prior.factors))
    torch.testing.assert_close(prior.log_prob(x), full.log_prob(x), atol=1e-12, rtol=1e-12)
    sd = prior.factors.diagonal(dim1=1, dim2=2)
    diagonal = MixturePrior(prior.weights, prior.means, sd)
    theirs = MixtureSameFamily(Categorical(prior.weights), Independent(Normal(prior.means, sd), 1))
    torch.testing.assert_close(diagonal.log_prob(x), theirs.log_prob(x), atol=1e-12, rtol=1e-12)
    for factors in (prior.factors[:1], sd[:1]):  # one for all, against the same one for each
        shared = MixturePrior(prior.weights, prior.means, factors)
        each = MixturePrior(prior.weights, prior.means, factors.expand(3, *factors.shape[1:]))
        torch.testing.assert_close(shared.log_prob(x), each.log_prob(x), atol=1e-10, rtol=1e-10)
        assert torch.equal(shared.sample((9, 2), generator(0)), each.sample((9, 2), generator(0)))


@every_fit
def test_draws_have_the_moments_of_the_density(fitted: Fitted) -> None:
    """Mean and covariance within five standard errors, the fourth moments being those of the draws."""
    drawn = fitted.prior.sample((50_000, 2), generator("draws"))
    mean, covariance = moments_of(fitted.prior)
    apart = drawn - mean
    products = torch.einsum("ni,nj->nij", apart, apart)
    assert bool((apart.mean(0).abs() < 5 * apart.std(0) / len(drawn) ** 0.5).all())
    assert bool(((products.mean(0) - covariance).abs() < 5 * products.std(0) / len(drawn) ** 0.5).all())


@every_fit
def test_fits_have_mean_and_covariance_of_the_end_points(fitted: Fitted) -> None:
    ends = ENDS[list(ENDS)[FITS[fitted.name].index(fitted)]]
    mean, covariance = moments_of(fitted.prior)
    size = float(ends.var(0).mean())
    tolerance = 0.02 if fitted.name == "gaussian" else 1e-2  # shrinkage; expectation maximisation; nothing
    torch.testing.assert_close(mean, ends.mean(0), atol=1e-2 * size, rtol=0)
    torch.testing.assert_close(covariance, ends.T.cov(correction=0), atol=tolerance * size, rtol=0)


@every_fit
def test_priors_survive_a_checkpoint(fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And are sampled without scikit-learn."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    tensor_files.save(tmp_path / "prior.safetensors", fitted.prior.tensors(), {})
    tensors, _ = tensor_files.load(tmp_path / "prior.safetensors")
    again, x = MixturePrior.from_tensors(tensors), normal(5, 2)
    assert torch.equal(again.log_prob(x), fitted.prior.log_prob(x))
    assert torch.equal(again.sample((7, 2), generator(3)), fitted.prior.sample((7, 2), generator(3)))


def test_tensors_that_do_not_fit_each_other_are_refused() -> None:
    good = three_normals().tensors()
    with pytest.raises(ValueError, match="no mixture: weights"):
        MixturePrior.from_tensors({**good, "factors": good["factors"][:2]})
    with pytest.raises(ValueError, match="no mixture: weights"):
        MixturePrior.from_tensors({**good, "weights": good["weights"][:2]})


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 20, 20)])
@pytest.mark.parametrize("name", ["gaussian", "mixture", "bank"])
def test_images_have_priors_of_their_shape(name: str, shape: tuple[int, ...]) -> None:
    """Of full and of diagonal covariance; another shape is refused."""
    ends = 2 + normal(200, *shape)
    prior = PRIORS.build(name, {})(ends).prior
    drawn = prior.sample((300, *shape), generator(4))
    assert drawn.shape == (300, *shape)
    assert float(drawn.mean()) == pytest.approx(2, abs=0.05)
    assert float(drawn.var()) == pytest.approx(1, abs=0.1)
    assert prior.log_prob(drawn).shape == (300,)
    with pytest.raises(ValueError, match="this prior is of items"):
        prior.sample((3, 5), generator(4))


def test_shrinkage_is_that_of_scikit_learn() -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    for count, dim in ((20, 30), (500, 8), (40, 1)):
        x = normal(count, dim) * torch.linspace(0.5, 2, dim).double()
        x = x - x.mean(0)
        ours = ledoit_wolf(x, x.T @ x / count)
        assert ours == pytest.approx(
            1 if dim == 1 else ledoit_wolf_shrinkage(x.numpy(), assume_centered=True), rel=1e-9
        )


def test_coordinates_that_do_not_vary_have_a_density() -> None:
    ends = torch.cat([normal(100, 2), torch.zeros(100, 1).double()], 1)
    assert bool(spread(ends).isfinite().all())
    for name in ("gaussian", "mixture", "bank"):
        assert bool(PRIORS.build(name, {})(ends).prior.log_prob(ends).isfinite().all())


@pytest.mark.parametrize("name", [*PRIORS])
def test_end_points_that_no_prior_fits_are_refused(name: str) -> None:
    fit = PRIORS.build(name, {})
    with pytest.raises(ValueError, match="16 trajectories or more, not to 3"):
        fit(normal(3, 2))
    with pytest.raises(ValueError, match="2 of 100 trajectories end at points that are not finite"):
        fit(torch.cat([normal(98, 2), torch.full((2, 2), math.nan)]))
    with pytest.raises(ValueError, match="end at the same point"):
        fit(torch.ones(100, 2))


def test_bank_chooses_its_bandwidth_by_what_the_points_are_like() -> None:
    """Silverman's for a normal law (to a step or two), far less for narrow modes; and an option where it is given."""

    def bandwidth(fitted: Fitted) -> float:
        whole = moments_of(fitted.prior)[1]
        return float((fitted.prior.factors[0].square().sum() / whole.trace()).sqrt())

    assert bandwidth(FITS["bank"][0]) >= silverman(2000, 2) / 2.01
    assert bandwidth(FITS["bank"][2]) < silverman(2000, 2) / 3.9
    assert bandwidth(BankFit(bandwidth=0.3)(ENDS["three"])) == pytest.approx(0.3, rel=1e-3)


def test_bank_keeps_to_the_number_of_points() -> None:
    assert BankFit(points=50)(ENDS["three"]).prior.count == 50


def test_mixture_finds_the_components() -> None:
    centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).double()
    ends = centres.repeat(500, 1) + 0.1 * normal(2000, 2)
    prior = MixtureFit()(ends).prior
    assert prior.count == 4
    assert float(torch.cdist(centres, prior.means).min(1).values.max()) < 0.03
    assert MixtureFit(components=2)(ends).prior.count == 2


def test_auto_takes_the_simplest_that_fits() -> None:
    chosen = {kind: PRIORS.build("auto", {})(ends).name for kind, ends in ENDS.items()}
    assert chosen == {"normal": "gaussian", "three": "mixture", "spiral": "bank"}


def test_auto_takes_what_misses_least_where_nothing_fits() -> None:
    """64 dimensions and 16 components: 3,000 points tell."""
    ends = gmm64_mixture().sample(4000, generator("ends"))
    fitted = PRIORS.build("auto", {})(ends)
    fresh = gmm64_mixture().sample(1000, generator("fresh"))
    reached = prior_report(*fitted, fresh).shift
    assert fitted.name == "mixture"
    assert all(reached <= prior_report(*fit(ends), fresh).shift for fit in (GaussianFit(), BankFit()))


def test_a_small_miss_in_many_dimensions_is_called_small() -> None:
    """The mean of 2,000 end points in 800 dimensions misses by 0.022 sd a coordinate, and the test sees it."""
    fitted = PRIORS.build("auto", {})(normal(2000, 800))
    report = prior_report(*fitted, normal(1000, 800, seed=1))
    assert fitted.name == "gaussian"
    assert not report.fits
    assert report.nearly
    assert report.line.endswith("misses by little")


def test_fits_are_the_same_for_the_same_points() -> None:
    for name in PRIORS:
        first, second = (PRIORS.build(name, {})(ENDS["three"][:500]).prior.tensors() for _ in range(2))
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("name", "option"), [("mixture", {"components": 0}), ("bank", {"bandwidth": 1.0}), ("bank", {"points": 0})]
)
def test_options_of_fits_are_checked(name: str, option: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=f"prior {name}: {next(iter(option))}"):
        PRIORS.build(name, option)


def test_report_says_whether_a_prior_fits() -> None:
    fresh = spiral(1000, seed=5)
    bad = prior_report(*FITS["gaussian"][2], fresh)
    assert not bad.fits
    assert bad.line.startswith("prior gaussian (measured): energy distance ")
    assert bad.line.endswith(
        "p = 0.002 against 1,000 fresh trajectories: it does not fit; flow.prior=mixture or bank may"
    )
    good = prior_report(*FITS["bank"][2], fresh)
    assert good.fits
    assert good.line.endswith("it fits")


def test_between_latents_of_a_fitted_normal_law_leads_an_arc() -> None:
    prior = GaussianFit()(normal(500, 3, 4)).prior
    start, end = (prior.sample((6, 3, 4), generator(seed)) for seed in (1, 2))
    between = interpolated(prior, start, end, torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(between[0], start)
    torch.testing.assert_close(between[2], end)
    lengths = [prior.standardised(x).norm(dim=1) for x in between]
    assert bool((lengths[1] > 0.9 * torch.minimum(lengths[0], lengths[2])).all())
    with pytest.raises(RequestError, match="no path is known"):
        interpolated(three_normals(), normal(2, 2), normal(2, 2), torch.tensor([0.5]))


def naive_energy(x: Tensor, y: Tensor) -> float:
    def mean(a: Tensor, b: Tensor) -> float:
        return sum(math.dist(p, q) for p in a.tolist() for q in b.tolist()) / (len(a) * len(b))

    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


@pytest.mark.parametrize(("n", "m", "shape"), [(7, 12, (1,)), (30, 20, (3,)), (9, 9, (3, 4, 5))])
def test_energy_distance_equals_its_definition(n: int, m: int, shape: tuple[int, ...]) -> None:
    x, y = 100 + normal(n, *shape, seed=1), 100.3 + normal(m, *shape, seed=2)
    found = two_sample(x, y)
    assert found.distance == pytest.approx(naive_energy(x.flatten(1), y.flatten(1)), rel=1e-9)
    assert found.distance == pytest.approx(two_sample(y, x).distance, rel=1e-9)


def test_p_counts_permutations_one_by_one() -> None:
    """Of 3 and 2 items all ten splits are known: the share of those as extreme, to five standard errors."""
    x, y = normal(3, 2, seed=3), normal(2, 2, seed=4) + 1
    items, reached = torch.cat([x, y]), []
    for first in itertools.combinations(range(5), 3):
        rest = [i for i in range(5) if i not in first]
        reached.append(naive_energy(items[list(first)], items[rest]))
    share = sum(energy >= reached[0] - 1e-12 for energy in reached) / 10
    error = (share * (1 - share) / 4000) ** 0.5
    assert two_sample(x, y, permutations=4000).p == pytest.approx(share, abs=5 * error + 1 / 4000)


def test_p_is_uniform_for_equal_laws() -> None:
    """Of 400 tests of 40 against 30, those below 5 % and 30 % are binomial (each bound fails once in 10^4 seeds)."""
    p = [two_sample(normal(40, 3, seed=2 * i), normal(30, 3, seed=2 * i + 1), 199).p for i in range(400)]
    for level in (0.05, 0.3, 0.7):
        low, high = stats.binom(400, level).ppf([5e-5, 1 - 5e-5])
        assert low <= sum(value <= level for value in p) <= high


@pytest.mark.parametrize("other", ["shifted", "scaled", "bimodal"])
def test_other_laws_are_noticed(other: str) -> None:
    """Also those of the same mean and covariance."""
    x, y = normal(400, 2, seed=1), normal(400, 2, seed=2)
    sign = torch.where(torch.arange(400) % 2 == 0, 1.0, -1.0).unsqueeze(1)
    y = {"shifted": y + 0.4, "scaled": 1.5 * y, "bimodal": 0.6 * y + 0.8 * sign}[other]
    found = two_sample(x, y)
    assert found.p == 0.002
    assert found.shift > 0.1


def test_equal_sets_are_no_distance_apart() -> None:
    x = normal(50, 2)
    assert two_sample(x, x.flip(0)) == (pytest.approx(0, abs=1e-12), 1.0, 0.0)


@pytest.mark.parametrize("dim", [1, 16, 100])
@pytest.mark.parametrize("shift", [0.3, 1.0])
def test_distance_is_told_as_a_shift(shift: float, dim: int) -> None:
    found = two_sample(2 * normal(1000, dim, seed=1), 2 * (normal(1000, dim, seed=2) + shift))
    assert found.shift == pytest.approx(shift, rel=0.15, abs=0.05)
