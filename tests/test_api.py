"""Python's face: the same as the command line, nothing changed behind the caller's back, and things of one's own."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

import hgfctl
from hgfctl.api import KINDS
from hgfctl.engine.data.dataset import Items
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.losses.hvp_regression import HVPRegression
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.provided import ItemShape
from hgfctl.engine.solvers.one_step import EULER
from hgfctl.engine.training.events import Resuming, Saved, Stepped
from hgfctl.storage import tensor_files
from tests.conftest import Run as Cli

TINY: dict[str, Any] = {
    "network": {"width": 16, "blocks": 1},
    "train.images": 640,
    "train.batch": 64,
    "train.save_every": 128,
}


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> hgfctl.Run:
    return hgfctl.train("ring-oscillation", TINY, runs=tmp_path_factory.mktemp("runs"), device="cpu")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> hgfctl.Run:
    tiny = {"network.model_channels": 8, "train.batch": 16, "train.images": 64}
    return hgfctl.train("digits-oscillation", tiny, runs=tmp_path_factory.mktemp("runs"), device="cpu")


@pytest.fixture(autouse=True)
def _registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers goes with it."""
    for place in KINDS.values():
        module, _, attribute = place.partition(":")
        registry = getattr(import_module(module), attribute)
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


def _switches() -> list[Any]:
    """The switches of precision: by their newer names, where torch has them, as by the older ones it may refuse."""
    cudnn: Any = torch.backends.cudnn
    if not hasattr(cudnn, "conv"):
        return [torch.backends.cuda.matmul.allow_tf32, cudnn.allow_tf32]
    return [place.fp32_precision for place in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)]


def _global_state() -> list[Any]:
    return [
        torch.get_rng_state().tolist(),
        *_switches(),
        torch.is_grad_enabled(),
        signal.getsignal(signal.SIGINT),
    ]


def test_importing_it_does_not_load_torch() -> None:
    code = "import sys, hgfctl; print('torch' in sys.modules, 'train' in dir(hgfctl)); hgfctl.RequestError"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]


def test_every_promised_name_is_there() -> None:
    for name in hgfctl.__all__:
        assert getattr(hgfctl, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        hgfctl.nonsense  # noqa: B018


SETTINGS = {
    "as torch is": "pass",
    "older names": "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True",
    "high": "torch.set_float32_matmul_precision('high')",
    "medium": "torch.set_float32_matmul_precision('medium')",
    "newer names": "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
    "newer, for all": "torch.backends.fp32_precision = 'tf32'",
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
def test_nothing_is_changed_behind_the_callers_back(tmp_path: Path, setting: str) -> None:
    """In a process of its own, for torch's switches do not all go back."""
    tiny = {**TINY, "train.precision": "tf32", "train.images": 128}
    code = f"""
import torch, hgfctl
from hgfctl.engine.experiment import experiment
from tests.test_api import _global_state
{setting}
def summary():  # torch's own refuses to sum up some of its own settings
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None
summed_up = summary()
torch.manual_seed(17)
before = _global_state()
experiment(hgfctl.preset("digits-oscillation", {{"network.model_channels": 8}}), torch.device("cpu"))
assert _global_state() == before, "experiment"
run = hgfctl.train("ring-oscillation", {tiny!r}, runs={str(tmp_path)!r}, device="cpu")
assert _global_state() == before, "train"
model = hgfctl.load(run.folder, device="cpu")
assert _global_state() == before, "load"
model.log_likelihood(model.sample(4, nfe=4))
assert _global_state() == before, "sample"
assert summary() == summed_up
"""
    root = str(Path(__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr


WRONG: dict[str, Callable[[hgfctl.Model, Tensor], object]] = {
    "nfe 0": lambda model, x: model.sample(2, nfe=0),
    "nfe -3": lambda model, x: model.sample(2, nfe=-3),
    "num 2.5": lambda model, x: model.sample(2.5),  # type: ignore[arg-type]
    "batch 0": lambda model, x: model.sample(2, nfe=4, batch=0),
    "seed -1": lambda model, x: model.sample(2, nfe=4, seed=-1),
    "classes without": lambda model, x: model.sample(2, nfe=4, classes=[0]),
    "unknown sampler": lambda model, x: model.sample(2, nfe=4, sampler="hein"),
    "unknown option": lambda model, x: model.sample(2, nfe=4, sampler="ab3", alpha=0.5),
    "tolerance of ab3": lambda model, x: model.sample(2, nfe=4, sampler="ab3", tolerance=1e-3),
    "integers": lambda model, x: model.velocity(x.long(), 0.3),
    "an array": lambda model, x: model.velocity(x.numpy(), 0.3),  # type: ignore[arg-type]
    "nothing": lambda model, x: model.velocity(x[:0], 0.3),
    "shape": lambda model, x: model.log_likelihood(x[:, :1]),
    "time beyond": lambda model, x: model.velocity(x, 99.0),
    "times of others": lambda model, x: model.velocity(x, torch.zeros(3)),
    "sigma 0": lambda model, x: model.score(x, 0.0),
    "sigma -1": lambda model, x: model.denoise(x, -1.0),
    "sigma inf": lambda model, x: model.denoise(x, float("inf")),
    "classes of none": lambda model, x: model.velocity(x, 0.3, torch.zeros(4, dtype=torch.int64)),
    "rtol": lambda model, x: model.log_likelihood(x, rtol=-1.0),
    "likelihood's batch": lambda model, x: model.log_likelihood(x, batch=0),
    "precision": lambda model, x: hgfctl.load(model.checkpoint.path, precision="fp16"),  # type: ignore[arg-type]
    "seeds 0": lambda model, x: hgfctl.evaluate(model.checkpoint.path, seeds=0),
    "num 0": lambda model, x: hgfctl.evaluate(model.checkpoint.path, num=0),
    "no metrics": lambda model, x: hgfctl.evaluate(model.checkpoint.path, metrics=[]),
    "metrics in a string": lambda model, x: hgfctl.evaluate(model.checkpoint.path, metrics="kid"),
    "no base": lambda model, x: hgfctl.register(dict, "mine"),
    "unfinished": lambda model, x: hgfctl.register(type("F", (hgfctl.Force,), {}), "mine"),
    "unfinished solver": lambda model, x: hgfctl.register(type("S", (hgfctl.Solver,), {}), "mine"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG.keys())
def test_wrong_calls_are_refused_in_a_sentence(ring: hgfctl.Run, call: Callable[[Any, Tensor], object]) -> None:
    model = hgfctl.load(ring.folder, device="cpu")
    with pytest.raises(hgfctl.RequestError) as refusal:
        call(model, torch.zeros(4, 2))
    assert "--" not in str(refusal.value)


def test_wrong_classes_are_refused(digits: hgfctl.Run) -> None:
    model = hgfctl.load(digits.folder, device="cpu")
    x = torch.zeros(2, *model.shape)
    for classes in ([99, 1], [1], [1.5, 2.0], [[1, 2]], 3):
        with pytest.raises(hgfctl.RequestError, match="`classes`"):
            model.velocity(x, 0.3, classes)  # type: ignore[arg-type]
        with pytest.raises(hgfctl.RequestError, match="`classes`"):
            model.log_likelihood(x, classes)  # type: ignore[arg-type]


def test_an_unfit_grid_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    for wrong in ({"sample.grid": "hein"}, {"sample.sampler": "hmc"}, {"sample.nfe": 1, "sample.sampler": "rk4"}):
        with pytest.raises(hgfctl.RequestError):
            hgfctl.train("ring-oscillation", {**TINY, **wrong}, runs=tmp_path, device="cpu")
    assert not list(tmp_path.iterdir())


def test_options_of_a_sampler_go_with_it_or_beside_it(ring: hgfctl.Run) -> None:
    model = hgfctl.load(ring.folder, device="cpu")
    beside = model.sample(4, nfe=20, sampler="heun", churn=10)
    within = model.sample(4, nfe=20, sampler={"name": "heun", "churn": 10})
    assert torch.equal(beside, within)
    assert not torch.equal(beside, model.sample(4, nfe=20, sampler="heun"))


def test_samples_are_those_of_the_command(ring: hgfctl.Run, digits: hgfctl.Run, inside: Cli, tmp_path: Path) -> None:
    inside("sample", str(ring.folder), "--num", "20", "--nfe", "10", "--seed", "3", "--out", "ring.npz")
    x = hgfctl.load(str(ring.folder)).sample(20, nfe=10, seed=3, batch=7)
    assert x.dtype == torch.float32
    assert np.array_equal(x.numpy(), np.load(tmp_path / "ring.npz")["samples"])
    how = ["--nfe", "5", "--classes", "3,5", "--sampler", "heun", "--set", "sample.churn=5"]
    inside("sample", str(digits.checkpoint), "--num", "6", *how, "--out", "digits.npz")
    images = hgfctl.load(digits.checkpoint).sample(6, nfe=5, classes=[3, 5], sampler="heun", churn=5)
    assert images.shape == (6, *hgfctl.load(digits.checkpoint).shape)
    bytes_ = ((images + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(bytes_, np.load(tmp_path / "digits.npz")["images"])


def test_stopping_and_going_on_equals_an_uninterrupted_run(ring: hgfctl.Run, tmp_path: Path) -> None:
    """By Ctrl-C, which saves first."""

    def interrupt(event: object) -> None:
        if isinstance(event, Stepped) and event.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        hgfctl.train("ring-oscillation", TINY, runs=tmp_path, device="cpu", on_event=interrupt)
    heard: list[object] = []
    run = hgfctl.train("ring-oscillation", runs=tmp_path, resume=True, device="cpu", on_event=heard.append)
    assert [event.step for event in heard if isinstance(event, Resuming)] in ([5], [6])
    assert any(isinstance(event, Saved) and event.checkpoint == run.checkpoint for event in heard)
    one, other = (tensor_files.load(r.checkpoint)[0] for r in (ring, run))
    assert all(torch.equal(one[name], other[name]) for name in one)
    again = hgfctl.train(None, resume=run.folder, device="cpu")
    assert again.checkpoint == run.checkpoint


def test_wrong_requests_are_explained(ring: hgfctl.Run, tmp_path: Path) -> None:
    with pytest.raises(hgfctl.RequestError, match=r"did you mean 'train\.images'"):
        hgfctl.preset("ring-oscillation", {"train.imags": 3})
    with pytest.raises(hgfctl.RequestError, match="did you mean 'ring-oscillation'"):
        hgfctl.train("ring-oscilation", runs=tmp_path)
    with pytest.raises(hgfctl.RequestError, match=r"model\.name is hvp there|train\.batch is 64 there"):
        hgfctl.train(None, {"train.batch": 32}, resume=ring.folder)
    model = hgfctl.load(ring.folder)
    with pytest.raises(hgfctl.RequestError, match="without classes"):
        model.sample(4, classes=[1])
    with pytest.raises(hgfctl.RequestError, match="`guidance"):
        model.sample(4, guide=ring.folder)
    assert not list(tmp_path.iterdir())


def test_velocity_denoiser_and_score_are_one_object(ring: hgfctl.Run) -> None:
    """a D + b Z = x and a' D + b' Z = V at x = a y, with sigma = b/a and D = y - sigma Z."""
    model = hgfctl.load(ring.folder, device="cpu")
    flow = model.checkpoint.hvp.flow
    y, sigma = torch.randn(16, 2, generator=Generator().manual_seed(0), dtype=torch.float64), 0.4
    denoised, score = model.denoise(y, sigma), model.score(y, sigma)
    torch.testing.assert_close(score, (denoised - y) / sigma**2)
    t = flow.time(torch.tensor(sigma, dtype=torch.float64))
    path = flow.path(t)  # type: ignore[attr-defined]
    velocity = model.velocity(path.a * y, t)
    torch.testing.assert_close(path.da * denoised - path.db * sigma * score, velocity)
    assert model.velocity(y.float(), 0.3).dtype == torch.float32
    with pytest.raises(hgfctl.RequestError, match="noise"):
        model.score(y)


def test_likelihood_is_that_of_the_command(ring: hgfctl.Run, inside: Cli, tmp_path: Path) -> None:
    x = hgfctl.load(ring.folder).sample(8, nfe=10)
    np.save(tmp_path / "x.npy", x.numpy())
    inside("likelihood", str(ring.folder), "x.npy", "--out", "nats.npz")
    nats = hgfctl.load(ring.folder).log_likelihood(x)
    assert nats.shape == (8,)
    np.testing.assert_allclose(nats.numpy(), np.load(tmp_path / "nats.npz")["log_likelihood"], rtol=1e-9)


def test_a_score_trains_and_has_no_velocity(tmp_path: Path) -> None:
    tiny = {"train.images": 512, "train.batch": 64}
    model = hgfctl.load(hgfctl.train("gmm-hsm", tiny, runs=tmp_path, device="cpu").folder, device="cpu")
    assert model.score(torch.zeros(3, *model.shape)).shape == (3, *model.shape)
    for call in (lambda x: model.velocity(x, 0.1), lambda x: model.denoise(x, 0.1), model.log_likelihood):
        with pytest.raises(hgfctl.RequestError):
            call(torch.zeros(3, *model.shape))


def test_evaluation_is_that_of_the_command(ring: hgfctl.Run, inside: Cli) -> None:
    import json

    command = ["eval-fid", str(ring.folder), "--features", "none", "--num", "200", "--nfe", "6", "--json"]
    said = json.loads(inside(*command).stdout)
    found = hgfctl.evaluate(ring.folder, num=200, nfe=6)
    assert {**said, "seconds": 0} == {**found, "seconds": 0}


class MyForce(hgfctl.Force):
    """A spring."""

    def __init__(self, stiffness: float = 1.0) -> None:
        self.stiffness = stiffness

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -self.stiffness * x


class MyFlow(Oscillation):
    """The oscillation by another name."""


class MySolver(type(EULER)):  # type: ignore[misc]
    """Euler's method by another name."""

    def __init__(self) -> None:
        super().__init__(**vars(EULER))


class MyNetwork(hgfctl.Network):
    """One linear layer."""

    def __init__(self, shape: ItemShape, gain: float = 1.0) -> None:
        super().__init__()
        self.gain, self.layer = gain, nn.Linear(shape[0], shape[0])

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Any = None) -> Tensor:
        return self.gain * self.layer(x)


class MyData(Items):
    """The corners of a square."""

    def __init__(self, size: float = 0.5) -> None:
        super().__init__(size * torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]).repeat(32, 1))


class MyLoss(hgfctl.Loss):
    """|V(x_t, t) - v_t|, at t = T/2."""

    trains = (HVP,)

    def __call__(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        t = torch.tensor(model.flow.T / 2, dtype=torch.float64)
        x, v = model.flow.state(x0, torch.randn(x0.shape, generator=rng), t)
        return (model(x, t) - v).abs().flatten(1).mean(1)


@pytest.mark.parametrize(
    ("component", "changes"),
    [
        (MyForce, {"flow": {"name": "designed", "force": {"name": "my-force", "stiffness": 2.0}}}),
        (MyFlow, {"flow": "my-flow"}),
        (MyNetwork, {"network": {"name": "my-network", "gain": 0.5}}),
        (MyData, {"data": {"name": "my-data", "size": 0.25}}),
        (MyLoss, {"loss": "my-loss"}),
    ],
)
def test_a_component_of_ones_own_trains_and_samples(component: type, changes: dict[str, Any], tmp_path: Path) -> None:
    name = {"Force": "force", "Flow": "flow"}.get(component.__name__[2:], component.__name__[2:].lower())
    hgfctl.register(component, f"my-{name}")
    config = hgfctl.preset("ring-oscillation", {"train.images": 128, "train.batch": 64, **changes})
    run = hgfctl.train(config, runs=tmp_path, device="cpu")
    assert hgfctl.load(run.folder, device="cpu").sample(3, nfe=4).shape == (3, 2)
    with pytest.raises(hgfctl.RequestError, match="there already"):
        hgfctl.register(type("Other", (component,), {}), f"my-{name}")


def test_a_solver_of_ones_own_samples(ring: hgfctl.Run) -> None:
    hgfctl.register(MySolver, "my-solver")
    model = hgfctl.load(ring.folder, device="cpu")
    grid = "uniform"
    mine, theirs = (model.sample(3, nfe=4, sampler=name, grid=grid) for name in ("my-solver", "euler"))
    assert torch.equal(mine, theirs)


def test_what_is_of_no_kind_is_refused() -> None:
    with pytest.raises(hgfctl.RequestError, match="derives from none of Force, Flow"):
        hgfctl.register(dict, "mine")
    assert issubclass(Reflection, hgfctl.Flow)
    assert issubclass(HVPRegression, hgfctl.Loss)
