"""Guidance: against closed forms of mixtures with classes, and every call of a network counted."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hgfctl import checkpoints
from hgfctl.cli.app import status
from hgfctl.engine.assembly import fresh_network, guided_by, sampler_of, trained, with_defaults
from hgfctl.engine.data.mixture import GaussianMixture
from hgfctl.engine.evaluation.evaluate import Making, image_set
from hgfctl.engine.flows.conversions import score_from_hvp
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.mixture_hvp import MixtureHVP
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.models.dit import DiT
from hgfctl.engine.models.guided import Guidance, Guided, seen_in
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.mlp import MLP
from hgfctl.engine.models.unet import UNet
from hgfctl.engine.randomness import generator
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.engine.solvers.plan import plan
from hgfctl.engine.solvers.sampling import FlowSampler
from hgfctl.errors import RequestError
from hgfctl.presets import SampleSection, load

LINEAR: dict[str, LinearFlow] = {
    "diffusion": Diffusion(),
    "flow-matching": FlowMatching(s=0.8),
    "oscillation": Oscillation(alpha=1.5),
}


def some_mixture(components: int, dim: int, seed: int) -> GaussianMixture:
    rng = generator(seed, "mixture")
    spread = torch.randn(components, dim, dim, generator=rng, dtype=torch.float64)
    return GaussianMixture(
        torch.rand(components, generator=rng) + 0.2,
        torch.randn(components, dim, generator=rng, dtype=torch.float64),
        0.05 * spread @ spread.mT + 0.05 * torch.eye(dim),
    )


class Counted(nn.Module):
    """A network that counts its calls, by whether they name a class."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))
        self.labelled, self.unlabelled = 0, 0

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            self.unlabelled += 1
        else:
            self.labelled += 1
            x = x + labels.unsqueeze(1)
        return torch.sin(self.weight * x)

    @property
    def calls(self) -> int:
        return self.labelled + self.unlabelled


class ExactHVP(HVP):
    """Components 2k and 2k + 1 of a mixture are class k; without labels, all of them."""

    def __init__(self, mixture: GaussianMixture, flow: LinearFlow) -> None:
        super().__init__(Counted(), flow)
        pairs = [slice(2 * k, 2 * k + 2) for k in range(len(mixture.means) // 2)]
        self.share = torch.stack([mixture.weights[pair].sum() for pair in pairs])
        self.whole = MixtureHVP(mixture, flow)
        self.parts = [
            MixtureHVP(
                GaussianMixture(mixture.weights[pair], mixture.means[pair], mixture.covariances[pair]), flow
            )
            for pair in pairs
        ]  # fmt: skip

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            return self.whole(x, t)
        every = torch.stack([part(x, t) for part in self.parts])
        return every[labels, torch.arange(len(x))]

    def log_prob(self, x: Tensor, t: Tensor, label: int) -> Tensor:
        """log p_t(x | y)."""
        return self.parts[label].log_prob(x, t)


def places(flow: LinearFlow, count: int = 40) -> list[tuple[Tensor, Tensor]]:
    """Positions and times at which a flow is looked at, where p_t has its mass."""
    sigma = torch.tensor([0.03, 0.3, 1.0, 4.0, 40.0], dtype=torch.float64)
    found = []
    for t in flow.time(sigma):
        a, b, _, _ = flow.path(t)
        draws = torch.randn(2, count, 3, generator=generator(3, "places"), dtype=torch.float64)
        found.append((a * draws[0] + b * draws[1], t))
    return found


@pytest.mark.parametrize("flow", LINEAR.values(), ids=LINEAR.keys())
@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0, 4.0])
def test_guided_velocity_is_that_of_the_exact_predictors(flow: LinearFlow, weight: float) -> None:
    exact = ExactHVP(some_mixture(6, 3, 0), flow)
    guided = Guided(exact, Guidance(weight))
    for x, t in places(flow):
        labels = torch.arange(len(x)) % 3
        known = torch.stack([exact.parts[int(y)](row[None], t)[0] for row, y in zip(x, labels, strict=True)])
        unknown = exact.whole(x, t)
        torch.testing.assert_close(guided(x, t, labels), unknown + weight * (known - unknown), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("flow", LINEAR.values(), ids=LINEAR.keys())
def test_guided_flow_follows_the_score_of_the_sharpened_posterior(flow: LinearFlow) -> None:
    """score = grad log [p_t(x) p_t(y | x)^w] at each noise level, the gradient by autograd."""
    exact, weight = ExactHVP(some_mixture(6, 3, 1), flow), 2.5
    guided = Guided(exact, Guidance(weight))
    for label, (x, t) in itertools.product(range(3), places(flow)):
        here = x.clone().requires_grad_()
        whole = exact.whole.log_prob(here, t)
        posterior = exact.share[label].log() + exact.log_prob(here, t, label) - whole
        (score,) = torch.autograd.grad((whole + weight * posterior).sum(), here)
        found = score_from_hvp(flow, x, t, guided(x, t, torch.full((len(x),), label)))
        torch.testing.assert_close(found, score, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("ours", LINEAR)
@pytest.mark.parametrize("theirs", LINEAR)
def test_autoguidance_follows_the_score_of_the_quotient(ours: str, theirs: str) -> None:
    """score = grad log [p_t (p_t / p_weak)^(w - 1)], whatever linear flow the guide was trained in."""
    weight = 3.0
    exact = ExactHVP(some_mixture(6, 3, 2), LINEAR[ours])
    weak = exact.whole.mixture.noised(0.5)
    guided = Guided(exact, Guidance(weight, ExactHVP(weak, LINEAR[theirs])))
    judge = ExactHVP(weak, LINEAR[ours])
    for label, (x, t) in itertools.product(range(3), places(LINEAR[ours])):
        here = x.clone().requires_grad_()
        better = exact.log_prob(here, t, label) - judge.log_prob(here, t, label)
        (score,) = torch.autograd.grad((exact.log_prob(here, t, label) + (weight - 1) * better).sum(), here)
        found = score_from_hvp(LINEAR[ours], x, t, guided(x, t, torch.full((len(x),), label)))
        torch.testing.assert_close(found, score, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("ours", LINEAR)
@pytest.mark.parametrize("theirs", LINEAR)
def test_a_predictor_is_the_same_seen_in_another_flow(ours: str, theirs: str) -> None:
    """Between the ends, at the data itself, and for times of each item."""
    mixture = some_mixture(4, 3, 4)
    exact, seen = MixtureHVP(mixture, LINEAR[ours]), seen_in(LINEAR[ours], ExactHVP(mixture, LINEAR[theirs]))
    for x, t in places(LINEAR[ours]):
        torch.testing.assert_close(seen(x, t), exact(x, t), rtol=1e-8, atol=1e-9)
        each = t * torch.linspace(0, 1, len(x), dtype=torch.float64)
        torch.testing.assert_close(seen(x, each), exact(x, each), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), [("oscillation", "diffusion"), ("flow-matching", "diffusion")])
def test_a_guide_is_asked_at_its_last_noise_level_beyond_it(ours: str, theirs: str) -> None:
    """At T, where sigma is infinite: the guide's answer at sigma = 80, off by about 1/80."""
    flow, mixture = LINEAR[ours], some_mixture(4, 3, 4)
    x, t = flow.prior.sample((40, 3), generator(0)), torch.tensor(flow.T, dtype=torch.float64)
    found = seen_in(flow, ExactHVP(mixture, LINEAR[theirs]))(x, t)
    assert (found - MixtureHVP(mixture, flow)(x, t)).square().mean().sqrt() < 0.05


def sampler(flow: Flow, guidance: Guidance | None, nfe: int, method: str = "auto", grid: str = "auto") -> FlowSampler:
    """Of items of shape (2,) in three classes, by a network that counts its calls."""
    torch.manual_seed(0)
    made = sampler_of(HVP(Counted(), flow).eval(), (2,), 3, SampleSection(), nfe, method, grid, guidance)
    assert isinstance(made, FlowSampler)
    return made


@pytest.mark.parametrize("flow", [*LINEAR.values(), Reflection()], ids=[*LINEAR, "reflection"])
@pytest.mark.parametrize("nfe", [7, 20])
def test_weight_one_is_unguided_bit_for_bit_and_costs_the_same(flow: Flow, nfe: int) -> None:
    seeds = torch.arange(5)
    plain, guided = sampler(flow, None, nfe), sampler(flow, Guidance(1.0, interval=(0.1, 2.0)), nfe)
    assert (plain.method, plain.grid, plain.nfe) == (guided.method, guided.grid, guided.nfe)
    for one, other in zip(plain.trajectory(seeds), guided.trajectory(seeds), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("weight", [0.3, 2.0, 7.0])
def test_guidance_by_itself_is_the_identity_bit_for_bit(weight: float) -> None:
    flow = LINEAR["oscillation"]
    hvp = HVP(Counted(), flow)
    guided = Guided(hvp, Guidance(weight, hvp))
    for x, t in places(flow):
        assert torch.equal(guided(x, t, torch.ones(len(x))), hvp(x, t, torch.ones(len(x))))


def test_weight_zero_is_the_weaker_predictor_at_one_evaluation() -> None:
    made = sampler(LINEAR["oscillation"], Guidance(0.0), 12)
    *_, x = made.trajectory(torch.arange(4))
    network = made.hvp.network
    assert (network.labelled, network.unlabelled) == (0, made.nfe)
    unlabelled = sampler(LINEAR["oscillation"], None, 12)
    start = unlabelled.start(torch.arange(4))
    flow, times = unlabelled.hvp.flow, unlabelled.plan.times
    assert torch.equal(x, unlabelled.plan.solver.solve(unlabelled.velocity, flow, start, times))


INTERVALS = [None, (0.0, 0.2), (0.2, 2.0), (1.0, 1e9), (50.0, 60.0)]


@settings(max_examples=100)
@given(
    method=st.sampled_from([*SOLVERS]),
    grid=st.sampled_from([*GRIDS]),
    flow=st.sampled_from([*LINEAR.values()]),
    interval=st.sampled_from(INTERVALS) | st.tuples(st.floats(0, 1), st.floats(1.01, 30)),
    nfe=st.integers(2, 30),
)
def test_plan_takes_the_most_steps_that_fit_the_budget(
    method: str, grid: str, flow: LinearFlow, interval: tuple[float, float] | None, nfe: int
) -> None:
    """Every number of steps is tried, and calls of the network itself are counted."""
    solver, make = SOLVERS[method], GRIDS[grid]
    hvp = HVP(Counted(), flow).eval()
    guided = Guided(hvp, Guidance(2.0, interval=interval))
    labels, start = torch.tensor([0, 1]), torch.zeros(2, 2, dtype=torch.float64)

    def calls(times: Tensor) -> int:
        before = hvp.network.calls
        solver.solve(lambda x, t: guided(x, t, labels), flow, start, times)
        return hvp.network.calls - before

    with torch.no_grad():
        steps = next((n for n in range(solver.steps(nfe), 0, -1) if calls(make(flow, n)) <= nfe), None)
        if steps is None:
            with pytest.raises(RequestError, match="too few"):
                plan(flow, nfe, method, grid, guided.evaluations)
            return
        chosen = plan(flow, nfe, method, grid, guided.evaluations)
        assert len(chosen.times) - 1 == steps
        assert chosen.nfe == calls(chosen.times) <= nfe


@pytest.mark.parametrize("flow", [*LINEAR.values(), Reflection()], ids=[*LINEAR, "reflection"])
@pytest.mark.parametrize("interval", [None, (0.2, 2.0)])
@pytest.mark.parametrize("nfe", [6, 35])
def test_sampling_calls_networks_as_often_as_it_says(
    flow: Flow, interval: tuple[float, float] | None, nfe: int
) -> None:
    """Of itself without classes, and by a second network of another flow where that is possible."""
    guide = HVP(Counted(), Diffusion() if isinstance(flow, LinearFlow) else flow)
    for guidance in (Guidance(2.0, interval=interval), Guidance(2.0, guide, interval=interval)):
        guide.network.labelled = 0
        made = sampler(flow, guidance, nfe)
        network = made.hvp.network
        tuple(made.batches(torch.arange(3), 3))
        total = network.calls + guide.network.calls
        weak = guide.network.labelled if guidance.guide else network.unlabelled
        assert total == made.nfe <= nfe
        assert weak == made.plan.extra > 0
        assert network.labelled == made.plan.nfe - made.plan.extra
        if interval is None:
            assert weak == network.labelled
        else:
            assert weak < network.labelled


def test_calls_at_the_very_ends_of_an_interval_are_guided() -> None:
    flow = LINEAR["oscillation"]
    ends = flow.time(torch.tensor([0.2, 2.0], dtype=torch.float64))
    guided = Guided(HVP(Counted(), flow), Guidance(2.0, interval=(0.2, 2.0)))
    assert [guided.evaluations(t) for t in (ends[0] * 0.999, ends[0], ends[1], ends[1] * 1.001)] == [1, 2, 2, 1]
    exact = ExactHVP(some_mixture(6, 3, 5), flow)
    x, labels = torch.randn(5, 3, generator=generator(0), dtype=torch.float64), torch.zeros(5, dtype=torch.long)
    t = flow.time(torch.tensor([0.1, 0.2, 1.0, 2.0, 3.0], dtype=torch.float64))
    found = Guided(exact, Guidance(2.0, interval=(0.2, 2.0)))(x, t, labels)  # items inside and outside in one call
    everywhere = Guided(exact, Guidance(2.0))(x, t, labels)
    torch.testing.assert_close(found[[0, 4]], exact(x, t, labels)[[0, 4]], rtol=0, atol=0)
    torch.testing.assert_close(found[1:4], everywhere[1:4], rtol=0, atol=0)
