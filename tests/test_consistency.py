"""Consistency: its tangent against finite differences, its optimum against a closed form, its sampler against DDIM."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hgfctl.config import Config
from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.data.mixture import GaussianMixture
from hgfctl.engine.experiment import experiment
from hgfctl.engine.flows.conversions import denoiser_from_hvp
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.losses.consistency import Consistency, tangent
from hgfctl.engine.losses.loss import Share
from hgfctl.engine.losses.states import States
from hgfctl.engine.losses.times import LogNormalTimes
from hgfctl.engine.models.consistency import ConsistencyModel
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.networks.dit import DiT
from hgfctl.engine.models.networks.mlp import MLP
from hgfctl.engine.models.networks.unet import UNet
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.consistency import ConsistencySampler
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.solvers import GRIDS
from hgfctl.engine.solvers.dpm_solver import DDIM
from hgfctl.engine.training.session import Session
from hgfctl.engine.training.trainer import Trainer
from hgfctl.errors import RequestError
from hgfctl.presets import load
from hgfctl.storage import tensor_files
from hgfctl.storage.runs import Run
from tests.conftest import Run as Command

CPU = torch.device("cpu")
FLOWS: dict[str, LinearFlow] = {
    "oscillation": Oscillation(sd=0.7),
    "another oscillation": Oscillation(sd=0.7, alpha=2.5, s=1.3),
    "diffusion": Diffusion(sd=0.7),
    "flow matching": FlowMatching(sd=0.7),
}
IMAGE = (1, 8, 8)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "ddpm++": lambda: UNet(IMAGE, 3, model_channels=8, attn_resolutions=(8,), num_blocks=1),
    "ncsn++": lambda: UNet(IMAGE, 3, 9, "ncsn++", model_channels=8, attn_resolutions=(8,), num_blocks=1),
    "dit": lambda: DiT(IMAGE, 3, width=16, depth=1, heads=2),
    "mlp": lambda: MLP((5,), 3, width=16, blocks=1, harmonics=1),
}


def rough(network: nn.Module) -> nn.Module:
    """With weights that make every part of it matter; they start at 0 in many."""
    rng = generator("rough")
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(0.15 * torch.randn(p.shape, generator=rng))
    return network.double()


def along(f: Callable[[float], Tensor], h: float) -> Tensor:
    """f'(0) by central differences, of fourth order."""
    return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("flow", FLOWS)
def test_the_tangent_is_that_of_finite_differences(network: str, flow: str) -> None:
    """Attention, group and layer norms, embeddings of labels and of noise; in float64. The angle's own derivative is
    taken by differences, too.
    """
    kind = FLOWS[flow]
    hvp = HVP(rough(NETWORKS[network]()), kind)
    shape, rng, labels = (5,) if network == "mlp" else IMAGE, generator("fd"), torch.tensor([0, 2, 1])
    x, v = (torch.randn(3, *shape, generator=rng, dtype=torch.float64) for _ in range(2))
    sigma = torch.tensor([0.1, 0.8, 4.0], dtype=torch.float64)
    t = kind.time(sigma)
    unit = torch.atan(sigma / kind.sd).cos() / kind.sd

    @torch.no_grad()
    def end(h: float) -> Tensor:
        now = t + h * t
        there = x + h * t.reshape(-1, *[1] * len(shape)) * v
        return denoiser_from_hvp(kind, there, now, hvp(there, now, labels))

    rate = along(lambda h: torch.atan(kind.sigma(t + h * t) / kind.sd), 1e-3)
    expected = (unit / rate).reshape(-1, *[1] * len(shape)) * along(end, 1e-5)
    found = tangent(hvp, States(x, v, t, None), labels)
    assert float(found.abs().max()) > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("flow", FLOWS)
def test_without_its_rest_the_tangent_is_regression(flow: str) -> None:
    """r = 0: cos(phi)^2 (U - V) / c_out up to the angle's clock; r = 1/2 lies in the middle."""
    kind = FLOWS[flow]
    hvp = HVP(rough(NETWORKS["mlp"]()), kind)
    x, v = (torch.randn(4, 5, generator=generator("rest", i), dtype=torch.float64) for i in range(2))
    t = kind.time(torch.tensor([0.1, 0.5, 1.0, 4.0], dtype=torch.float64))
    states = States(x, v, t, None)
    none, half, all_ = (tangent(hvp, states, share_of_rest=r) for r in (0.0, 0.5, 1.0))
    torch.testing.assert_close(half, (none + all_) / 2)
    direction = v - hvp(x, t)
    cosine = torch.nn.functional.cosine_similarity(none, direction)
    torch.testing.assert_close(cosine, torch.ones_like(cosine))
    if flow == "oscillation":
        cos = kind.path(t).a.unsqueeze(1)
        torch.testing.assert_close(none, cos**2 * direction / kind.sd)


VARIANCES, MEAN = torch.tensor([0.9, 0.08], dtype=torch.float64), torch.tensor([0.3, -0.2], dtype=torch.float64)
GAUSSIAN = GaussianMixture(torch.ones(1), MEAN.unsqueeze(0), VARIANCES.diag().unsqueeze(0))
SD = math.sqrt(float((VARIANCES + MEAN**2).mean()))


class Ends(nn.Module):
    """The network whose HVP is consistent for the Gaussian: f(y) = m + sqrt(C / (cos^2 C + sin^2 sd^2)) (y - cos m) in
    y = sd c_in x; with a gain and a shift that spoil it unless they are 1 and 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.shift = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        phi = torch.atan((4 * noise).exp() / SD).unsqueeze(1)
        y = SD * x
        shrink = (VARIANCES / (phi.cos() ** 2 * VARIANCES + phi.sin() ** 2 * SD**2)).sqrt()
        end = MEAN + shrink * (y - phi.cos() * MEAN)
        return self.gain * (phi.cos() * y - end) / (SD * phi.sin()) + self.shift


class Exact(nn.Module):
    """The Gaussian's own HVP, as a teacher."""

    def __init__(self, flow: LinearFlow) -> None:
        super().__init__()
        self.hvp = MixtureHVP(GAUSSIAN, flow)

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None) -> Tensor:
        return self.hvp(x, t)


def of_gaussian(name: str) -> tuple[LinearFlow, Consistency]:
    flow = type(FLOWS[name])(sd=SD) if name != "another oscillation" else Oscillation(sd=SD, alpha=2.5, s=1.3)
    return flow, Consistency(LogNormalTimes(), teacher=Exact(flow))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FLOWS)
def test_the_gradient_vanishes_at_the_true_consistency_function(name: str) -> None:
    flow, loss = of_gaussian(name)
    hvp, x0 = HVP(Ends(), flow), GAUSSIAN.sample(200, generator("x0"))
    value = loss(hvp, x0, None, generator("loss"))
    gradients = torch.autograd.grad(value.mean(), list(hvp.parameters()))
    assert float(value.detach().max()) < 1e-20
    assert all(float(g.abs().max()) < 1e-9 for g in gradients)
    for parameter, off in ((hvp.network.gain, 1.2), (hvp.network.shift, 0.2)):
        right = parameter.detach().clone()
        parameter.data.fill_(off)
        value = loss(hvp, x0, None, generator("loss")).mean()
        (gradient,) = torch.autograd.grad(value, parameter)
        assert float(value.detach()) > 1e-3
        assert bool((gradient > 0).all())  # back to where it belongs
        parameter.data.copy_(right)


def test_the_value_is_the_inconsistency_and_the_gradient_a_unit_pull() -> None:
    """Value g^2; gradient -2 g / (|g| + c) times that of the network, which for a shift is 1, averaged."""
    flow, loss = of_gaussian("oscillation")
    hvp, x0 = HVP(Ends(), flow), GAUSSIAN.sample(50, generator("x0"))
    hvp.network.shift.data.copy_(torch.tensor([0.3, -0.1]))
    value = loss(hvp, x0, None, generator("loss"))
    t = LogNormalTimes()(50, flow, rng := generator("loss"))
    z = torch.randn(50, 2, generator=rng)
    x, _ = flow.state(x0, z, t)
    g = tangent(hvp, States(x, MixtureHVP(GAUSSIAN, flow)(x, t), t, None))
    torch.testing.assert_close(value.detach(), g.square().mean(1))
    (gradient,) = torch.autograd.grad(value.mean(), hvp.network.shift)
    size = g.square().mean(1, keepdim=True).sqrt()
    torch.testing.assert_close(gradient, -(g / (size + 0.1)).mean(0))


def test_a_batch_is_the_sum_of_its_shares() -> None:
    flow, loss = of_gaussian("oscillation")
    hvp, x0 = HVP(Ends(), flow), GAUSSIAN.sample(12, generator("x0"))
    hvp.network.shift.data.fill_(0.2)
    whole = loss(hvp, x0, None, generator("loss"))
    parts = [loss.on_share(hvp, x0[i : i + 4], None, generator("loss"), Share(i, 12)) for i in range(0, 12, 4)]
    torch.testing.assert_close(torch.cat(parts), whole)


@pytest.mark.parametrize("velocity", ["teacher", "sample"])
def test_a_small_network_learns_where_the_way_ends(velocity: str) -> None:
    """x_T is carried to its true end within 0.06 (distillation) and 0.15 (samples) of the data's sd, root mean square;
    the mean of all ends, which is where one step along the exact HVP leads, is 0.9 off.
    """
    flow = Oscillation(sd=SD)
    torch.manual_seed(0)
    hvp = HVP(MLP((2,), 0, width=48, blocks=1), flow)
    loss = Consistency(LogNormalTimes(), teacher=Exact(flow), velocity=velocity)  # type: ignore[arg-type]
    adam = torch.optim.Adam(hvp.parameters())
    steps = 450
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 4e-3 * (1 - step / steps)
        x0 = GAUSSIAN.sample(256, generator("x0", step)).float()
        adam.zero_grad()
        loss(hvp, x0, None, generator("loss", step)).mean().backward()
        adam.step()
    x = SD * torch.randn(2000, 2, generator=generator("x_T"))
    t = flow.time(torch.tensor(80.0, dtype=torch.float64))
    truth = MEAN + VARIANCES.sqrt() / SD * x
    with torch.no_grad():
        error = (denoiser_from_hvp(flow, x, t, hvp(x, t)) - truth).square().mean().sqrt() / SD
    assert float((MEAN - truth).square().mean().sqrt()) / SD > 0.85
    assert float(error) < {"teacher": 0.06, "sample": 0.15}[velocity]


class Dropping(nn.Module):
    """A network that remembers what it dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        kept = torch.rand(x.shape) < 0.5
        self.kept.append(kept)
        return self.gain * x * kept


def test_the_tangent_is_of_the_network_that_is_trained_dropout_and_all() -> None:
    hvp = HVP(Dropping(), Oscillation(sd=SD))
    loss = Consistency(LogNormalTimes(), velocity="sample")
    for _ in range(2):
        loss(hvp, torch.ones(4, 2), None, generator("loss"))
    first, second, third, fourth = hvp.network.kept
    assert torch.equal(first, second)
    assert torch.equal(third, fourth)
    assert not torch.equal(first, third)


def test_bfloat16_stays_finite() -> None:
    torch.manual_seed(0)
    hvp = HVP(UNet(IMAGE, 3, model_channels=8, attn_resolutions=(8,), num_blocks=1), Oscillation())
    loss = Consistency(LogNormalTimes(sd=3.0), velocity="sample")
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(hvp, torch.randn(16, *IMAGE), torch.zeros(16, dtype=torch.int64), generator("bf16"))
    assert value.dtype == torch.float32
    assert bool(value.isfinite().all())
    value.mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in hvp.parameters() if p.grad is not None)


def test_linear_flows_share_their_network() -> None:
    """The same weights are the same denoiser at the same noise level, whatever the flow."""
    network = rough(NETWORKS["mlp"]())
    x0, z = (torch.randn(4, 5, generator=generator("shared", i), dtype=torch.float64) for i in range(2))
    sigma = torch.tensor([0.05, 0.5, 2.0, 20.0], dtype=torch.float64)
    found = []
    for flow in FLOWS.values():
        t = flow.time(sigma)
        x, _ = flow.state(x0, z, t)
        found.append(denoiser_from_hvp(flow, x, t, HVP(network, flow)(x, t)))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


@pytest.mark.parametrize("flow", FLOWS)
def test_one_step_is_ddims_and_every_step_costs_one_evaluation(flow: str) -> None:
    """DDIM's from the same time, where sigma is 80; within 1 % of sd of that from T, where the prior is exact."""
    hvp = HVP(rough(NETWORKS["mlp"]()), FLOWS[flow]).eval()
    calls: list[nn.Module] = []
    hvp.network.register_forward_hook(lambda network, *_: calls.append(network))
    default, seeds = load("digits-oscillation").sample, torch.arange(6)
    for nfe in (1, 2, 5):
        calls.clear()
        sampler = sampler_for(hvp, (5,), 3, SamplingRequest.of(default, nfe, "consistency"))
        start, end, *_ = sampler.trajectory(seeds)
        assert sampler.nfe == len(calls) == nfe
    assert isinstance(sampler, ConsistencySampler)
    velocity = partial(hvp, labels=sampler.labels(seeds))
    times = torch.stack([sampler.times[0], sampler.times[-1]])
    assert float(hvp.flow.sigma(times[0])) == pytest.approx(80)
    torch.testing.assert_close(DDIM.solve(velocity, hvp.flow, start, times), end)
    ddim = sampler_for(hvp, (5,), 3, SamplingRequest.of(default, 1, "ddim"))
    *_, whole = ddim.trajectory(seeds)
    torch.testing.assert_close(whole, end, rtol=0, atol=0.01 * float(start.abs().max()))


def test_two_steps_by_hand_and_items_by_their_seeds() -> None:
    flow = Oscillation(sd=0.7)
    hvp = HVP(rough(NETWORKS["mlp"]()), flow).eval()
    sampler = ConsistencySampler((5,), 0, hvp, 2)
    start, one, two = sampler.trajectory(torch.arange(4))
    phi = math.atan(80 / 0.7)
    said = hvp.network(start / 0.7, torch.full((4,), math.log(80) / 4).double()).detach()
    torch.testing.assert_close(one, math.cos(phi) * start - 0.7 * math.sin(phi) * said)
    middle = torch.tensor(math.sqrt(0.5) * flow.T, dtype=torch.float64)
    z = torch.stack([torch.randn(5, generator=generator(i, "consistency"), dtype=torch.float64) for i in range(4)])
    x = middle.cos() * one + 0.7 * middle.sin() * z
    torch.testing.assert_close(two, denoiser_from_hvp(flow, x, middle, hvp(x, middle)).detach())
    (*_, alone) = sampler.trajectory(torch.tensor([2]))
    torch.testing.assert_close(alone[0], two[2])


def test_the_grid_of_two_steps_meets_at_the_papers_angle() -> None:
    for flow in (Oscillation(sd=0.5), FlowMatching(sd=0.5)):
        times = GRIDS["square-root"](flow, 2)
        assert float(torch.atan(flow.sigma(times[1]) / 0.5)) == pytest.approx(1.1, abs=0.011)


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_a_consistent_hvp_samples_the_data_at_any_budget(nfe: int) -> None:
    """20,000 samples: mean within 4 standard errors, variances within 4 of theirs (sqrt(2/N) relative)."""
    hvp = HVP(Ends(), Oscillation(sd=SD)).eval()
    (batch,) = ConsistencySampler((2,), 0, hvp, nfe).batches(torch.arange(20_000), 20_000)
    x = batch.x.double()
    assert bool(((x.mean(0) - MEAN).abs() < 4 * (VARIANCES / 20_000).sqrt()).all())
    assert bool(((x.var(0) / VARIANCES - 1).abs() < 4 * math.sqrt(2 / 20_000)).all())


TINY = [
    "network.model_channels=8",
    "train.images=96",
    "train.decay=0.0",
    "train.batch=16",
    "train.save_every=32",
    "train.log_every=3",
]
STUDENT = "digits-oscillation-consistency"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of flow matching: any linear flow will do."""
    run = Run.create(tmp_path_factory.mktemp("teacher"), "digits-flow-matching")
    session = Session(Trainer(experiment(load("digits-flow-matching", TINY), CPU)), run)
    session.write_config()
    list(session.events(stop=lambda: False))
    return run.checkpoints()[-1]


def test_a_consistency_model_has_no_flow_to_follow(tmp_path: Path, teacher: Path) -> None:
    """Its velocity is not that of the law it samples: so nothing integrates it, nor learns from it."""
    start = read_checkpoint(teacher, CPU)
    parts = experiment(load("digits-oscillation-consistency", TINY), CPU, init=start)
    about = {"kind": "hvp", "config": parts.config.model_dump(mode="json"), "shape": [1, 8, 8], "classes": 10}
    tensor_files.save(tmp_path / "x.safetensors", parts.model.network.state_dict(), {**about, "step": 1, "images": 1})
    student = read_checkpoint(tmp_path / "x.safetensors", CPU)
    assert student.sampler(2).method == "consistency"
    with pytest.raises(RequestError, match="is a consistency model"):
        _ = student.hvp
    with pytest.raises(RequestError, match="follows a flow"):
        student.sampler(10, "ab4")
    with pytest.raises(RequestError, match="cannot be the teacher"):
        experiment(load("digits-oscillation-consistency", TINY), CPU, init=student)


def test_a_checkpoint_that_was_called_an_hvp_is_read_as_what_it_is(tmp_path: Path, teacher: Path) -> None:
    """As older versions wrote it: of kind hvp, its sampler named in a flat section. The samples are those of today."""
    parts = experiment(load(STUDENT, TINY), CPU, init=read_checkpoint(teacher, CPU))
    config = parts.config.model_dump(mode="json")
    assert config["model"] == {"name": "consistency"}
    flat = {"step": None, "flight": 1.5, "friction": 1.0, "tolerance": 1e-5, "churn": 0.0, "restart": 0}
    section = {"nfe": 2, "sampler": "consistency", "grid": "auto", "churn_levels": [0.0, 1000.0], **flat}
    old = {**config, "model": {"name": "hvp"}, "sample": section}
    samples = []
    for kind, about in (("hvp", old), ("consistency", config)):
        path = tmp_path / f"{kind}.safetensors"
        rest = {"shape": [1, 8, 8], "classes": 10, "step": 1, "images": 1}
        tensor_files.save(path, parts.model.tensors(), {"kind": kind, "config": about, **rest})
        checkpoint = read_checkpoint(path, CPU)
        assert isinstance(checkpoint.model, ConsistencyModel)
        assert checkpoint.config.model == parts.config.model
        (batch,) = checkpoint.sampler().batches(torch.arange(3), 3)
        samples.append(batch.x)
    assert torch.equal(*samples)


def student(*settings: str) -> Config:
    return load(STUDENT, [*TINY, *settings])


def test_a_student_starts_as_its_teacher(teacher: Path) -> None:
    init = read_checkpoint(teacher, CPU)
    parts = experiment(student(), CPU, init=init)
    assert parts.config.flow is not None
    assert init.config.flow is not None
    assert parts.config.flow.options["sd"] == init.config.flow.options["sd"]
    trainer = Trainer(parts)
    before = {name: p.clone() for name, p in init.model.network.named_parameters()}
    for name, p in trainer.ema.network.named_parameters():
        assert torch.equal(p, before[name])
    for _ in range(3):
        trainer.advance()
    assert not any(torch.equal(p, before[name]) for name, p in trainer.model.network.named_parameters() if p.ndim > 1)
    assert all(torch.equal(p, before[name]) for name, p in init.model.network.named_parameters())
    assert not any("teacher" in name for name in trainer.state())


@pytest.mark.parametrize(
    ("preset", "settings", "said"),
    [
        (STUDENT, ["network.model_channels=16"], "network.model_channels is 8 there and 16 here"),
        (STUDENT, ["network.architecture=ncsn++"], "network.architecture is ddpm++ there"),
        (STUDENT, ["flow.sd=0.5"], "flow.sd is 0.847187 there and 0.5 here"),
        (STUDENT, ["augment=geometric"], "augment tells is 0 there and 9 here"),
        (STUDENT, ["data.split=held-out", "network.dropout=0.1"], None),
        ("digits-oscillation", ["flow=reflection"], "flow is a linear one there and reflection here"),
        ("ring-oscillation", [], "shape of an item is (1, 8, 8) there and (2,) here"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    teacher: Path, preset: str, settings: list[str], said: str | None
) -> None:
    tiny = TINY if preset.startswith("digits") else []
    config = load(preset, [*tiny, *settings])
    if said is None:
        experiment(config, CPU, init=read_checkpoint(teacher, CPU))
        return
    with pytest.raises(RequestError, match="does not fit") as refusal:
        experiment(config, CPU, init=read_checkpoint(teacher, CPU))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_it_needs_is_said() -> None:
    with pytest.raises(RequestError, match="`init` says which"):
        experiment(student(), CPU)
    with pytest.raises(RequestError, match="needs a linear flow"):
        experiment(student("flow=reflection", "loss.velocity=sample"), CPU)
    experiment(student("loss.velocity=sample"), CPU)


def test_resuming_is_exact_and_needs_the_run_alone(hgfctl: Command, teacher: Path, tmp_path: Path) -> None:
    """Through the command line, warm-up and dropout included; the checkpoint of --init is gone when it is resumed."""
    init = tmp_path / "init.safetensors"
    init.write_bytes(teacher.read_bytes())
    common = ["train", "--preset", STUDENT, "--device", "cpu", "--runs", "cut"]
    common += [word for setting in (*TINY, "loss.warm_up=80", "network.dropout=0.1") for word in ("--set", setting)]
    run = Path(hgfctl(*common, "--init", str(init), "--set", "train.images=32").stdout.strip())
    init.unlink()
    assert hgfctl(*common, "--init", str(init), "--resume", "auto").stdout.strip() == str(run)
    trainer = Trainer(
        experiment(student("loss.warm_up=80", "network.dropout=0.1"), CPU, init=read_checkpoint(teacher, CPU))
    )
    for _ in range(6):
        trainer.advance()
    resumed = read_checkpoint(tmp_path / run / "checkpoints" / "step-00000006.safetensors", CPU)
    for name, p in trainer.ema.network.named_parameters():
        assert torch.equal(p, resumed.model.network.get_parameter(name))
    assert resumed.config.init is not None
    assert (resumed.config.init.path, len(resumed.config.init.checksum or "")) == (str(init), 64)
    (tmp_path / run / "init.safetensors").unlink()
    said = hgfctl(*common, "--resume", "auto", status=2).stderr
    assert "init.safetensors is missing" in said
    assert resumed.config.init.checksum is not None
    assert resumed.config.init.checksum in said
