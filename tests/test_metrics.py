"""Distances between sets of features, against closed forms, other implementations and their own sampling noise."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.estimate import Estimate
from hgfctl.engine.statistics.extrapolation import PARTS, frechet_at_infinity
from hgfctl.engine.statistics.frechet import frechet_distance, rank
from hgfctl.engine.statistics.kernel import Discrepancy, gaussian_mmd2, kernel_inception_distance, mean_discrepancy
from hgfctl.engine.statistics.moments import Moments, Statistics, merged, statistics
from hgfctl.engine.statistics.neighbours import coverage
from hgfctl.engine.statistics.sliced import sliced_wasserstein


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


# Frechet distance


@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5), dim=st.integers(1, 6), seed=st.integers(0, 1000))
def test_frechet_distance_of_commuting_gaussians(scale: float, shift: float, dim: int, seed: int) -> None:
    """Closed form: |shift|^2 d + sum (sqrt(a) - sqrt(b))^2 over the shared eigenbasis; symmetric; 0 to itself."""
    rng = generator(seed)
    q, _ = torch.linalg.qr(torch.randn(dim, dim, generator=rng, dtype=torch.float64))
    a, b = torch.rand(2, dim, generator=rng, dtype=torch.float64) * scale
    mean = torch.randn(dim, generator=rng, dtype=torch.float64)
    p, other = Statistics(mean, q * a @ q.T), Statistics(mean + shift, q * b @ q.T)
    exact = dim * shift**2 + float((a.sqrt() - b.sqrt()).square().sum())
    assert frechet_distance(p, other) == pytest.approx(exact, abs=1e-9 * (1 + exact))
    assert frechet_distance(other, p) == pytest.approx(exact, abs=1e-9 * (1 + exact))
    assert 0 <= frechet_distance(p, p) <= 1e-10 * scale * dim


@pytest.mark.parametrize("dim", [1, 64, 2048])
def test_frechet_distance_of_known_gaussians(dim: int) -> None:
    """Full rank, eigenvalues from 1e-3 to 10: a relative error of 1e-10."""
    q, _ = torch.linalg.qr(normal(dim, dim))
    a = torch.logspace(-3, 1, dim, dtype=torch.float64)
    b = a.flip(0) * 1.3
    shift = normal(dim, seed=1) / math.sqrt(dim)
    exact = float(shift.square().sum() + (a.sqrt() - b.sqrt()).square().sum())
    found = frechet_distance(Statistics(torch.zeros(dim), q * a @ q.T), Statistics(shift, q * b @ q.T))
    assert found == pytest.approx(exact, rel=1e-10)


def test_frechet_distance_where_covariances_do_not_commute() -> None:
    """X = A Z and Y = B Z are coupled best by one Z where B^T A is positive: the distance is E |A Z - B Z|^2."""
    a = normal(12, 12)
    product = normal(12, 12, seed=1)
    b = torch.linalg.inv(a).T @ (product @ product.T)
    exact = float((a - b).square().sum())
    found = frechet_distance(Statistics(torch.zeros(12), a @ a.T), Statistics(torch.zeros(12), b @ b.T))
    assert found == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize(("count", "error"), [(10, 1e-4), (50, 1e-4), (64, 1e-4), (600, 1e-8)])
def test_frechet_distance_agrees_with_scipys_matrix_root(count: int, error: float) -> None:
    """With features at hand, with covariances alone, and mixed; fewer features than dimensions, as many, and more."""
    from scipy.linalg import sqrtm

    mixing = normal(64, 64, seed=2) / 8
    p, q = statistics(normal(count, 64) @ mixing), statistics(1.2 * normal(count, 64, seed=1) @ mixing + 0.1)
    root = sqrtm((p.covariance @ q.covariance).numpy()).real.trace()
    other = float((p.mean - q.mean).square().sum() + p.covariance.trace() + q.covariance.trace()) - 2 * root
    bare_p, bare_q = p._replace(deviations=None), q._replace(deviations=None)
    for one, two in ((p, q), (q, p), (p, bare_q), (bare_p, q), (bare_p, bare_q)):
        assert frechet_distance(one, two) == pytest.approx(other, abs=error)


def test_singular_covariances_have_an_exact_distance_and_a_rank() -> None:
    """Both live in a plane of five dimensions: the distance in the plane and in the whole are one."""
    plane, _ = torch.linalg.qr(normal(5, 2))
    x, y = normal(300, 2), 2 * normal(300, 2, seed=1) + 1
    inside = frechet_distance(statistics(x), statistics(y))
    p, q = statistics(x @ plane.T), statistics(y @ plane.T)
    assert frechet_distance(p, q) == pytest.approx(inside, rel=1e-9)
    assert rank(p) == 2
    assert rank(statistics(x)) == 2
    assert frechet_distance(p, p) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_refuses_other_dimensions() -> None:
    with pytest.raises(ValueError, match="3 and 4"):
        frechet_distance(statistics(normal(9, 3)), statistics(normal(9, 4)))


# Moments


@given(cuts=st.lists(st.integers(0, 50), max_size=6), offset=st.floats(-1e6, 1e6), seed=st.integers(0, 100))
def test_moments_do_not_depend_on_how_the_stream_is_cut(cuts: list[int], offset: float, seed: int) -> None:
    """In one part or many, added or merged, far from zero or not: numpy's mean and covariance."""
    x = normal(50, 3, seed=seed) + offset
    bounds = [0, *sorted(cuts), 50]
    parts = []
    running = Moments(3)
    for first, last in pairwise(bounds):
        running.add(x[first:last])
        part = Moments(3)
        part.add(x[first:last])
        parts.append(part)
    expected = torch.from_numpy(np.cov(x.numpy(), rowvar=False))
    for found in (running, merged(parts)):
        assert found.count == 50
        assert torch.allclose(found.statistics().mean, x.mean(0), rtol=1e-13)
        assert torch.allclose(found.statistics().covariance, expected, rtol=1e-7, atol=1e-9)


# Kernel distances


def test_kid_is_unbiased_and_its_error_is_its_spread() -> None:
    """Two Gaussians; E k under the cubic kernel in closed form by a large draw. 200 repetitions of 40 and 60 items."""
    shift = 0.5

    def draw(seed: int) -> Discrepancy:
        return kernel_inception_distance(normal(40, 4, seed=2 * seed) + shift, normal(60, 4, seed=2 * seed + 1))

    found = [draw(i) for i in range(200)]
    values = torch.tensor([one.value for one in found])
    errors = torch.tensor([one.error for one in found])
    # (x . y / d + 1)^3 over independent Gaussians of means a and b, in four dimensions: third moments of x . y / d.
    truth = _cubic(shift, shift) + _cubic(0, 0) - 2 * _cubic(shift, 0)
    spread = float(values.std())
    assert float(values.mean()) == pytest.approx(truth, abs=4 * spread / math.sqrt(200))
    assert float(errors.square().mean().sqrt()) == pytest.approx(spread, rel=0.25)


def test_kid_over_seeds_knows_that_the_reference_is_one() -> None:
    """Means of 4 sets of 40 items against one reference of 60: their spread over 100 references."""

    def draw(i: int) -> Estimate:
        reference = normal(60, 4, seed=10_000 + i)
        return mean_discrepancy(
            [kernel_inception_distance(normal(40, 4, seed=4 * i + k) + 0.5, reference) for k in range(4)]
        )

    found = [draw(i) for i in range(100)]
    spread = float(torch.tensor([one.value for one in found]).std())
    errors = torch.tensor([one.error for one in found])
    assert float(errors.square().mean().sqrt()) == pytest.approx(spread, rel=0.25)


def _cubic(a: float, b: float, dim: int = 4) -> float:
    """E (x . y / d + 1)^3, x ~ N(a 1, I), y ~ N(b 1, I): u = x . y given y is N(a 1 . y, |y|^2)."""
    y = normal(400_000, dim, seed=77) + b
    mean, variance = a * y.sum(1) / dim + 1, y.square().sum(1) / dim**2
    return float((mean**3 + 3 * mean * variance).mean())


def test_kid_agrees_with_all_pairs_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hgfctl.engine.statistics.kernel.BLOCK", 7)
    x, y = normal(20, 5), normal(30, 5, seed=1) + 0.3

    def k(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 5 + 1) ** 3)

    xx = np.mean([k(x[i], x[j]) for i in range(20) for j in range(20) if i != j])
    yy = np.mean([k(y[i], y[j]) for i in range(30) for j in range(30) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    found = kernel_inception_distance(x, y)
    assert found.value == pytest.approx(xx + yy - 2 * xy, rel=1e-12)

    def without(i: int) -> float:
        return kernel_inception_distance(torch.cat([x[:i], x[i + 1 :]]), y).value

    def without_y(i: int) -> float:
        return kernel_inception_distance(x, torch.cat([y[:i], y[i + 1 :]])).value

    jackknife = 19 * np.var([without(i) for i in range(20)]) + 29 * np.var([without_y(i) for i in range(30)])
    assert found.error == pytest.approx(math.sqrt(jackknife), rel=1e-10)


def test_gaussian_mmd_tells_a_shift_from_none() -> None:
    x, y = normal(500, 2), normal(400, 2, seed=1)
    same, other = gaussian_mmd2(x, y), gaussian_mmd2(x + 0.5, y)
    assert abs(same.value) < 4 * same.error
    assert other.value > 4 * other.error


# Neighbours


def test_coverage_agrees_with_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """All four counts, item by item, on sets that only partly overlap."""
    monkeypatch.setattr("hgfctl.engine.statistics.neighbours.BLOCK", 16)
    x, y = normal(50, 3), 0.8 * normal(40, 3, seed=1) + 0.5

    def radius(points: Tensor, i: int, k: int) -> Tensor:
        return (points - points[i]).norm(dim=1).sort().values[k]

    def inside(a: Tensor, points: Tensor, k: int) -> list[bool]:
        return [bool((a - points[i]).norm() <= radius(points, i, k)) for i in range(len(points))]

    found = coverage(x, y, k=3, k_density=5)
    assert found.precision == pytest.approx(np.mean([any(inside(a, y, 3)) for a in x]))
    assert found.recall == pytest.approx(np.mean([any(inside(b, x, 3)) for b in y]))
    assert found.density == pytest.approx(np.mean([sum(inside(a, y, 5)) / 5 for a in x]))
    covered = [any(bool((a - y[i]).norm() <= radius(y, i, 5)) for a in x) for i in range(len(y))]
    assert found.coverage == pytest.approx(np.mean(covered))


def test_coverage_of_one_law_and_of_a_lost_mode() -> None:
    two_modes = torch.cat([normal(300, 2), normal(300, 2, seed=1) + 10])
    again = torch.cat([normal(300, 2, seed=2), normal(300, 2, seed=3) + 10])
    same, lost = coverage(again, two_modes), coverage(again[:300], two_modes)
    assert min(same.precision, same.recall, same.coverage) > 0.9
    assert same.density == pytest.approx(1, abs=0.15)
    assert lost.precision > 0.9
    assert lost.recall == pytest.approx(0.5, abs=0.06)
    assert lost.coverage == pytest.approx(0.5, abs=0.03)


# Infinitely many images


def test_extrapolation_finds_the_distance_of_the_laws() -> None:
    """N(0, I) against N(mu, I) in 64 dimensions, 4,000 items: five sixths of the bias go."""
    reference = Statistics(torch.zeros(64, dtype=torch.float64), torch.eye(64, dtype=torch.float64))
    shift = 0.05
    plain, extrapolated = [], []
    for seed in range(5):
        parts = []
        for part in (normal(4000, 64, seed=seed) + shift).split(4000 // PARTS):
            moments = Moments(64)
            moments.add(part)
            parts.append(moments)
        plain.append(frechet_distance(merged(parts).statistics(), reference))
        extrapolated.append(frechet_at_infinity(parts, reference))
    truth = 64 * shift**2
    bias, left = np.mean(plain) - truth, np.mean(extrapolated) - truth
    assert bias > 0.25
    assert abs(left) < bias / 6


# Vectors


def test_sliced_wasserstein_of_gaussians() -> None:
    """W2 of N(0, I) and N(m, s^2 I), projected, is |m . u|^2 + (1 - s)^2: on average |m|^2 / d + (1 - s)^2."""
    x, y = normal(40_000, 3), 1.5 * normal(40_000, 3, seed=1) + torch.tensor([0.6, 0.0, 0.0])
    assert sliced_wasserstein(x, y) == pytest.approx(math.sqrt(0.36 / 3 + 0.25), rel=0.03)


@given(n=st.integers(1, 12), m=st.integers(1, 12), seed=st.integers(0, 100))
def test_sliced_wasserstein_in_one_dimension_is_scipys_quantile_coupling(n: int, m: int, seed: int) -> None:
    """Copies of every item do not change a law: n items m times and m items n times, coupled in order."""
    x, y = normal(n, 1, seed=seed), normal(m, 1, seed=seed + 1000)
    many_x, many_y = x.repeat(m, 1).sort(0).values, y.repeat(n, 1).sort(0).values
    assert sliced_wasserstein(x, y) == pytest.approx(float((many_x - many_y).square().mean().sqrt()), rel=1e-9)
