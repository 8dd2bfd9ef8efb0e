"""Latents and back, what lies between them, filling in; likelihoods and precision on the command line.

A network whose output is 0 leaves V = c_skip x: then the law is N(0, sd^2 I) whatever the flow, an oracle for commands.
"""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hgfctl import presets
from hgfctl.engine.data.digits import digits
from hgfctl.engine.data.masks import mask
from hgfctl.engine.data.mixture import GaussianMixture, gmm_mixture
from hgfctl.engine.experiment import experiment
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.flows.priors import GaussianPrior, UniformPrior
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.engine.solvers.running_sum import RunningSum
from hgfctl.engine.transport.inpainting import inpainted
from hgfctl.engine.transport.interpolation import interpolated
from hgfctl.errors import RequestError
from hgfctl.storage import tensor_files
from tests.conftest import Run


class Said(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def hgfctl(inside: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Said]:
    """The program in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, expected: int = 0) -> Said:
        done = inside(*arguments, status=expected)
        return Said(done.returncode, done.stdout, done.stderr)

    return run


def saved(path: Path, preset: str, *settings: str, output: float = 0.0) -> float:
    """A checkpoint of a preset without training, whose last layer has weights of this size; returns the data's sd."""
    parts = experiment(presets.load(preset, settings), torch.device("cpu"))
    network = parts.model.network
    last = network.dec if preset.startswith("ring") else list(network.dec.values())[-1]
    nn.init.normal_(last.weight, std=output) if output else nn.init.zeros_(last.weight)
    about = {"kind": "hvp", "config": parts.config.model_dump(mode="json"), "shape": list(parts.data.shape)}
    description = {**about, "classes": parts.data.classes, "step": 1, "images": 1}
    tensor_files.save(path, network.state_dict(), description)
    return parts.model.flow.sd


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    path = tmp_path_factory.mktemp("ring") / "ring.safetensors"
    return path, saved(path, "ring-flow-matching", "network.width=8", "network.blocks=1")


@pytest.fixture(scope="module")
def small_digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    path = tmp_path_factory.mktemp("digits") / "digits.safetensors"
    return path, saved(path, "digits-oscillation", "network.model_channels=8")


@pytest.fixture(scope="module")
def lively_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lively") / "digits.safetensors"
    saved(path, "digits-oscillation", "network.model_channels=8", output=0.05)
    return path


def test_likelihood_of_vectors(hgfctl: Callable[..., Said], ring: tuple[Path, float]) -> None:
    path, sd = ring
    said = hgfctl(
        "likelihood", str(path), "--num", "50", "--out", "found.npz", "--json", "--rtol", "1e-8", "--atol", "1e-8"
    )
    facts = json.loads(said.out)
    assert (facts["trace"], facts["num"], facts["dim"], facts["bits_per_dim"]) == ("exact", 50, 2, None)
    assert facts["data"] == "ring, fresh draws"
    x = torch.from_numpy(np.asarray(presets_batch("ring", 50)))
    expected = GaussianPrior(sd).log_prob(x.double())
    with np.load("found.npz") as found:
        assert np.allclose(found["log_likelihood"], expected, atol=1e-6)
        assert (found["standard_error"] == 0).all()
        assert "bits_per_dim" not in found.files
    assert facts["log_likelihood"] == pytest.approx(float(expected.mean()), abs=1e-6)
    assert facts["truth"] > facts["log_likelihood"]
    assert hgfctl("likelihood", str(path), "--num", "50").out.endswith(" nats\n")


def presets_batch(name: str, count: int) -> torch.Tensor:
    from hgfctl.engine.data import DATA

    return DATA.build(name, {}).batch(0, count, 0).x


def test_bits_of_images_by_a_budget(hgfctl: Callable[..., Said], small_digits: tuple[Path, float]) -> None:
    path, sd = small_digits
    said = hgfctl(
        "likelihood",
        str(path),
        "--num",
        "20",
        "--probes",
        "2",
        "--nfe",
        "62",
        "--sampler",
        "rk4",
        "--out",
        "b.npz",
        "--json",
    )
    facts = json.loads(said.out)
    assert (facts["data"], facts["trace"], facts["evaluations"], facts["nfe"]) == (
        "digits, held-out",
        "hutchinson",
        20,
        60,
    )
    scans = digits("held-out")
    assert scans.levels == 17
    # Of N(0, sd^2) at x0 + u, E over u uniform in a step: (x0^2 + step^2 / 12) / 2 sd^2, on average over the pixels.
    chosen = torch.randperm(len(scans), generator=generator("chosen"))[:20].sort().values
    square = scans.at(chosen).x.double().square().mean() + (1 / 8) ** 2 / 12
    nats = -square / (2 * sd**2) - math.log(sd * math.sqrt(2 * math.pi))
    assert facts["bits_per_dim"] == pytest.approx(float(-(nats + math.log(1 / 8)) / math.log(2)), abs=5e-3)
    with np.load("b.npz") as found:
        assert found["bits_per_dim"].shape == (20,)
        assert np.isfinite(found["standard_error"]).all()


def test_wrong_requests_are_refused(
    hgfctl: Callable[..., Said], ring: tuple[Path, float], small_digits: tuple[Path, float]
) -> None:
    of_ring, of_digits = str(ring[0]), str(small_digits[0])
    np.savez("plain.npz", images=np.zeros((4, 8, 8), np.uint8))
    for arguments, said in (
        (["likelihood", of_ring, "digits"], "items of shape (1, 8, 8)"),
        (["likelihood", of_digits, "plain.npz"], "no classes"),
        (["likelihood", of_ring, "--sampler", "rk4"], "give --nfe"),
        (["likelihood", of_ring, "--nfe", "50", "--sampler", "ddim"], "does not step V itself"),
        (["likelihood", of_ring, "--nfe", "2"], "--nfe 2 (3 passes an evaluation)"),
        (["likelihood", of_ring, "--out", "x.csv"], ".npz"),
        (["likelihood", of_ring, of_ring], "no data set"),
        (["latents", "encode", of_ring, "--out", "x.png"], ".npz"),
        (["latents", "decode", of_ring, "plain.npz", "--out", "x.npz"], "needs 'latents'"),
        (["latents", "inpaint", of_digits, "--mask", "left"], "--mask left"),
        (["latents", "inpaint", of_digits, "--nfe", "3"], "--repeats"),
        (["visualize", "interpolation", of_digits, "--between", "3"], "two whole numbers"),
        (["visualize", "interpolation", of_digits, "digits", "--between", "3,99999"], "item 99999"),
        (["visualize", "interpolation", of_digits, "--class", "10"], "10 classes"),
    ):
        assert said in hgfctl(*arguments, expected=2).err


def test_encoding_and_decoding_give_the_data_back(hgfctl: Callable[..., Said], lively_digits: Path) -> None:
    facts = json.loads(
        hgfctl("latents", "encode", str(lively_digits), "--num", "6", "--tolerance", "1e-4", "--json").out
    )
    assert 0 < facts["reconstruction_error"] < 1e-3
    with np.load("latents.npz") as found:
        assert found["latents"].shape == (6, 1, 8, 8)
        assert found["latents"].dtype == np.float64
        assert found["labels"].shape == (6,)
    hgfctl("latents", "decode", str(lively_digits), "latents.npz", "--out", "again.npz", "--tolerance", "1e-4")
    scans = digits("held-out")
    chosen = torch.randperm(len(scans), generator=generator("chosen"))[:6].sort().values
    expected, labels = scans.at(chosen)
    with np.load("again.npz") as again:
        assert np.abs(again["images"][..., 0] - ((expected[:, 0] + 1) * 127.5).numpy()).max() < 0.6
        assert (again["labels"] == labels.numpy()).all()


def test_filling_in_keeps_what_is_known(hgfctl: Callable[..., Said], lively_digits: Path) -> None:
    hidden = np.zeros((8, 8), np.uint8)
    hidden[:, 4:] = 255
    Image.fromarray(hidden).save("right.png")
    for name, how in (("one", "right-half"), ("two", "right.png")):
        hgfctl(
            "latents",
            "inpaint",
            str(lively_digits),
            "--mask",
            how,
            "--num",
            "3",
            "--nfe",
            "12",
            "--repeats",
            "2",
            "--out",
            f"{name}.npz",
        )
    with np.load("one.npz") as one, np.load("two.npz") as two:
        assert (one["images"] == two["images"]).all()
        scans = digits("held-out")
        chosen = torch.randperm(len(scans), generator=generator("chosen"))[:3].sort().values
        known = ((scans.at(chosen).x[:, 0, :, :4] + 1) * 127.5).round().numpy()
        assert (one["images"][:, :, :4, 0] == known).all()
    Image.fromarray(hidden[:4]).save("small.png")
    with pytest.raises(RequestError, match="8 x 4 pixels, the images 8 x 8"):
        mask("small.png", (1, 8, 8))


def test_filling_in_finds_the_conditional_law() -> None:
    """x_2 given x_1 = 1 of a correlated Gaussian: mean .8, variance .36. Repeated steps come near (.73, .36); single
    ones do not (.34, .57)."""
    law, flow = (
        GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[[1.0, 0.8], [0.8, 1.0]]])),
        Oscillation(sd=1.0),
    )
    hvp, rng, hidden = MixtureHVP(law, flow), generator(0, "inpaint"), torch.tensor([False, True])
    x0 = torch.tensor([[1.0, 9.0]], dtype=torch.float64).expand(2000, 2)
    found = {}
    for repeats in (1, 10):
        start = flow.prior.sample((2000, 2), rng)
        draw = lambda: torch.randn(2000, 2, generator=rng, dtype=torch.float64)  # noqa: E731
        made = inpainted(hvp, flow, x0, hidden, start, GRIDS["cosine"](flow, 50), draw, repeats)
        assert (made[:, 0] == 1).all()
        found[repeats] = (float(made[:, 1].mean()), float(made[:, 1].var()))
    assert abs(found[10][0] - 0.8) < 0.1
    assert abs(found[10][1] - 0.36) < 0.05
    assert found[1][0] < 0.5
    with pytest.raises(RequestError, match="linear flows only"):
        inpainted(hvp, Reflection(), x0, hidden, x0, GRIDS["cosine"](flow, 25), draw, 2)


@pytest.mark.parametrize("prior", [GaussianPrior(0.7), UniformPrior(-1.0, 2.0)])
def test_what_lies_between_is_as_likely_as_the_ends(prior: GaussianPrior | UniformPrior) -> None:
    """Mean and variance of the prior at every fraction: 400 pairs of 100 coordinates, within 5 standard errors."""
    start, end = (prior.sample((400, 100), generator(seed, "ends")) for seed in (0, 1))
    x = interpolated(prior, start, end, torch.tensor([0.0, 0.25, 0.5, 1.0]))
    assert torch.allclose(x[0], start, atol=1e-9)
    assert torch.allclose(x[-1], end, atol=1e-9)
    mean, sd = (0.0, 0.7) if isinstance(prior, GaussianPrior) else (0.5, 3 / math.sqrt(12))
    for moment in x:
        assert abs(float(moment.mean()) - mean) < 5 * sd / 200
        assert abs(float(moment.var()) / sd**2 - 1) < 5 * math.sqrt(2) / 200


@pytest.mark.parametrize("name", ["ring", "digits", "data"])
def test_pictures_of_what_lies_between(
    name: str, hgfctl: Callable[..., Said], ring: tuple[Path, float], lively_digits: Path
) -> None:
    model, *more = {"ring": (ring[0],), "digits": (lively_digits,), "data": (lively_digits, "digits", "--class", "3")}[
        name
    ]
    hgfctl(
        "visualize",
        "interpolation",
        str(model),
        *map(str, more),
        "--between",
        "0,1",
        "--between",
        "4,7",
        "--nfe",
        "4",
        "--out",
        "p.png",
    )
    with Image.open("p.png") as picture:
        assert picture.size == ((840, 750) if name == "ring" else (9 * 34 - 2, 2 * 34 - 2))


def test_compensated_sums_lose_no_digits() -> None:
    """1,000 steps of a float32 position against float64: at least 8 times nearer than plain sums, near one rounding."""
    flow = Oscillation()
    hvp, times = MixtureHVP(gmm_mixture(), flow), GRIDS["uniform"](flow, 1000)
    start = flow.prior.sample((256, 2), generator(0, "sums")).float()
    truth = SOLVERS["euler"].solve(hvp, flow, start.double(), times)
    compensated = SOLVERS["euler"].solve(hvp, flow, start, times)
    assert compensated.dtype == torch.float32
    plain = start
    for t, end in itertools.pairwise(times):
        plain = plain + (end - t) * hvp(plain, t)
    off = [float((x.double() - truth).square().mean().sqrt()) for x in (compensated, plain)]
    assert off[0] < 3e-8
    assert off[1] > 8 * off[0]
    corrected = [SOLVERS["abm3"].solve(hvp, flow, x, times).double() for x in (start, start.double())]
    assert float((corrected[0] - corrected[1]).square().mean().sqrt()) < 6e-8


def test_a_running_sum_between_walls_and_of_tiny_parts() -> None:
    box = Reflection(lo=0.0, hi=1.0)
    total = RunningSum(torch.tensor([0.9], dtype=torch.float32))
    for _ in range(10_000):
        total.add(torch.tensor([1e-9]), box.confine)
    assert float(total.value) == pytest.approx(0.9 + 1e-5, abs=1e-7)
    assert float(total.add(torch.tensor([0.2]), box.confine)) == pytest.approx(0.9 - 1e-5, abs=1e-6)
    exact = RunningSum(torch.tensor([0.1], dtype=torch.float64))
    assert float(exact.add(torch.tensor([0.2], dtype=torch.float64), box.confine)) == 0.1 + 0.2


def test_precision_of_samples(hgfctl: Callable[..., Said], lively_digits: Path) -> None:
    """fp64 and fp32 differ by rounding to a level at most; bf16 by more, and not by much."""
    found = {}
    for precision in ("fp64", "fp32", "bf16"):
        said = hgfctl(
            "sample",
            str(lively_digits),
            "--precision",
            precision,
            "--num",
            "8",
            "--nfe",
            "6",
            "--out",
            f"{precision}.npz",
            "--json",
        )
        assert json.loads(said.out)["precision"] == precision
        with np.load(f"{precision}.npz") as samples:
            found[precision] = samples["images"].astype(float)
    assert np.abs(found["fp32"] - found["fp64"]).max() <= 1
    assert 0 < np.abs(found["bf16"] - found["fp64"]).mean() < 10
