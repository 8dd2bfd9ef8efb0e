"""Boxes and manifolds: invariants, independent derivations of states, uniform ends, exact fields, likelihoods."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from hgfctl.engine.compatibility import check_inside
from hgfctl.engine.data import DATA
from hgfctl.engine.data.dataset import Items
from hgfctl.engine.data.so3_mixture import RotationMixture, so3_mixture
from hgfctl.engine.data.sphere_checkerboard import SphereCheckerboard
from hgfctl.engine.data.torus_mixture import WrappedMixture, lattice
from hgfctl.engine.figures.samples import samples_figure
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.priors.rotations import RotationPrior
from hgfctl.engine.flows.priors.sphere import SpherePrior
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.flows.so3 import SO3
from hgfctl.engine.flows.sphere import Sphere
from hgfctl.engine.flows.torus import Torus
from hgfctl.engine.geometry.rotations import (
    as_matrices,
    hat,
    matrix,
    nearest_rotation,
    quaternion,
    rotation,
    rotation_vector,
)
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.networks.mlp import MLP
from hgfctl.engine.oracles.wrapped import WrappedHVP
from hgfctl.engine.phase_space import over
from hgfctl.engine.randomness import generator
from hgfctl.engine.solvers import SOLVERS, grids
from hgfctl.engine.statistics.two_sample import two_sample
from hgfctl.engine.transport.divergence import ExactTrace
from hgfctl.engine.transport.inpainting import inpainted
from hgfctl.engine.transport.interpolation import interpolated
from hgfctl.engine.transport.likelihood import log_likelihood
from hgfctl.engine.transport.transport import Adaptive, transported
from hgfctl.errors import RequestError
from tests.conftest import Run

Geodesics = Sphere | SO3

SPHERES = [
    Sphere(sd=radius / math.sqrt(d + 1), radius=radius) for d, radius in ((1, 1.0), (2, 1.0), (2, 3.0), (7, 0.5))
]
MANIFOLDS: list[tuple[Geodesics, int]] = [(flow, round((flow.radius / flow.sd) ** 2)) for flow in SPHERES]
MANIFOLDS += [(SO3(duration=2.0), 9)]


def draws(flow: Flow, dim: int, count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x0 on the domain, z, and times in [0, T], float64."""
    rng = generator(seed, "manifolds")
    x0 = flow.prior.sample((count, dim), rng)
    z = torch.randn(count, dim, generator=rng, dtype=torch.float64)
    return x0, z, flow.T * torch.rand(count, generator=rng, dtype=torch.float64)


def off(flow: Geodesics, x: Tensor) -> float:
    """How far positions are from the manifold, by its equations: |x| = r; R^T R = 1 and det R = 1."""
    if isinstance(flow, Sphere):
        return float((x.norm(dim=1) / flow.radius - 1).abs().max())
    R = as_matrices(x)
    return max(float((R.mT @ R - torch.eye(3)).abs().max()), float((torch.linalg.det(R) - 1).abs().max()))


def normal_part(flow: Geodesics, x: Tensor, v: Tensor) -> float:
    """What of velocities is perpendicular to the manifold: x . v; the symmetric part of R^T V."""
    if isinstance(flow, Sphere):
        return float((x * v).sum(1).abs().max())
    inner = as_matrices(x).mT @ as_matrices(v)
    return float((inner + inner.mT).abs().max())


@pytest.mark.parametrize(("flow", "dim"), MANIFOLDS)
def test_states_stay_on_the_manifold_at_constant_speed(flow: Geodesics, dim: int) -> None:
    x0, z, t = draws(flow, dim, 2000)
    x, v = flow.state(x0, z, t)
    v0 = flow.velocity_law(x0, z)
    assert off(flow, x) < 1e-12
    assert normal_part(flow, x, v) < 1e-12
    torch.testing.assert_close(v.norm(dim=1), v0.norm(dim=1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(flow.tangent(x, v), v, rtol=0, atol=1e-12)
    torch.testing.assert_close(flow.state(x0, z, torch.zeros(())).x, x0, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("flow", "dim"), MANIFOLDS)
def test_states_solve_the_constrained_equation_of_motion(flow: Geodesics, dim: int) -> None:
    """dx/dt = v, dv/dt = F(x, v) by Runge-Kutta steps that know nothing of the manifold."""
    x0, z, _ = draws(flow, dim, 50)
    y = torch.stack([x0, flow.velocity_law(x0, z)])
    steps = 400
    h = flow.T / steps

    def derivative(y: Tensor) -> Tensor:
        return torch.stack([y[1], flow.force(y[0], y[1], torch.zeros(()))])

    for _ in range(steps):
        k1 = derivative(y)
        k2 = derivative(y + h / 2 * k1)
        k3 = derivative(y + h / 2 * k2)
        k4 = derivative(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    x, v = flow.state(x0, z, torch.tensor(flow.T, dtype=torch.float64))
    torch.testing.assert_close(y, torch.stack([x, v]), rtol=0, atol=2e-8)


def test_rotations_turn_by_the_matrix_exponential() -> None:
    flow = SO3(duration=2.0)
    x0, z, t = draws(flow, 9, 500)
    x, v = flow.state(x0, z, t)
    turning = as_matrices(x0).mT @ as_matrices(flow.velocity_law(x0, z))
    R = as_matrices(x0) @ torch.matrix_exp(t.reshape(-1, 1, 1) * turning)
    torch.testing.assert_close(as_matrices(x), R, rtol=0, atol=1e-12)
    torch.testing.assert_close(as_matrices(v), R @ turning, rtol=0, atol=1e-12)


@pytest.mark.parametrize("flow", SPHERES)
def test_great_circles_end_at_the_point_that_the_noise_names(flow: Sphere) -> None:
    dim = round((flow.radius / flow.sd) ** 2)
    x0, z, t = draws(flow, dim, 500)
    end = flow.radius * z / z.norm(dim=1, keepdim=True)
    T = torch.tensor(flow.T, dtype=torch.float64)
    torch.testing.assert_close(flow.state(x0, z, T).x, end, rtol=0, atol=1e-12)
    # and pass, in proportion to time, along the shorter arc between the two: Shoemake's formula.
    angle = ((x0 * end).sum(1) / flow.radius**2).clamp(-1, 1).acos().unsqueeze(1)
    s = t.unsqueeze(1) / flow.T
    slerp = (((1 - s) * angle).sin() * x0 + (s * angle).sin() * end) / angle.sin()
    torch.testing.assert_close(flow.state(x0, z, t).x, slerp, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("flow", "dim"), [*MANIFOLDS, (Torus(lo=-3.0, hi=0.5, duration=0.7), 3)])
@pytest.mark.parametrize("place", range(3))
def test_the_image_at_the_end_is_uniform_whatever_the_start(flow: Flow, dim: int, place: int) -> None:
    """One start at a time, against the prior: 18 tests at 1 in 500, of fixed seeds."""
    x0, z, _ = draws(flow, dim, 400, seed=10 + place)
    x0 = x0[:1].expand(400, dim)
    uniform = flow.prior.sample((400, dim), generator(place, "uniform"))
    T = torch.tensor(flow.T, dtype=torch.float64)
    assert two_sample(flow.state(x0, z, T).x, uniform).p > 1 / 500
    assert two_sample(flow.state(x0, z, 0.8 * T).x, uniform).p == 1 / 500


@pytest.mark.parametrize(("flow", "dim"), MANIFOLDS)
def test_moments_are_those_of_the_flow(flow: Geodesics, dim: int) -> None:
    x0, z, t = draws(flow, dim, 40_000)
    x, v = flow.state(x0, z, t)
    moments = flow.moments(torch.zeros((), dtype=torch.float64))
    assert float(x.square().mean()) == pytest.approx(float(moments.xx), rel=1e-12)
    error = float(v.square().mean(1).std()) / 200
    assert abs(float(v.square().mean()) - float(moments.vv)) < 4 * error
    assert abs(float((x * v).mean())) < 1e-12
    assert float(moments.xv) == 0


coordinates = st.lists(st.floats(-10, 10), min_size=3, max_size=3)


@given(
    coordinates, coordinates, st.floats(0, 1), st.sampled_from([0.0, 1e-300, 1e-160, 1e-17, 1e-8, 1.0]), st.booleans()
)
def test_spheres_know_no_bad_pair_of_points(
    x: list[float], z: list[float], t: float, scale: float, there: bool
) -> None:
    """x1 = +-x0 and all that is near: states are finite, on the sphere, tangent, and end at x1."""
    flow = Sphere(sd=3**-0.5)
    x0 = flow.confine(torch.tensor([x], dtype=torch.float64))
    noise = (1.0 if there else -1.0) * x0 + scale * torch.tensor([z], dtype=torch.float64)
    state = flow.state(x0, noise, torch.tensor([t], dtype=torch.float64))
    assert off(flow, state.x) < 1e-12
    assert normal_part(flow, *state) < 1e-12
    if noise.norm() > 1e-3:
        end = flow.state(x0, noise, torch.tensor(1.0, dtype=torch.float64)).x
        torch.testing.assert_close(end, noise / noise.norm(), rtol=0, atol=1e-11)


@given(st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.sampled_from([0.0, 1e-300, 1e-17, 1e-8, 1.0]))
def test_half_turns_and_no_turns_are_turns(q: list[float], scale: float) -> None:
    """Quaternions with a vanishing real part turn by pi, with a vanishing vector not at all; none gives NaN."""
    flow = SO3()
    for kept in ([scale, 1, 1, 1], [1, scale, scale, scale]):
        z = torch.zeros(1, 9, dtype=torch.float64)
        z[0, :4] = torch.tensor(q) * torch.tensor(kept, dtype=torch.float64)
        if z.norm() < 1e-9:
            continue
        x0 = flow.prior.sample((1, 9), generator("start"))
        x, v = flow.state(x0, z, torch.tensor([1.0], dtype=torch.float64))
        assert off(flow, x) < 1e-12
        assert normal_part(flow, x, v) < 1e-12
        expected = as_matrices(x0) @ matrix(z[:, :4])
        torch.testing.assert_close(as_matrices(x), expected, rtol=0, atol=1e-11)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_rotations_by_vector_quaternion_and_exponential_agree(w: list[float]) -> None:
    vector = torch.tensor([w], dtype=torch.float64)
    R = rotation(vector)
    torch.testing.assert_close(R, torch.matrix_exp(hat(vector)), rtol=0, atol=1e-12)
    torch.testing.assert_close(matrix(quaternion(R)), R, rtol=0, atol=1e-12)
    torch.testing.assert_close(rotation(rotation_vector(quaternion(R))), R, rtol=0, atol=1e-12)


@given(st.integers(0, 10_000), st.floats(0, 3))
def test_the_nearest_rotation_is_the_polar_factor(seed: int, size: float) -> None:
    """R S with S symmetric and positive has R as its nearest rotation; a matrix that mirrors has one, too."""
    rng = generator(seed, "polar")
    R = matrix(torch.randn(1, 4, generator=rng, dtype=torch.float64))
    A = size * torch.randn(1, 3, 3, generator=rng, dtype=torch.float64)
    S = torch.eye(3, dtype=torch.float64) + A @ A.mT
    torch.testing.assert_close(nearest_rotation(R @ S), R, rtol=0, atol=1e-12)
    mirrored = nearest_rotation(-R @ S)
    assert off(SO3(), mirrored.reshape(1, 9)) < 1e-12


@given(
    st.floats(-1e6, 1e6),
    st.sampled_from([(-1.0, 1.0), (0.1, 0.7), (-3.0, 0.5), (1e3, 1e3 + 1e-2)]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_wrapping_ends_in_the_box_at_an_image(y: float, box: tuple[float, float], dtype: torch.dtype) -> None:
    flow = Torus(lo=box[0], hi=box[1])
    here = torch.tensor([y], dtype=dtype)
    x = flow.confine(here)
    assert float(x) >= float(torch.tensor(flow.lo, dtype=dtype))
    assert float(x) < float(torch.tensor(flow.hi, dtype=dtype))
    assert torch.equal(flow.confine(x), x)
    if dtype == torch.float64:
        turns = (float(x) - y) / flow.side
        assert abs(turns - round(turns)) * flow.side < 1e-9 * max(1.0, abs(y) / flow.side)


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 5, 4)])
@pytest.mark.parametrize("name", ["torus", "reflection"])
def test_boxes_of_any_dimension_equal_an_event_simulation(name: str, shape: tuple[int, ...]) -> None:
    """Particles that fly from wall to wall: where they hit one they turn back, or come in from the other side."""
    flow = FLOWS[name](lo=-0.3, hi=1.1, duration=4.0)
    rng = generator("boxes")
    x0 = flow.prior.sample((40, *shape), rng)
    z = torch.randn(x0.shape, generator=rng, dtype=torch.float64)
    t = 4 * torch.rand(40, generator=rng, dtype=torch.float64)
    x, v = flow.state(x0, z, t)
    moving = flow.velocity_law(x0, z)
    arrived = torch.empty_like(x0)
    turned = torch.empty_like(x0)
    for index in itertools.product(*(range(n) for n in x0.shape)):
        place, speed, left = float(x0[index]), float(moving[index]), float(t[index[0]])
        while True:
            wall = flow.hi if speed > 0 else flow.lo
            until = (wall - place) / speed
            if until >= left:
                break
            left -= until
            place, speed = (wall, -speed) if name == "reflection" else (flow.lo + flow.hi - wall, speed)
        arrived[index], turned[index] = place + speed * left, speed
    torch.testing.assert_close(x, arrived, rtol=0, atol=1e-12)
    torch.testing.assert_close(v, turned, rtol=0, atol=0)
    assert not flow.outside(x).any()


@pytest.mark.parametrize("t", [0.1, 0.5, 1.0])
def test_the_wrapped_field_is_the_mean_velocity_of_arrivals(t: float) -> None:
    """Monte Carlo in cells: the z-scores of the exact V, and of the exact density, have RMS 1."""
    flow, law = Torus(), WrappedMixture(lattice(3), 0.2)
    hvp = WrappedHVP(law.means, law.sd, flow)
    rng = generator("wrapped", int(10 * t))
    x0 = law.sample(100_000, rng)
    z = torch.randn(x0.shape, generator=rng, dtype=torch.float64)
    x, v = flow.state(x0, z, torch.tensor(t, dtype=torch.float64))
    side = 12
    cell = ((x + 1) / 2 * side).long().clamp(0, side - 1)
    cell = cell[:, 0] * side + cell[:, 1]
    count = torch.bincount(cell, minlength=side * side).double()
    residual = v - hvp(x, torch.tensor(t, dtype=torch.float64))
    busy = count > 100
    for i in range(2):
        total = torch.zeros(side * side, dtype=torch.float64).index_add(0, cell, residual[:, i])
        square = torch.zeros(side * side, dtype=torch.float64).index_add(0, cell, residual[:, i].square())
        scores = (total / square.sqrt())[busy]
        assert 0.8 < float(scores.square().mean().sqrt()) < 1.2
    points = torch.rand(20_000, 2, generator=rng, dtype=torch.float64) * 2 - 1
    total = 4 * hvp.log_prob(points, torch.tensor(t, dtype=torch.float64)).exp()
    assert abs(float(total.mean()) - 1) < 4 * float(total.std()) / math.sqrt(20_000) + 1e-12


def test_the_wrapped_law_is_uniform_at_the_end_and_the_data_at_the_beginning() -> None:
    flow, law = Torus(), WrappedMixture(lattice(5), 0.12)
    hvp = WrappedHVP(law.means, law.sd, flow)
    x = flow.prior.sample((200, 2), generator("points"))
    end = hvp.log_prob(x, torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(end, torch.full_like(end, -math.log(4)), rtol=0, atol=1e-12)
    start = hvp.log_prob(x, torch.tensor(1e-4, dtype=torch.float64))
    torch.testing.assert_close(start, law.log_prob(x), rtol=0, atol=1e-4)
    assert torch.equal(hvp(x, torch.tensor(0.0)), torch.zeros_like(x))


@pytest.mark.parametrize("time", [0.02, 0.4, 0.97])
def test_the_wrapped_field_obeys_the_continuity_equation(time: float) -> None:
    """d/dt log p + V . grad log p + div V = 0, by differences and by autograd."""
    law = WrappedMixture(lattice(5), 0.12)
    hvp = WrappedHVP(law.means, law.sd, Torus())
    x = law.sample(100, generator("continuity")).requires_grad_()
    t = torch.tensor(time, dtype=torch.float64)
    (slope,) = torch.autograd.grad(hvp.log_prob(x, t).sum(), x)
    v, divergence = ExactTrace(2)(lambda x: hvp(x, t), x, torch.arange(100))
    h = 1e-6
    change = (hvp.log_prob(x, t + h) - hvp.log_prob(x, t - h)) / (2 * h)
    left = (change + (v * slope).sum(1) + divergence.squeeze(1)).detach()
    torch.testing.assert_close(left, torch.zeros_like(left), rtol=0, atol=2e-4)


def test_likelihood_on_the_torus_is_that_of_the_wrapped_law() -> None:
    flow, law = Torus(), WrappedMixture(lattice(5), 0.12)
    hvp = WrappedHVP(law.means, law.sd, flow)
    x = law.sample(50, generator("likelihood"))
    found = log_likelihood(lambda x, t, _: hvp(x, t), flow, x, ExactTrace(2), Adaptive(1e-7, 1e-7))
    torch.testing.assert_close(found.value, law.log_prob(x), rtol=0, atol=1e-4)
    assert not flow.outside(found.latents).any()


def test_likelihood_on_the_sphere_of_a_field_with_a_closed_form() -> None:
    """V = c (e - z x), z = e . x, is the gradient of z: div V = -2 c z, z(t) = tanh(atanh z + c t) (a Moebius flow)."""
    flow, c = Sphere(sd=3**-0.5), 1.3
    x = flow.prior.sample((40, 3), generator("moebius"))
    e = torch.tensor([0.0, 0.6, 0.8], dtype=torch.float64)

    def velocity(x: Tensor, t: Tensor, items: Tensor) -> Tensor:
        return c * flow.tangent(x, e.expand_as(x))

    z = x @ e
    forms = ExactTrace(3)(lambda y: velocity(flow.extended(y), torch.zeros(()), torch.zeros(0)), x, torch.arange(40))
    torch.testing.assert_close(forms.divergence.squeeze(1), -2 * c * z, rtol=0, atol=1e-12)
    found = log_likelihood(velocity, flow, x, ExactTrace(3), Adaptive(1e-9, 1e-9))
    a = z.atanh()
    exact = -math.log(4 * math.pi) - 2 * ((a + c).cosh().log() - a.cosh().log())
    torch.testing.assert_close(found.value, exact, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.latents @ e, (a + c).tanh(), rtol=0, atol=1e-6)
    assert off(flow, found.latents) < 1e-12


def test_divergence_of_rotations() -> None:
    """Left-invariant fields turn all rotations alike: divergence 0. Tr(A^T R) is an eigenfunction: that of its gradient
    in R^9's lengths is -Tr(A^T R)."""
    flow = SO3()
    x = flow.prior.sample((40, 9), generator("divergence"))
    A = torch.randn(3, 3, generator=generator("A"), dtype=torch.float64)
    w = hat(torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64))

    def turning(y: Tensor) -> Tensor:
        return flow.tangent(y, (as_matrices(y) @ w).reshape(y.shape))

    def gradient(y: Tensor) -> Tensor:
        return flow.tangent(y, A.reshape(9).expand_as(y))

    for field, expected in ((turning, torch.zeros(40)), (gradient, -(x @ A.reshape(9)))):
        seen = ExactTrace(9)(lambda y, field=field: field(flow.extended(y)), x, torch.arange(40)).divergence
        torch.testing.assert_close(seen.squeeze(1), expected.double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("flow", "dim"), MANIFOLDS)
def test_uniform_stays_uniform_without_a_field(flow: Geodesics, dim: int) -> None:
    x = flow.prior.sample((10, dim), generator("still"))
    found = log_likelihood(lambda x, t, _: 0 * x, flow, x, ExactTrace(dim), Adaptive())
    torch.testing.assert_close(found.value, flow.prior.log_prob(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("flow", "dim"), [(Sphere(sd=3**-0.5), 3), (SO3(), 9)])
@pytest.mark.parametrize(
    ("name", "order"), [("euler", 1), ("heun", 2), ("ab2", 2), ("ab3", 3), ("abm3", 4), ("rk4", 4)]
)
def test_solvers_keep_their_order_on_manifolds(flow: Geodesics, dim: int, name: str, order: int) -> None:
    """Also those that add velocities of different tangent spaces: in R^n they are vectors of one space."""
    A = torch.randn(dim, dim, generator=generator("field", dim), dtype=torch.float64) / math.sqrt(dim)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return flow.tangent(x, torch.sin(2 * x) @ A.T * torch.cos(2 * over(t, x)))

    start = flow.prior.sample((30, dim), generator("start"))
    exact, _ = transported(lambda x, t, _: velocity(x, t), flow, start, Adaptive(1e-11, 1e-11), (flow.T, 0.0))
    errors = []
    for steps in (32, 64):
        x = SOLVERS[name].solve(velocity, flow, start, grids.cosine(flow, steps))
        assert off(flow, x) < 1e-12
        errors.append(float((x - exact).square().mean().sqrt()))
    assert errors[1] < 0.05
    assert order - 0.35 < math.log2(errors[0] / errors[1])


@pytest.mark.parametrize(("flow", "dim"), MANIFOLDS)
def test_the_predictor_is_tangent(flow: Geodesics, dim: int) -> None:
    torch.manual_seed(0)
    network = MLP((dim,), 0, width=16, blocks=1, harmonics=2)
    torch.nn.init.normal_(network.dec.weight)
    x0, z, t = draws(flow, dim, 30)
    x, v = flow.state(x0, z, t)
    hvp = HVP(network, flow)
    assert normal_part(flow, x, hvp(x, t).detach()) < 1e-6
    predicted, wanted = hvp.target(x, v, t)
    assert normal_part(flow, x, predicted.detach()) < 1e-6
    assert float(wanted.square().mean()) == pytest.approx(1, abs=0.5)


def test_a_periodic_network_has_no_seam() -> None:
    """V is the same at lo and hi, with its derivative, and the harmonics fit the box whatever its size."""
    torch.manual_seed(0)
    network = MLP((2,), 0, width=16, blocks=1, harmonics=3, periodic=True)
    torch.nn.init.normal_(network.dec.weight)
    flow = Torus(lo=-0.3, hi=5.1)
    hvp = HVP(network.double(), flow)
    x = flow.prior.sample((20, 2), generator("seam"))
    t = torch.tensor(0.3, dtype=torch.float64)
    for shift in ([flow.side, 0.0], [0.0, flow.side]):
        torch.testing.assert_close(hvp(x + torch.tensor(shift, dtype=torch.float64), t), hvp(x, t), rtol=0, atol=1e-10)
    with pytest.raises(ValueError, match="harmonics"):
        MLP((2,), 0, periodic=True)


@pytest.mark.parametrize("prior", [SpherePrior(2.0), RotationPrior()])
def test_between_two_uniform_latents_lies_a_geodesic(prior: SpherePrior | RotationPrior) -> None:
    dim = 3 if isinstance(prior, SpherePrior) else 9
    flow: Geodesics = Sphere(radius=2.0) if dim == 3 else SO3()
    start, end = prior.sample((6, dim), generator("a")), prior.sample((6, dim), generator("b"))
    path = interpolated(prior, start, end, torch.linspace(0, 1, 9))
    assert off(flow, path.flatten(0, 1)) < 1e-9
    torch.testing.assert_close(path[0], start, rtol=0, atol=1e-9)
    torch.testing.assert_close(path[-1], end, rtol=0, atol=1e-9)
    steps = path.diff(dim=0).norm(dim=2)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), rtol=1e-9, atol=1e-9)


def test_cells_have_equal_areas_and_hold_the_data() -> None:
    board = SphereCheckerboard(4, 8)
    uniform = SpherePrior(1.0).sample((40_000, 3), generator("cells"))
    share = float(board.on_cells(uniform).double().mean())
    assert abs(share - 0.5) < 4 * 0.5 / 200
    x = board.sample(5000, generator("board"))
    assert board.on_cells(x).all()
    assert torch.equal(board.log_prob(x), torch.full((5000,), -math.log(2 * math.pi), dtype=torch.float64))
    turned = torch.stack([-x[:, 1], x[:, 0], x[:, 2]], 1)  # a quarter, two of eight sectors
    assert board.on_cells(turned).all()
    mirrored = torch.stack([x[:, 0], -x[:, 1], x[:, 2]], 1)
    assert not board.on_cells(mirrored).any()


def test_densities_of_the_mixtures_integrate_to_one_and_score_by_autograd() -> None:
    law = WrappedMixture(lattice(5), 0.3)
    side = (torch.arange(80, dtype=torch.float64) + 0.5) / 40 - 1
    points = torch.cartesian_prod(side, side)
    assert float(law.log_prob(points).exp().mean() * 4) == pytest.approx(1, abs=1e-12)
    x = points[::37].clone().requires_grad_()
    (slope,) = torch.autograd.grad(law.log_prob(x).sum(), x)
    torch.testing.assert_close(law.score(x.detach()), slope, rtol=0, atol=1e-10)
    # One centre: the density depends on the angle r alone, whose uniform law is (1 - cos r) / pi.
    for sd in (0.15, 0.8):
        angles = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000 * math.pi
        turns = rotation(angles.unsqueeze(1) * torch.tensor([[0.6, 0.0, 0.8]], dtype=torch.float64))
        p = RotationMixture(torch.eye(3).unsqueeze(0), sd).log_prob(turns.flatten(1)).exp()
        assert float((p * (1 - angles.cos())).mean()) == pytest.approx(1, abs=1e-5)


def test_rotations_of_the_mixture_lie_around_its_centres() -> None:
    data = so3_mixture()
    x = data.batch(0, 2000, 0).x
    assert not SO3().outside(x).any()
    law = data.density
    assert isinstance(law, RotationMixture)
    between = law.centres.mT.unsqueeze(0) @ as_matrices(x.double()).unsqueeze(1)
    angle = rotation_vector(quaternion(between.flatten(0, 1))).norm(dim=1).reshape(2000, -1).amin(1)
    assert float(angle.square().mean()) == pytest.approx(3 * law.sd**2, rel=0.1)


@pytest.mark.parametrize("name", ["torus", "reflection"])
def test_a_box_that_does_not_contain_the_data_is_refused(name: str) -> None:
    x = torch.zeros(500, 3)
    x[7, 1], x[9, 2], x[9, 0] = 1.25, -3.5, 2.0
    with pytest.raises(RequestError, match=r"2 of 500 items .* outside the box \[-1, 1\]\^d") as refusal:
        check_inside(FLOWS[name](), Items(x))
    assert "coordinate 2 (from 0 on), which is -3.5;" in str(refusal.value)
    images = torch.zeros(20, 1, 4, 4)
    images[3, 0, 1, 2] = 4
    with pytest.raises(RequestError, match=r"coordinate 0, 1, 2 \(from 0 on\), which is 4;"):
        check_inside(FLOWS[name](), Items(images))
    check_inside(FLOWS[name](lo=-3.5, hi=2.0), Items(x))


@pytest.mark.parametrize("name", ["torus", "reflection"])
def test_data_at_the_wall_are_inside_whatever_float32_makes_of_it(name: str) -> None:
    check_inside(FLOWS[name](lo=-0.7, hi=0.1), Items(torch.tensor([[0.1, -0.7]], dtype=torch.float64).float()))


def test_data_off_the_manifold_are_refused_with_an_example() -> None:
    x = DATA["sphere-checkerboard"]().batch(0, 100, 0).x
    check_inside(Sphere(), Items(x))
    check_inside(Sphere(), Items((x * 1e4).round() / 1e4))
    x[4] = torch.tensor([1.0, 2.0, 2.0])
    with pytest.raises(RequestError, match=r"1 of 100 .* the sphere of radius 1,\n.*\[1, 2, 2\], of length 3"):
        check_inside(Sphere(), Items(x))
    R = DATA["so3-mixture"]().batch(0, 100, 0).x
    check_inside(SO3(), Items(R))
    R[3] = -R[3]
    with pytest.raises(RequestError, match=r"1 of 100 .* outside the rotation matrices,\n"):
        check_inside(SO3(), Items(R))
    for flow in (Sphere(), SO3()):
        with pytest.raises(RequestError, match=r"shape"):
            check_inside(flow, Items(torch.zeros(4, 3, 3)))


def test_coordinates_of_a_manifold_are_not_hidden_one_by_one() -> None:
    flow = Sphere()
    x = flow.prior.sample((2, 3), generator("hidden"))
    with pytest.raises(RequestError, match="sphere"):
        inpainted(lambda x, t: 0 * x, flow, x, torch.ones(3) > 0, x, grids.uniform(flow, 2), lambda: x)


SMALL = [
    *(
        "--set",
        "train.images=1024",
        "--set",
        "train.batch=512",
        "--set",
        "network.width=8",
        "--set",
        "network.blocks=1",
    ),
    *("--set", "train.sample_every=1024", "--set", "sample.nfe=5"),
]


@pytest.mark.parametrize("preset", ["sphere-checkerboard", "torus-mixture", "so3-mixture"])
def test_commands_take_flows_on_manifolds_or_refuse_in_a_line(preset: str, inside: Run, tmp_path: Path) -> None:
    run = inside("train", "--preset", preset, *SMALL).stdout.strip()
    inside("sample", run, "--num", "40", "--out", "s.npz")
    x = torch.from_numpy(np.load(tmp_path / "s.npz")["samples"])
    flow = FLOWS[preset.split("-")[0]]()
    assert not flow.outside(x).any()
    assert inside("visualize", "samples", "s.npz", "--out", "a.png").stdout.strip() == "a.png"
    inside("visualize", "samples", run, "--num", "40", "--out", "b.png")
    inside("visualize", "interpolation", run, "--nfe", "8", "--out", "c.png")
    likelihood = inside("likelihood", run, "--num", "3", "--nfe", "100")
    assert "the data's own law gives" in likelihood.stderr
    inside("latents", "encode", run, "--num", "3", "--tolerance", "1e-4", "--out", "z.npz")
    inside("latents", "decode", run, "z.npz", "--nfe", "8", "--out", "again.npz")
    inside("eval-fid", run, "--features", "none", "--num", "60")
    for refused in (
        ("sample", run, "--flow", "oscillation", "--out", "no.npz"),
        ("sample", run, "--sampler", "angle-ab3", "--out", "no.npz"),
        ("sample", run, "--set", "sample.restart=1", "--out", "no.npz"),
        ("latents", "inpaint", run, "--mask", "first-half", "--num", "2"),
        ("score-match", "--evaluate", run, "--noise", "0.1"),
    ):
        done = inside(*refused, status=2)
        assert len(done.stderr.strip().splitlines()) <= 2
    if preset == "torus-mixture":
        inside("visualize", "trajectories", run, "--num", "20", "--out", "film")
        inside("latents", "inpaint", run, "--mask", "first-half", "--num", "2", "--repeats", "1", "--out", "filled.npz")
    else:
        assert "in the plane" in inside("visualize", "trajectories", run, status=2).stderr


def test_training_refuses_data_outside_before_anything_is_written(inside: Run, tmp_path: Path) -> None:
    done = inside("train", "--preset", "checkerboard-reflection", "--set", "flow.hi=0.4", status=2)
    assert "of 10,000 items of the data that were looked at lie outside the box [-1, 0.4]^d" in done.stderr
    inside("train", "--preset", "ring-oscillation", "--set", "flow=sphere", status=2)
    inside("train", "--preset", "ring-oscillation", "--set", "flow=so3", status=2)
    assert not list(tmp_path.iterdir())


def test_points_on_a_sphere_and_rotations_get_maps(tmp_path: Path) -> None:
    """Two hemispheres side by side; three axes by two. Other vectors are a plain square."""
    shapes = {}
    for name, dim in (("sphere-checkerboard", 3), ("so3-mixture", 9)):
        x = DATA[name]().batch(0, 100, 0).x
        for kind, points in (("map", x), ("plain", x + 0.2)):
            samples_figure(points).save(tmp_path / "points.png")
            width, height = Image.open(tmp_path / "points.png").size
            shapes[kind, dim] = width / height
    assert shapes["map", 3] > 1.8
    assert 1.3 < shapes["map", 9] < 1.6
    assert shapes["plain", 3] == shapes["plain", 9] == 1


def test_reflection_ends_uniformly_from_one_point() -> None:
    """From a corner and from the middle, in three dimensions; at an eighth of T it does not."""
    flow = Reflection()
    z = torch.randn(1000, 3, generator=generator("walls"), dtype=torch.float64)
    uniform = flow.prior.sample((1000, 3), generator("uniform"))
    for place in (0.95, 0.0):
        x0 = torch.full_like(z, place)
        assert two_sample(flow.state(x0, z, torch.tensor(flow.T)).x, uniform).p > 1 / 500
        assert two_sample(flow.state(x0, z, torch.tensor(flow.T / 8)).x, uniform).p == 1 / 500
