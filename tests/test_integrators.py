"""Integrators against exact solutions and the laws of mechanics."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch import Tensor

from hgfctl.engine.flows.flow import State
from hgfctl.engine.integrators import INTEGRATORS
from hgfctl.engine.integrators.runge_kutta import EULER, RK4, step
from hgfctl.engine.randomness import generator

ORDERS = {"leapfrog": 2, "euler": 1, "rk4": 4, "yoshida": 4}
SYMPLECTIC = ("leapfrog", "yoshida")


def pendulum(x: Tensor, t: Tensor) -> Tensor:
    return -x.sin()


def driven(x: Tensor, t: Tensor) -> Tensor:
    return -x + torch.cos(2 * t)


def times(end: float, steps: int) -> Tensor:
    return torch.linspace(0, end, steps + 1, dtype=torch.float64)


def start(dim: int = 2, count: int = 5) -> State:
    rng = generator(0, "start")
    x, v = torch.randn(2, count, dim, generator=rng, dtype=torch.float64)
    return State(x, v)


def reference(force: Callable[[Tensor, Tensor], Tensor], begin: State, end: float) -> State:
    """By SciPy's DOP853, to 1e-12."""
    shape = begin.x.shape

    def derivative(t: float, y: object) -> object:
        x, v = torch.as_tensor(y).reshape(2, *shape)
        return torch.stack([v, force(x, torch.tensor(t, dtype=torch.float64))]).flatten().numpy()

    y = solve_ivp(derivative, (0, end), torch.stack(begin).flatten(), method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    return State(*torch.as_tensor(y).reshape(2, *shape))


@pytest.mark.parametrize("force", [pendulum, driven], ids=["pendulum", "driven oscillator"])
@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_error_falls_as_the_order_says(name: str, order: int, force: Callable[[Tensor, Tensor], Tensor]) -> None:
    exact = reference(force, start(), 2.0)
    errors = []
    for steps in (40, 80):
        reached = INTEGRATORS[name].integrate(force, start(), times(2.0, steps))
        errors.append((reached.x - exact.x).norm() + (reached.v - exact.v).norm())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize("name", ORDERS)
def test_harmonic_oscillator_is_met(name: str) -> None:
    alpha, begin = 1.3, start()
    reached = INTEGRATORS[name].integrate(lambda x, t: -(alpha**2) * x, begin, times(1.0, 4000))
    x = math.cos(alpha) * begin.x + math.sin(alpha) / alpha * begin.v
    assert (reached.x - x).abs().max() < (2e-3 if name == "euler" else 1e-7)


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


@pytest.mark.parametrize("name", ["leapfrog", "yoshida"])
def test_energy_does_not_drift(name: str) -> None:
    """Over 5,000 steps of a pendulum: the error of the last tenth is that of the first. Euler's grows without end."""

    def energy_error(method: str) -> Tensor:
        path = INTEGRATORS[method].trajectory(pendulum, start(), times(500.0, 5000))
        energy = torch.stack([(s.v**2 / 2 - s.x.cos()).sum(1) for s in path])
        return (energy - energy[0]).abs().amax(1)

    error = energy_error(name)
    assert error[-500:].max() < 1.1 * error[:500].max()
    assert error.max() < (2e-2 if name == "leapfrog" else 2e-4)
    euler = energy_error("euler")
    assert euler[-500:].max() > 2 * euler[:500].max()


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


@pytest.mark.parametrize(("name", "calls"), [("leapfrog", 11), ("yoshida", 31), ("euler", 10), ("rk4", 40)])
def test_force_is_asked_as_often_as_promised(name: str, calls: int) -> None:
    asked = []

    def force(x: Tensor, t: Tensor) -> Tensor:
        asked.append(t)
        return -x

    INTEGRATORS[name].integrate(force, start(), times(1.0, 10))
    assert len(asked) == calls


def test_a_step_uses_the_slope_it_is_given_and_stays_confined() -> None:
    calls = []

    def derivative(y: Tensor, t: Tensor) -> Tensor:
        calls.append(y)
        assert float(y.abs().max()) <= 1
        return torch.full_like(y, 3.0)

    y = torch.tensor([0.9], dtype=torch.float64)
    end = step(derivative, y, 0.0, 1.0, RK4, first=torch.full_like(y, 3.0), confine=lambda x: x.clamp(-1, 1))
    assert len(calls) == 3
    assert float(end) == 1.0
    assert float(step(lambda y, t: y * 0 + t, y, 2.0, 0.5, EULER)) == pytest.approx(0.9 + 2.0 * 0.5)
