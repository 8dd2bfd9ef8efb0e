"""Guidance: against closed forms of mixtures with classes, and every call of a network counted."""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hgfctl.config import SampleSection
from hgfctl.engine.checkpoint import guided_by, read_checkpoint
from hgfctl.engine.compatibility import with_defaults
from hgfctl.engine.data.mixture import GaussianMixture, isotropic
from hgfctl.engine.evaluation.request import EvaluationRequest
from hgfctl.engine.evaluation.subjects import ModelSubject
from hgfctl.engine.flows.conversions import score_from_hvp
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.losses.hvp_regression import HVPRegression
from hgfctl.engine.losses.times import LogNormalTimes
from hgfctl.engine.models.guided import Guidance, Guided, seen_in
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.networks.dit import DiT
from hgfctl.engine.models.networks.mlp import MLP
from hgfctl.engine.models.networks.unet import UNet
from hgfctl.engine.models.noised_score import NoisedScore
from hgfctl.engine.models.score import Score
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.parts import fresh_network
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.sampling.sampler import FlowSampler
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.errors import RequestError
from hgfctl.presets import load
from hgfctl.storage import tensor_files

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
        every = torch.stack([part(x, t) for part in self.parts])  # each class at each item
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


@pytest.mark.parametrize("flow", LINEAR.values(), ids=LINEAR.keys())
@pytest.mark.parametrize("interval", [None, (0.3, 3.0)])
def test_guided_samples_of_gaussians_lie_where_calculus_says(
    flow: LinearFlow, interval: tuple[float, float] | None
) -> None:
    """N(m, c^2) guided by N(m, C^2): d(y - m)/dsigma = (y - m) sigma [w / (c^2 + sigma^2) - (w - 1) / (C^2 + sigma^2)]
    for y = x / a, so that y - m grows, between two noise levels, by
    ((c^2 + sigma^2) / (c^2 + sigma'^2))^(w/2) ((C^2 + sigma'^2) / (C^2 + sigma^2))^((w - 1)/2).
    """
    mean, c, wide, weight = torch.tensor([0.4, -0.2], dtype=torch.float64), 0.25, 0.5, 2.5
    strong, weak = (isotropic(mean[None].expand(2, 2), sd) for sd in (c, wide))
    guided = Guided(ExactHVP(strong, flow), Guidance(weight, ExactHVP(weak, Diffusion()), interval=interval))
    levels = torch.tensor([30.0, 3.0, 0.3, 0.0], dtype=torch.float64)
    y = 30 * torch.randn(6, 2, generator=generator(0), dtype=torch.float64)
    wanted = y - mean
    for high, low in itertools.pairwise(levels.tolist()):
        w = weight if interval is None or (low, high) == (0.3, 3.0) else 1.0
        wanted = wanted * ((c**2 + low**2) / (c**2 + high**2)) ** (w / 2)
        wanted = wanted * ((wide**2 + high**2) / (wide**2 + low**2)) ** ((w - 1) / 2)
    times = flow.time(0.5 * torch.tan(torch.atan(levels[0] / 0.5) * torch.linspace(1, 0, 401, dtype=torch.float64)))
    x = SOLVERS["rk4"].solve(guided, flow, flow.path(times[0]).a * y, times)
    torch.testing.assert_close(x - mean, wanted, rtol=1e-7 if interval is None else 4e-3, atol=0)


def sampler(flow: Flow, guidance: Guidance | None, nfe: int, method: str = "auto", grid: str = "auto") -> FlowSampler:
    """Of items of shape (2,) in three classes, by a network that counts its calls."""
    torch.manual_seed(0)
    request = SamplingRequest.of(SampleSection(), nfe, method, grid, guidance)
    made = sampler_for(HVP(Counted(), flow).eval(), (2,), 3, request)
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
    method=st.sampled_from([name for name in SOLVERS if name != "dopri5"]),
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
                plan(flow, nfe, method, grid, call_cost=guided.evaluations)
            return
        chosen = plan(flow, nfe, method, grid, call_cost=guided.evaluations)
        assert len(chosen.times) - 1 == steps
        assert chosen.nfe == calls(chosen.times) <= nfe


@pytest.mark.parametrize("options", [SampleSection(restart=1), SampleSection(churn=10.0)], ids=["restart", "churn"])
@pytest.mark.parametrize("nfe", range(7, 40, 4))
def test_noise_put_back_in_is_within_the_guided_budget(options: SampleSection, nfe: int) -> None:
    """Of solvers that need two steps at least, too: few enough evaluations are refused, and never exceeded."""
    network = Counted()
    model = HVP(network, Oscillation()).eval()
    request = SamplingRequest.of(options, nfe, "heun", "rho", Guidance(2.0, interval=(0.1, 1.0)))
    try:
        made = sampler_for(model, (2,), 3, request)
    except RequestError as error:
        said = str(error)
    else:
        list(made.trajectory(torch.arange(3)))
        assert network.calls == made.nfe <= nfe
        return
    assert re.search("too few|none lies there", said)


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


NETWORKS: dict[str, Callable[[float], nn.Module]] = {
    "mlp": lambda hidden: MLP((4,), 5, width=16, blocks=1, label_dropout=hidden),
    "dit": lambda hidden: DiT((1, 4, 4), 5, patch=2, width=16, depth=1, heads=2, label_dropout=hidden),
    "unet": lambda hidden: UNet((1, 4, 4), 5, model_channels=8, num_blocks=1, label_dropout=hidden),
}


def roused(network: nn.Module) -> nn.Module:
    """Without the zeros that output layers start at."""
    rng = generator(0, "weights")
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.2 * torch.randn(p.shape, generator=rng))
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_hide_the_class_of_a_share_of_the_items_in_training(name: str) -> None:
    """Binomially many, 400 at 0.3: 5 standard deviations are 0.115."""
    torch.manual_seed(0)
    network = roused(NETWORKS[name](0.3))
    x = torch.randn(1, *((4,) if name == "mlp" else (1, 4, 4))).expand(400, *[-1] * (1 if name == "mlp" else 3))
    noise, labels = torch.zeros(400), torch.full((400,), 2)
    unknown, known = network.eval()(x, noise), network.eval()(x, noise, labels)
    assert not torch.isclose(unknown, known, rtol=0, atol=1e-3).flatten(1).all(1).any()
    seen = network.train()(x, noise, labels)
    hidden = torch.isclose(seen, unknown, rtol=0, atol=1e-4).flatten(1).all(1)
    shown = torch.isclose(seen, known, rtol=0, atol=1e-4).flatten(1).all(1)
    assert bool((hidden ^ shown).all())
    assert float(hidden.double().mean()) == pytest.approx(0.3, abs=0.115)


def test_one_network_learns_the_flow_of_each_class_and_that_of_all() -> None:
    """Two Gaussians in the plane, a class each, to within 15 % of the exact predictors."""
    torch.manual_seed(0)
    means = torch.tensor([[1.0, 0.3], [-1.0, 0.0]], dtype=torch.float64)
    exact = ExactHVP(isotropic(means.repeat_interleave(2, 0), 0.3), Oscillation(sd=0.8))
    flow, rng = exact.flow, generator(0, "training")
    hvp = HVP(MLP((2,), 2, width=48, blocks=1, label_dropout=0.3), flow)
    loss, adam = HVPRegression(LogNormalTimes()), torch.optim.Adam(hvp.parameters(), lr=5e-3)
    for step in range(700):
        adam.param_groups[0]["lr"] = 5e-3 * (1 - step / 700)
        labels = torch.arange(256) % 2
        x0 = means[labels].float() + 0.3 * torch.randn(256, 2, generator=rng)
        adam.zero_grad()
        loss(hvp, x0, labels, rng).mean().backward()
        adam.step()
    hvp.eval()
    for labels in (torch.arange(256) % 2, None):
        x0 = means[torch.arange(256) % 2] + 0.3 * torch.randn(256, 2, generator=rng, dtype=torch.float64)
        t = torch.linspace(0.1, 0.9, 256, dtype=torch.float64) * flow.T
        x, v = flow.state(x0, torch.randn(256, 2, generator=rng, dtype=torch.float64), t)
        with torch.no_grad():
            error = (hvp(x, t, labels) - exact(x, t, labels)).square().mean() / v.square().mean()
        assert error < 0.15**2, labels


def checkpoint(path: Path, *settings: str, preset: str = "digits-oscillation", seed: int = 0) -> Path:
    """A network of random weights, as training would save it."""
    small = ("network.model_channels=8",) if preset.startswith("digits") else ("network.width=8", "network.blocks=1")
    config = with_defaults(load(preset, [*small, *settings]))
    shape, classes = ((1, 8, 8), 10) if preset.startswith("digits") else ((2,), 0)
    torch.manual_seed(seed)
    network = fresh_network(config, shape, classes)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.05 * torch.randn_like(p))
    facts = {"kind": "hvp", "config": config.model_dump(mode="json"), "shape": shape, "classes": classes}
    tensor_files.save(path, network.state_dict(), {**facts, "step": 1, "images": 64})
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("models")
    dropped = "network.label_dropout=0.1"
    made = {
        "guidable": checkpoint(folder / "guidable.safetensors", dropped),
        "weak": checkpoint(folder / "weak.safetensors", "flow=diffusion", seed=1),
        "box": checkpoint(folder / "box.safetensors", "flow=reflection"),
        "ring": checkpoint(folder / "ring.safetensors", preset="ring-oscillation"),
    }
    return {name: str(path) for name, path in made.items()}


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(inside: Callable[..., CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`run(*arguments)` is the program in this process: status, stdout, stderr."""
    monkeypatch.setenv("HGFCTL_CACHE", str(tmp_path / "cache"))

    def of(*arguments: str) -> tuple[int, str, str]:
        done = inside(*arguments, status=None)
        return done.returncode, done.stdout, done.stderr

    return of


def test_sample_says_how_it_was_guided(run: Run, models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    forward = UNet.forward

    def counted(self: UNet, x: Tensor, *rest: Tensor) -> Tensor:
        calls.append(len(x))
        return forward(self, x, *rest)

    monkeypatch.setattr(UNet, "forward", counted)
    images = {}
    for name, options, used in (
        ("plain", [], (12, None, None, None)),
        ("one", ["--guidance", "1"], (12, 1.0, None, None)),
        ("two", ["--guidance", "2"], (12, 2.0, None, None)),
        ("odd", ["--guidance", "2", "--nfe", "13"], (12, 2.0, None, None)),
        ("within", ["--guidance", "2", "--guidance-interval", "0.2,2"], (12, 2.0, None, [0.2, 2.0])),
        ("by", ["--guidance", "2", "--guide", models["weak"]], (12, 2.0, models["weak"], None)),
        ("self", ["--guidance", "3", "--guide", models["guidable"]], (12, 3.0, models["guidable"], None)),
    ):
        calls.clear()
        nfe = [] if "--nfe" in options else ["--nfe", "12"]
        steps = ["--sampler", "ddim", "--grid", "sigmoid", "--num", "6", "--out", f"{name}.npz", "--json"]
        done, out, said = run("sample", models["guidable"], *nfe, *steps, *options)
        assert done == 0, said
        facts = json.loads(out)
        assert (len(calls), facts["guidance"], facts["guide"], facts["guidance_interval"]) == used
        assert facts["nfe"] == len(calls)
        assert ("guidance" in said) == (facts["guidance"] is not None)
        images[name] = np.load(f"{name}.npz")["images"].astype(int)
    assert (images["one"] == images["plain"]).all()
    assert (images["odd"] == images["two"]).all()
    for one, other in itertools.combinations(("plain", "two", "within", "by"), 2):
        assert (images[one] != images[other]).any(), (one, other)
    half = json.loads(run("sample", models["guidable"], "--nfe", "6", *steps[:-3], "--out", "h.npz", "--json")[1])
    assert half["nfe"] == 6
    assert (images["self"] == np.load("h.npz")["images"]).all()  # six guided calls of a model by itself


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("ring", ["--guidance", "2"], "trained without classes"),
        (
            "weak",
            ["--guidance", "2"],
            r"weak\.safetensors was trained without label dropout.*label_dropout=0\.1 trains",
        ),
        ("guidable", ["--guide", "weak"], "--guide goes with --guidance W"),
        ("guidable", ["--guidance-interval", "1,2"], "--guidance-interval goes with --guidance W"),
        ("guidable", ["--guidance", "2", "--guidance-interval", "2,1"], "2,1: two noise levels, the lower first"),
        ("guidable", ["--guidance", "2", "--guidance-interval", "1"], "two noise levels"),
        ("guidable", ["--guidance", "2", "--guidance-interval", "a,b"], "two noise levels"),
        ("guidable", ["--guidance", "2", "--guidance-interval", "500,600"], "of 35 calls by .* none lies there"),
        ("guidable", ["--guidance", "inf"], "inf: a finite number"),
        ("guidable", ["--guidance", "-1"], "--guidance.*greater than or equal to 0"),
        (
            "guidable",
            ["--guidance", "2", "--nfe", "1"],
            ", guided, takes 2 evaluations or more, and --nfe 1 is too few",
        ),
        ("guidable", ["--guidance", "2", "--guide", "ring"], r"ring\.safetensors: its items are \(2,\)"),
        ("guidable", ["--guidance", "2", "--guide", "box"], r"box\.safetensors: .* linear"),
        ("guidable", ["--guidance", "2", "--guide", "nowhere"], "no such checkpoint or run folder: nowhere"),
    ],
)
def test_unfit_guidance_is_refused_by_name(
    run: Run, models: dict[str, str], model: str, options: list[str], words: str
) -> None:
    if model == "guidable" and "500,600" in options:
        options = [*options, "--nfe", "35"]
    done, out, said = run("sample", models[model], *(models.get(option, option) for option in options))
    assert (done, out) == (2, "")
    assert len(said.splitlines()) <= 2
    assert re.search(words, said, re.DOTALL), said


def test_guides_of_other_classes_are_refused_and_of_none_taken(models: dict[str, str]) -> None:
    """A guide without classes is the unconditional model of classifier-free guidance, trained apart."""
    model, guide = (read_checkpoint(Path(models[name]), torch.device("cpu")) for name in ("guidable", "weak"))
    with pytest.raises(RequestError, match=r"weak\.safetensors: it has 7 classes, and .* 10"):
        guided_by(model, 2.0, replace(guide, classes=7))
    with pytest.raises(RequestError, match=r"weak\.safetensors: it has 10 classes, and .* none"):
        guided_by(replace(model, classes=0), 2.0, guide)
    assert guided_by(model, 2.0, replace(guide, classes=0)).guide is not None


def test_scores_are_guided_as_flows_or_not_at_all() -> None:
    torch.manual_seed(0)
    noised = NoisedScore(roused(MLP((2,), 3, width=8, blocks=1)), sigma_max=5.0).eval()
    request = SamplingRequest.of(SampleSection(), 12, guidance=Guidance(2.0))
    with pytest.raises(RequestError, match="such as `sampler=ab4`; langevin takes none"):
        sampler_for(noised, (2,), 3, request)
    with pytest.raises(RequestError, match="hmc takes none"):
        sampler_for(Score(MLP((2,), 3)), (2,), 3, request)
    made = sampler_for(noised, (2,), 3, SamplingRequest.of(SampleSection(), 12, "ab4", guidance=Guidance(2.0)))
    x, t, labels = torch.randn(4, 2, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64), torch.arange(4) % 3
    known, unknown = noised(x, t, labels), noised(x, t)
    assert isinstance(made, FlowSampler)
    torch.testing.assert_close(
        made.velocity(x, t, labels), -t * (unknown + 2 * (known - unknown)), rtol=1e-5, atol=1e-6
    )
    assert made.nfe == 12


def test_evaluation_and_pictures_take_the_same_options(run: Run, models: dict[str, str]) -> None:
    options = ["--nfe", "6", "--guidance", "2", "--guidance-interval", "0.2,2", "--guide", models["weak"]]
    measure = ["--ref", "digits", "--features", "pixels", "--num", "20"]
    done, out, said = run("eval-fid", models["guidable"], *measure, *options, "--json")
    assert done == 0, said
    facts = json.loads(out)
    assert (facts["guidance"], facts["guide"], facts["guidance_interval"]) == (2.0, models["weak"], [0.2, 2.0])
    assert facts["nfe"] <= 6
    done, _, said = run("eval-fid", "digits", *measure, "--guidance", "2")
    assert done == 2
    assert "for models" in said
    done, _, said = run("eval-fid", "stats", models["guidable"], *measure[2:], *options, "--out", "x.npz")
    assert done == 0, said
    done, out, said = run("visualize", "samples", models["guidable"], "--num", "4", *options, "--out", "x.png")
    assert (done, out) == (0, "x.png\n")
    assert "guidance 2 by" in said
    assert run("visualize", "samples", "x.npz", "--guidance", "2")[0] == 2


def test_what_is_kept_of_a_pass_depends_on_guidance(models: dict[str, str]) -> None:
    """An evaluation that was stopped goes on as what it was."""
    model = read_checkpoint(Path(models["guidable"]), torch.device("cpu"))
    guides = [None, read_checkpoint(Path(models["weak"]), torch.device("cpu")), model]
    asked = [None, *(guided_by(model, w, g, i) for w in (2.0, 3.0) for g in guides for i in (None, (0.1, 1.0)))]
    requests = [EvaluationRequest(sampler="ddim", grid="sigmoid", guidance=one) for one in asked]
    keys = {ModelSubject(model, "").image_set(request, 6).key for request in requests}
    assert len(keys) == len(asked)
