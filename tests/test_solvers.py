"""Solvers against the exact HVP of Gaussian mixtures, and grids against what they promise."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from hgfctl.engine.data.mixture import gmm64_mixture, ring_mixture
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.sampling.sampler import FlowSampler
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.engine.solvers.adams_bashforth import integration_weights
from hgfctl.errors import RequestError

FLOWS = {"diffusion": Diffusion(), "flow-matching": FlowMatching(), "oscillation": Oscillation()}


def smooth_problem() -> tuple[MixtureHVP, Oscillation, Tensor]:
    """Wide modes, so that orders show at moderate step counts."""
    flow = Oscillation()
    return MixtureHVP(ring_mixture(radius=0.5, sd=0.35), flow), flow, flow.prior.sample((32, 2), generator(0))


@pytest.mark.parametrize(
    ("name", "order"),
    [("euler", 1), ("heun", 2), ("rk4", 4), ("ab2", 2), ("ab3", 3), ("ab4", 4), ("ddim", 1), ("dpm++2m", 2)],
)
def test_error_falls_as_the_order_says(name: str, order: int) -> None:
    """Between two fixed times inside (0, T), on a cosine grid: free of the special last step, and with first steps so
    short that Adams-Bashforth's rise from order 1 costs nothing.
    """
    exact, flow, x = smooth_problem()

    def solve(method: str, steps: int) -> Tensor:
        angle = torch.linspace(0, math.pi, steps + 1, dtype=torch.float64)
        return SOLVERS[method].solve(exact, flow, x, 0.75 + 0.45 * torch.cos(angle))

    truth = solve("rk4", 2000)
    coarse, fine = ((solve(name, steps) - truth).norm() for steps in (80, 160))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize(("nfe", "bound"), [(5, 0.05), (10, 0.02), (20, 3e-3), (35, 3e-4)])
@pytest.mark.parametrize("seed", [0, 1])
def test_auto_on_the_64_dimensional_oracle(nfe: int, bound: float, seed: int) -> None:
    """Median RMS error per coordinate against RK4 with 400 steps, itself within 1e-9 of 800 steps."""
    flow = Oscillation()
    exact = MixtureHVP(gmm64_mixture(seed), flow)
    x = flow.prior.sample((48, 64), generator(1))
    truth = SOLVERS["rk4"].solve(exact, flow, x, GRIDS["cosine"](flow, 400))
    chosen = plan(flow, nfe)
    error = (chosen.solver.solve(exact, flow, x, chosen.times) - truth).square().mean(1).sqrt().median()
    assert chosen.nfe == nfe
    assert error <= bound


@pytest.mark.parametrize("flow", FLOWS.values(), ids=FLOWS.keys())
def test_sampling_the_exact_hvp_lands_on_the_modes(flow: Flow) -> None:
    mixture = ring_mixture()
    chosen = plan(flow, 60)
    x = chosen.solver.solve(MixtureHVP(mixture, flow), flow, flow.prior.sample((400, 2), generator(2)), chosen.times)
    distance = torch.cdist(x, mixture.means).min(1).values
    assert float(distance.square().mean().sqrt()) == pytest.approx(0.05 * math.sqrt(2), rel=0.15)


@pytest.mark.parametrize("name", ["ddim", "dpm++2m"])
def test_exponential_solvers_are_one_algorithm_for_all_linear_flows(name: str) -> None:
    """The same samples from diffusion and oscillation on the same sigma grid, from the same noise."""
    mixture, noise = ring_mixture(), torch.randn(16, 2, generator=generator(3), dtype=torch.float64)
    sigma = torch.cat([torch.logspace(1, -2, 12, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    ends = []
    for flow in FLOWS.values():
        times = flow.time(sigma)
        path = flow.path(times[0])
        start = path.a * (noise * sigma[0])  # x / a = sigma z for every flow
        ends.append(SOLVERS[name].solve(MixtureHVP(mixture, flow), flow, start, times))
    torch.testing.assert_close(ends[0], ends[1], atol=1e-10, rtol=0)
    torch.testing.assert_close(ends[0], ends[2], atol=1e-10, rtol=0)


@given(
    name=st.sampled_from(sorted(GRIDS)),
    flow=st.sampled_from([*FLOWS.values(), Reflection()]),
    steps=st.integers(1, 200),
)
def test_grids_fall_from_T_to_zero(name: str, flow: Flow, steps: int) -> None:
    times = GRIDS[name](flow, steps)
    assert len(times) == steps + 1
    assert float(times[0]) == flow.T
    assert float(times[-1]) == 0
    assert bool((times.diff() < 0).all())


@given(name=st.sampled_from(sorted(set(SOLVERS) - {"dopri5"})), nfe=st.integers(1, 60))
def test_budget_is_kept_and_counted(name: str, nfe: int) -> None:
    flow, calls = Oscillation(), []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        calls.append(t)
        return -x

    try:
        chosen = plan(flow, nfe, name, "cosine")
    except RequestError:
        assert SOLVERS[name].cost(1) > nfe
        return
    chosen.solver.solve(velocity, flow, torch.ones(1, 2, dtype=torch.float64), chosen.times)
    assert len(calls) == chosen.nfe <= nfe
    assert SOLVERS[name].cost(len(chosen.times)) > nfe


def test_heun_of_18_steps_costs_35() -> None:
    assert SOLVERS["heun"].cost(18) == 35
    assert SOLVERS["heun"].steps(35) == 18


@given(
    nodes=st.lists(st.floats(0.1, 2), min_size=1, max_size=4, unique_by=lambda t: round(t, 1)),
    end=st.floats(-1, 0.05),
)
def test_adams_bashforth_weights_integrate_polynomials_exactly(nodes: list[float], end: float) -> None:
    node, stop = torch.tensor(nodes, dtype=torch.float64), torch.tensor(end, dtype=torch.float64)
    weights = integration_weights(node, node[0], stop)
    for k in range(len(nodes)):
        exact = (end ** (k + 1) - nodes[0] ** (k + 1)) / (k + 1)
        assert float((weights * node**k).sum()) == pytest.approx(exact, rel=1e-6, abs=1e-8)


def test_steps_are_folded_back_into_the_box() -> None:
    flow = Reflection()
    x = flow.prior.sample((200, 2), generator(4))
    for name, grid in itertools.product(("euler", "heun", "rk4", "ab4"), ("uniform", "quadratic")):
        path = SOLVERS[name].trajectory(lambda x, t: 5 * torch.ones_like(x), flow, x, GRIDS[grid](flow, 6))
        assert all(float(position.abs().max()) <= 1 for position in path)


def test_linear_solvers_refuse_reflection() -> None:
    with pytest.raises(RequestError, match=r"dpm\+\+2m needs a linear flow"):
        plan(Reflection(), 10, "dpm++2m")


class _Elementwise(nn.Module):
    """A network whose answer for an item cannot depend on its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        shift = 0 if labels is None else labels.reshape(-1, 1).to(x.dtype)
        return torch.tanh(self.weight * x + noise.reshape(-1, 1) + shift)


def test_an_item_depends_on_its_seed_alone() -> None:
    flow = Oscillation()
    sampler = FlowSampler((4,), 3, HVP(_Elementwise(), flow).eval(), plan(flow, 8))
    together = torch.cat([part.x for part in sampler.batches(torch.arange(5, 25), 20)])
    in_parts = torch.cat([part.x for part in sampler.batches(torch.arange(5, 25), 7)])
    alone = torch.cat([part.x for part in sampler.batches(torch.arange(11, 12), 1)])
    assert torch.equal(together, in_parts)
    assert torch.equal(together[6:7], alone)


def test_classes_go_by_the_seed() -> None:
    sampler = FlowSampler((4,), 10, HVP(_Elementwise(), Oscillation()), plan(Oscillation(), 8))
    assert sampler.labels(torch.arange(8, 13)).tolist() == [8, 9, 0, 1, 2]
    assert sampler.labels(torch.arange(4), [3, 5]).tolist() == [3, 5, 3, 5]
