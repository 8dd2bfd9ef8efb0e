"""Every flow of the registry, and subclasses that are in no registry, keep what `Flow` promises."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.priors.gaussian import GaussianPrior
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.flows.sphere import Sphere
from hgfctl.engine.flows.torus import Torus
from hgfctl.engine.flows.velocity_laws.gaussian import GaussianVelocity
from hgfctl.engine.phase_space import State, over
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.statistics.two_sample import two_sample
from tests.contracts.items import flows, items, noise, shape_of

FLOWS = dict(flows())
every = pytest.mark.parametrize("name", FLOWS)
ENDS_BY = {"diffusion": "x_T keeps the data beside the noise, sd against sigma_max"}
"""Flows whose prior is not exact, and why."""


class MyTorus(Torus):
    """Registered nowhere."""


class MySphere(Sphere):
    """Registered nowhere."""


class MyOscillation(Oscillation):
    """Registered nowhere."""


class MyReflection(Reflection):
    """Registered nowhere."""


@dataclass(frozen=True)
class Turning(Flow):
    """A quarter turn of an oscillator, written anew as a flow that is none of the linear family."""

    @property
    def T(self) -> float:
        return math.pi / 2

    @property
    def velocity_law(self) -> GaussianVelocity:
        return GaussianVelocity(self.sd)

    @property
    def prior(self) -> GaussianPrior:
        return GaussianPrior(self.sd)

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -x

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        t, v0 = over(t.to(x0.dtype), x0), self.velocity_law(x0, z)
        return State(torch.cos(t) * x0 + torch.sin(t) * v0, torch.cos(t) * v0 - torch.sin(t) * x0)

    def moments(self, t: Tensor) -> Moments:
        square = self.sd**2 * torch.ones_like(t)
        return Moments(square, 0 * square, square, square)


STRANGERS = {"torus": MyTorus(), "sphere": MySphere(), "oscillation": MyOscillation(), "reflection": MyReflection()}
ANYONE = {**FLOWS, **{f"{name} (a stranger)": flow for name, flow in STRANGERS.items()}, "turning": Turning()}


@pytest.mark.parametrize("nfe", [1, 6, 20, 64])
@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("name", ANYONE)
def test_auto_samples_every_flow(name: str, nfe: int, image: bool) -> None:
    """With a velocity that leaves the prior alone; within the budget, and to where the flow's items are."""
    flow, shape = ANYONE[name], shape_of(name)
    chosen = plan(flow, nfe, shape=(3, 8, 8) if image else shape)
    assert chosen.nfe <= nfe
    assert chosen.solver.admits(flow)
    x = flow.prior.sample((5, *shape), generator("start"))
    calls = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        calls.append(float(t))
        return flow.tangent(x, torch.full_like(x, 0.3))

    made = chosen.solver.solve(velocity, flow, x, chosen.times)
    assert len(calls) == chosen.nfe
    assert made.shape == x.shape
    assert bool(made.isfinite().all())
    assert not bool(flow.outside(made).any())


def test_strangers_go_by_the_rows_of_their_parents() -> None:
    for name, flow in STRANGERS.items():
        mine, parents = plan(flow, 20, shape=(2,)), plan(FLOWS[name], 20, shape=(2,))
        assert (mine.solver, mine.grid) == (parents.solver, parents.grid)
    assert plan(Turning(), 20).solver == SOLVERS["ab4"]
    assert plan(Turning(), 20).grid == "cosine"


def test_a_choice_that_a_flow_does_not_admit_is_not_taken() -> None:
    class Mistaken(Turning):
        tuned_as = "oscillation"

    assert plan(Mistaken(), 20, shape=(2,)).solver == SOLVERS["ab4"]


@every
def test_the_state_at_0_is_the_data_with_the_velocity_of_the_law(name: str) -> None:
    flow, shape = FLOWS[name], shape_of(name)
    x0, z = items(flow, shape, 50), noise((50, *shape))
    x, v = flow.state(x0, z, torch.tensor(0.0, dtype=torch.float64))
    torch.testing.assert_close(x, x0, atol=1e-9, rtol=0)
    torch.testing.assert_close(v, flow.velocity_law(x0, z), atol=1e-9, rtol=1e-9)


@every
def test_velocity_is_the_derivative_of_position_and_force_that_of_velocity(name: str) -> None:
    """By central differences; where a wall or the end of the period lies between, none is taken."""
    flow, shape = FLOWS[name], shape_of(name)
    x0, z = items(flow, shape, 200), noise((200, *shape))
    if flow.simulated:
        pytest.skip("a state depends on the steps to it: tests/test_designed.py compares with finer steps")
    h = 1e-5 * flow.T
    for fraction in (0.1, 0.5, 0.9):
        t = torch.tensor(fraction * flow.T, dtype=torch.float64)
        before, here, after = (flow.state(x0, z, time) for time in (t - h, t, t + h))
        smooth = (after.x - before.x).abs() < 0.1
        smooth &= (after.v - before.v).abs() <= 0.1 * (1 + here.v.abs())
        assert float(smooth.double().mean()) > 0.99
        for difference, value in ((after.x - before.x, here.v), (after.v - before.v, flow.force(*here, t))):
            error = (difference / (2 * h) - value)[smooth].abs()
            assert float(error.max()) < 1e-4 * (1 + float(value.abs().max()))


@every
def test_moments_are_positive_and_residuals_no_larger_than_they(name: str) -> None:
    flow = FLOWS[name]
    times = torch.linspace(0, flow.T, 9, dtype=torch.float64)
    xx, _, vv, residual = flow.moments(times)
    assert all(bool(part.isfinite().all()) for part in (xx, vv, residual))
    assert all(bool((part > 0).all()) for part in (xx, vv, residual))
    assert bool((residual <= vv * (1 + 1e-6)).all())


@every
def test_states_at_T_follow_the_prior(name: str) -> None:
    """A two-sample test at 1 in 1,000, seeds fixed; fitted priors are tested on the draws they were not fitted to."""
    flow, shape = FLOWS[name], shape_of(name)
    if flow.simulated:
        pytest.skip("its prior is fitted, and reported: tests/test_designed.py")
    x0, z = items(flow, shape, 500), noise((500, *shape))
    ends = flow.state(x0, z, torch.tensor(flow.T, dtype=torch.float64)).x
    assert two_sample(ends, flow.prior.sample((500, *shape), generator("prior"))).p > 1e-3


@every
def test_the_clock_and_its_inverse(name: str) -> None:
    flow = FLOWS[name]
    times = flow.T * torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    sigma = flow.sigma(times)
    assert bool((sigma.diff() > 0).all())
    torch.testing.assert_close(flow.time(sigma), times, atol=1e-9 * flow.T, rtol=1e-7)


@every
def test_confining_twice_is_confining_once(name: str) -> None:
    flow, shape = FLOWS[name], shape_of(name)
    inside = flow.confine(items(flow, shape, 50) + 0.7 * noise((50, *shape)))
    assert not bool(flow.outside(inside).any())
    torch.testing.assert_close(flow.confine(inside), inside, atol=1e-12, rtol=0)


@every
def test_unfolded_velocities_are_the_flows_own_inside(name: str) -> None:
    flow, shape = FLOWS[name], shape_of(name)
    x = items(flow, shape, 50)

    def velocity(x: Tensor) -> Tensor:
        return flow.tangent(x, torch.sin(3 * x))

    torch.testing.assert_close(flow.unfolded(velocity)(x), velocity(x), atol=1e-9, rtol=0)


@every
def test_names(name: str) -> None:
    assert FLOWS[name].name == name.split()[0]
