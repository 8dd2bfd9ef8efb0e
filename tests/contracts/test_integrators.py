"""Every integrator of the registry keeps what `Integrator` promises, on the harmonic oscillator."""

import pytest
import torch
from torch import Tensor

from hgfctl.engine.integrators import INTEGRATORS
from hgfctl.engine.phase_space import State
from tests.contracts.items import noise

every = pytest.mark.parametrize("name", INTEGRATORS)
X, V = noise((5, 2), 1), noise((5, 2), 2)


def pull(x: Tensor, t: Tensor) -> Tensor:
    return -x


def error(name: str, steps: int) -> float:
    """Distance from the exact state after a quarter turn."""
    end = INTEGRATORS[name].integrate(
        pull, State(X, V), torch.linspace(0, torch.pi / 2, steps + 1, dtype=torch.float64)
    )
    return float((end.x - V).norm() + (end.v + X).norm())


@every
def test_states_are_one_a_time_beginning_with_the_start(name: str) -> None:
    path = list(INTEGRATORS[name].trajectory(pull, State(X, V), torch.linspace(0, 1, 8).double()))
    assert len(path) == 8
    assert torch.equal(path[0].x, X)
    assert torch.equal(path[0].v, V)
    assert all(state.x.shape == X.shape and bool(state.x.isfinite().all()) for state in path)


@every
def test_errors_fall_with_the_steps(name: str) -> None:
    assert error(name, 200) < 0.6 * error(name, 100) < 0.6 * error(name, 50)
    assert error(name, 200) < 0.05


@every
def test_times_turned_round_lead_back(name: str) -> None:
    times = torch.linspace(0, 1, 201).double()
    there = INTEGRATORS[name].integrate(pull, State(X, V), times)
    back = INTEGRATORS[name].integrate(pull, there, times.flip(0))
    torch.testing.assert_close(back.x, X, atol=0.03, rtol=0)


@every
def test_the_type_of_the_start_is_kept(name: str) -> None:
    start = State(X.float(), V.float())
    assert INTEGRATORS[name].integrate(pull, start, torch.linspace(0, 1, 5).double()).x.dtype == torch.float32
