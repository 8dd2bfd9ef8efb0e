"""Integrators against exact solutions and the laws of mechanics."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch import Tensor

from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.integrators import INTEGRATORS
from hgfctl.engine.integrators.integrator import Force, Integrator
from hgfctl.engine.integrators.runge_kutta import EULER, HEUN, RK4, Tableau, step
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator

ORDERS = {"leapfrog": 2, "euler": 1, "rk4": 4, "yoshida": 4}
SYMPLECTIC = ("leapfrog", "yoshida")


def harmonic(x: Tensor, t: Tensor) -> Tensor:
    return -1.69 * x


def pendulum(x: Tensor, t: Tensor) -> Tensor:
    return -x.sin()


def driven(x: Tensor, t: Tensor) -> Tensor:
    return -x + torch.cos(2 * t)


FORCES = {"harmonic oscillator": harmonic, "pendulum": pendulum, "driven oscillator": driven}


def times(end: float, steps: int) -> Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def start(dim: int = 2, count: int = 5) -> State:
    rng = generator(0, "start")
    x, v = torch.randn(2, count, dim, generator=rng, dtype=torch.float64)
    return State(x, v)


def reference(force: Force, begin: State, end: float) -> State:
    """By SciPy's DOP853, to 1e-12."""
    shape = begin.x.shape

    def derivative(t: float, y: object) -> object:
        x, v = torch.as_tensor(y).reshape(2, *shape)
        return torch.stack([v, force(x, torch.tensor(t, dtype=torch.float64))]).flatten().numpy()

    y = solve_ivp(derivative, (0, end), torch.stack(begin).flatten(), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    return State(*torch.as_tensor(y).reshape(2, *shape))


def slope(integrator: Integrator, force: Force, exact: State) -> float:
    """Of log error against log step, by least squares over three step counts."""
    counts = (40, 80, 160)
    reached = [integrator.integrate(force, start(), times(2.0, steps)) for steps in counts]
    errors = [math.hypot(float((r.x - exact.x).norm()), float((r.v - exact.v).norm())) for r in reached]
    return -float(np.polyfit(np.log(counts), np.log(errors), 1)[0])


@pytest.mark.parametrize("force", FORCES.values(), ids=FORCES.keys())
@pytest.mark.parametrize(("integrator", "order"), [*((INTEGRATORS[n], o) for n, o in ORDERS.items()), (HEUN, 2)])
def test_error_falls_as_the_order_says(integrator: Integrator, order: int, force: Force) -> None:
    """Against SciPy's DOP853."""
    assert integrator.order == order  # type: ignore[attr-defined]
    assert slope(integrator, force, reference(force, start(), 2.0)) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_error_against_the_closed_form_falls_as_the_order_says(name: str, order: int) -> None:
    """x = cos(alpha t) x0 + sin(alpha t)/alpha v0: no other integrator in between."""
    alpha, (x0, v0) = 1.3, start()
    cos, sin = math.cos(2 * alpha), math.sin(2 * alpha)
    exact = State(cos * x0 + sin / alpha * v0, cos * v0 - alpha * sin * x0)
    assert slope(INTEGRATORS[name], harmonic, exact) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("tableau", [EULER, HEUN, RK4], ids=lambda tableau: tableau.name)
def test_tableaux_obey_the_order_conditions(tableau: Tableau) -> None:
    """Those of trees with up to four vertices (Hairer, Nørsett, Wanner 1993, table II.2.1), and c_i = sum_j a_ij."""
    b, c = np.array(tableau.b), np.array(tableau.c)
    a = np.array([[*row, *[0.0] * (len(b) - len(row))] for row in tableau.a])
    np.testing.assert_allclose(a.sum(1), c)
    conditions = [
        [(b.sum(), 1)],
        [(b @ c, 1 / 2)],
        [(b @ c**2, 1 / 3), (b @ a @ c, 1 / 6)],
        [(b @ c**3, 1 / 4), ((b * c) @ a @ c, 1 / 8), (b @ a @ c**2, 1 / 12), (b @ a @ a @ c, 1 / 24)],
    ]
    for left, right in itertools.chain(*conditions[: tableau.order]):
        assert left == pytest.approx(right, abs=1e-15)


@given(name=st.sampled_from(SYMPLECTIC), seed=st.integers(0, 2**32), steps=st.integers(1, 40))
def test_symplectic_integrators_fly_back(name: str, seed: int, steps: int) -> None:
    """For any smooth force, also one that depends on time; reversed to rounding."""
    w, phase = torch.randn(2, 3, 3, generator=generator(seed), dtype=torch.float64)

    def force(x: Tensor, t: Tensor) -> Tensor:
        return torch.sin(x @ w + phase[0] + t)

    begin, grid = start(dim=3), times(1.5, steps)
    there = INTEGRATORS[name].integrate(force, begin, grid)
    back = INTEGRATORS[name].integrate(force, there, grid.flip(0))
    assert (back.x - begin.x).abs().max() < 1e-12
    assert (back.v - begin.v).abs().max() < 1e-12


@pytest.mark.parametrize(("name", "kept"), [("leapfrog", True), ("yoshida", True), ("euler", False), ("rk4", False)])
def test_only_symplectic_integrators_preserve_volume(name: str, kept: bool) -> None:
    def one_step(y: Tensor) -> Tensor:
        x, v = y.reshape(2, 1, 2)
        return torch.cat(INTEGRATORS[name].integrate(pendulum, State(x, v), times(0.7, 1))).flatten()

    jacobian = torch.autograd.functional.jacobian(one_step, torch.tensor([0.4, -1.1, 0.8, 0.3], dtype=torch.float64))
    assert (abs(float(torch.linalg.det(jacobian)) - 1) < 1e-13) == kept


def energy_error(name: str) -> Tensor:
    """Largest over the batch, at each of 10,000 steps of a pendulum."""
    path = INTEGRATORS[name].trajectory(pendulum, start(), times(1000.0, 10_000))
    x, v = (torch.stack(part) for part in zip(*path))
    energy = (v**2 / 2 - x.cos()).sum(-1)
    return (energy - energy[0]).abs().amax(1)


@pytest.mark.parametrize(("name", "bound"), [("leapfrog", 2e-2), ("yoshida", 2e-4)])
def test_energy_of_symplectic_integrators_does_not_drift(name: str, bound: float) -> None:
    """The error of the last tenth is that of the first."""
    error = energy_error(name)
    assert error[-1000:].max() < 1.05 * error[:1000].max()
    assert error.max() < bound


def test_energy_of_euler_drifts() -> None:
    error = energy_error("euler")
    assert error[-1000:].max() > 2 * error[:1000].max()


@pytest.mark.parametrize("name", ORDERS)
def test_a_batch_is_its_items(name: str) -> None:
    begin, grid = start(count=4), times(1.0, 7)
    together = INTEGRATORS[name].integrate(pendulum, begin, grid)
    for i in range(4):
        alone = INTEGRATORS[name].integrate(pendulum, State(begin.x[i : i + 1], begin.v[i : i + 1]), grid)
        torch.testing.assert_close(together.x[i : i + 1], alone.x, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ORDERS)
def test_images_and_types_are_kept(name: str) -> None:
    x = torch.randn(2, 3, 4, 4)
    reached = INTEGRATORS[name].integrate(pendulum, State(x, torch.zeros_like(x)), times(1.0, 3))
    assert reached.x.shape == x.shape
    assert reached.x.dtype == reached.v.dtype == torch.float32


@pytest.mark.parametrize("name", ORDERS)
def test_gradients_are_exact(name: str) -> None:
    def end(x: Tensor, v: Tensor) -> Tensor:
        return INTEGRATORS[name].integrate(pendulum, State(x, v), times(1.0, 3)).x

    x, v = start(count=2)
    assert torch.autograd.gradcheck(end, (x.requires_grad_(), v.requires_grad_()))


@pytest.mark.parametrize("name", ORDERS)
def test_gradients_reach_the_times_and_the_force(name: str) -> None:
    begin = start(count=2)

    def end(grid: Tensor, weight: Tensor) -> Tensor:
        return INTEGRATORS[name].integrate(lambda x, t: -weight * x.sin() + t, begin, grid).x

    weight = torch.tensor(1.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(end, (times(1.0, 3).requires_grad_(), weight))


@pytest.mark.parametrize("name", ORDERS)
def test_trajectory_begins_with_the_start_and_ends_where_integrate_does(name: str) -> None:
    """Uneven steps, one time alone too."""
    begin, grid = start(), torch.tensor([0.0, 0.1, 0.15, 0.4, 1.0], dtype=torch.float64)
    path = list(INTEGRATORS[name].trajectory(driven, begin, grid))
    reached = INTEGRATORS[name].integrate(driven, begin, grid)
    assert len(path) == len(grid)
    assert torch.equal(path[0].x, begin.x)
    assert torch.equal(path[-1].x, reached.x)
    assert torch.equal(path[-1].v, reached.v)
    assert torch.equal(INTEGRATORS[name].integrate(driven, begin, grid[:1]).x, begin.x)


@pytest.mark.parametrize(("name", "calls"), [("leapfrog", 11), ("yoshida", 31), ("euler", 10), ("rk4", 40)])
def test_force_is_asked_as_often_as_promised(name: str, calls: int) -> None:
    asked = []

    def force(x: Tensor, t: Tensor) -> Tensor:
        asked.append(t)
        return -x

    INTEGRATORS[name].integrate(force, start(), times(1.0, 10))
    assert len(asked) == calls


@pytest.mark.parametrize("tableau", [EULER, HEUN, RK4], ids=lambda tableau: tableau.name)
@pytest.mark.parametrize("h", [0.3, -0.3])
def test_a_known_first_slope_saves_one_call_and_changes_nothing(tableau: Tableau, h: float) -> None:
    y, asked = start().x, []

    def derivative(y: Tensor, t: Tensor) -> Tensor:
        asked.append(float(t))
        return y.cos() + t

    plain = step(derivative, y, 0.7, h, tableau)
    assert asked == pytest.approx([0.7 + c * h for c in tableau.c])
    first = derivative(y, torch.tensor(0.7, dtype=torch.float64))
    asked.clear()
    assert torch.equal(step(derivative, y, 0.7, h, tableau, first=first), plain)
    assert asked == pytest.approx([0.7 + c * h for c in tableau.c[1:]])


@pytest.mark.parametrize("tableau", [EULER, HEUN, RK4], ids=lambda tableau: tableau.name)
def test_a_confined_step_asks_and_ends_inside(tableau: Tableau) -> None:
    """Walls at -1 and 1 and a slope of 3 from 0.9: every stage is folded, not only the end."""
    flow, asked = Reflection(), []

    def derivative(y: Tensor, t: Tensor) -> Tensor:
        asked.append(float(y))
        return torch.full_like(y, 3.0)

    end = step(derivative, torch.tensor([0.9], dtype=torch.float64), 0.0, 0.5, tableau, confine=flow.confine)
    assert asked == pytest.approx([1 - abs(0.9 + 1.5 * c - 1) for c in tableau.c])
    assert float(end) == pytest.approx(-0.4)


def test_a_step_keeps_the_type_of_the_position_and_64_bits_of_time() -> None:
    asked = []

    def derivative(y: Tensor, t: Tensor) -> Tensor:
        asked.append(t.dtype)
        return -y

    assert step(derivative, torch.ones(2, 3), 0.0, 0.1, RK4).dtype == torch.float32
    assert asked == [torch.float64] * 4
