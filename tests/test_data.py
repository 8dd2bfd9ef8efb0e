"""Data: exact laws, reproducible streams, and files that users get wrong."""

import builtins
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hgfctl.engine.data import DATA
from hgfctl.engine.data.array import array
from hgfctl.engine.data.checkerboard import Checkerboard
from hgfctl.engine.data.dataset import Items
from hgfctl.engine.data.digits import digits, to_pixels
from hgfctl.engine.data.images import folder
from hgfctl.engine.data.locate import locate
from hgfctl.engine.data.mixture import GaussianMixture, gmm64_mixture, gmm_mixture, ring_mixture
from hgfctl.engine.data.torchvision_sets import require_torchvision, torchvision_set
from hgfctl.engine.randomness import generator
from hgfctl.errors import HgfctlError, RequestError

MIXTURES = {"ring": ring_mixture(), "gmm": gmm_mixture(), "gmm64": gmm64_mixture()}
ANALYTIC = ["checkerboard", "gmm", "gmm64", "moons", "ring", "spirals"]


@pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES.keys())
def test_score_is_the_gradient_of_log_density(mixture: GaussianMixture) -> None:
    x = mixture.sample(50, generator(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(mixture.log_prob(x).sum(), x)
    torch.testing.assert_close(mixture.score(x), gradient, atol=1e-9, rtol=1e-9)


def test_mixture_density_agrees_with_torch_distributions() -> None:
    factors = torch.tensor([[[0.3, 0.0], [0.2, 0.1]], [[0.4, 0.0], [-0.1, 0.2]]]).double()
    means, weights = torch.tensor([[0.5, 0.1], [-0.4, 0.0]]).double(), torch.tensor([0.75, 0.25]).double()
    other = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(weights), torch.distributions.MultivariateNormal(means, scale_tril=factors)
    )
    ours = GaussianMixture(3 * weights, means, factors @ factors.mT)
    x = torch.randn(100, 2, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(ours.log_prob(x), other.log_prob(x), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES.keys())
def test_mixture_samples_have_the_mixtures_moments(mixture: GaussianMixture) -> None:
    """Six standard errors of 200,000 draws, for each coordinate's mean and second moment."""
    x = mixture.sample(200_000, generator(2))
    second = torch.diagonal(mixture.covariances, dim1=1, dim2=2) + mixture.means**2
    for drawn, exact in ((x, mixture.means), (x**2, second)):
        error = drawn.std(0) / len(x) ** 0.5
        assert bool(((drawn.mean(0) - mixture.weights @ exact).abs() < 6 * error).all())


def test_gmm64_is_the_mixture_of_the_theory() -> None:
    mixture = gmm64_mixture()
    assert mixture.means.shape == (16, 64)
    mean_square = mixture.means.square() + torch.diagonal(mixture.covariances, dim1=1, dim2=2)
    assert float(mean_square.mean().sqrt()) == pytest.approx(0.5, rel=1e-12)
    assert mixture.means.mean(0).abs().max() < 1e-12
    sds = torch.diagonal(mixture.covariances, dim1=1, dim2=2).sqrt()
    slope = (sds[0, 63] / sds[0, 0]).log() / math.log(64)
    assert float(slope) == pytest.approx(-0.75)


def test_covariances_must_be_positive_definite() -> None:
    with pytest.raises(ValueError, match="positive definite"):
        GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]))


@pytest.mark.parametrize("name", ["moons", "spirals", "ring"])
def test_planar_laws_are_centred_with_root_mean_square_one_half(name: str) -> None:
    """200,000 draws; 0.005 is more than five standard errors of each."""
    x = DATA.build(name, {}).batch(0, 200_000, 0).x
    assert x.mean(0).abs().max() < 0.008
    assert float(x.square().mean().sqrt()) == pytest.approx(0.5, abs=0.005)


def test_checkerboard_is_uniform_on_every_other_square() -> None:
    board = Checkerboard()
    x = board.sample(80_000, generator(3))
    assert bool(board.on_squares(x).all())
    cell = ((x + 1) / 0.5).long().clamp(0, 3)
    counts = torch.bincount(cell[:, 0] * 4 + cell[:, 1], minlength=16).double()
    assert (counts > 0).sum() == 8
    assert (counts[counts > 0] - 10_000).abs().max() < 6 * 10_000**0.5
    chance = 2 * torch.rand(40_000, 2, generator=generator(4), dtype=torch.float64) - 1
    assert float(board.on_squares(chance).double().mean()) == pytest.approx(0.5, abs=0.015)
    assert float(board.log_prob(chance).exp().mean() * 4) == pytest.approx(1, abs=0.03)
    assert not bool(board.on_squares(torch.tensor([[1.05, 0.9]])))
    assert bool(board.on_squares(torch.tensor([[1.05, 0.9]]), margin=0.06))


@pytest.mark.parametrize("name", [*ANALYTIC, "digits"])
def test_a_batch_depends_on_its_place_and_seed_alone(name: str) -> None:
    once, again = DATA.build(name, {}), DATA.build(name, {})
    once.batch(0, 64, 0)
    torch.testing.assert_close(once.batch(640, 64, 5).x, again.batch(640, 64, 5).x, rtol=0, atol=0)
    assert not torch.equal(once.batch(640, 64, 5).x, once.batch(640, 64, 6).x)
    assert not torch.equal(once.batch(640, 64, 5).x, once.batch(704, 64, 5).x)


@given(size=st.integers(1, 40), cuts=st.lists(st.integers(1, 30), min_size=1, max_size=8), seed=st.integers(0, 1000))
def test_finite_data_is_a_fresh_permutation_every_epoch(size: int, cuts: list[int], seed: int) -> None:
    """However the stream is cut into batches."""
    items = Items(torch.arange(size).float().unsqueeze(1), torch.arange(size) % 3)
    total = sum(cuts)
    first = [sum(cuts[:i]) for i in range(len(cuts))]
    parts = [items.batch(start, count, seed) for start, count in zip(first, cuts, strict=True)]
    stream = torch.cat([part.x for part in parts]).flatten()
    torch.testing.assert_close(stream, items.batch(0, total, seed).x.flatten())
    for epoch in range(total // size):
        assert sorted(stream[epoch * size : (epoch + 1) * size].tolist()) == list(range(size))
    labels = torch.cat([part.labels for part in parts if part.labels is not None])
    assert torch.equal(labels, stream.long() % 3)


def test_digits_are_split_the_same_way_for_ever() -> None:
    train, held_out, every = digits("train"), digits("held-out"), digits("all")
    assert (len(train), len(held_out), len(every)) == (1438, 359, 1797)
    assert train.shape == (1, 8, 8)
    assert train.classes == 10
    assert held_out.labels is not None
    counts = torch.bincount(held_out.labels)
    assert int(counts.min()) >= 34
    assert int(counts.max()) <= 37
    pixels = to_pixels(held_out.x).round().byte().numpy().tobytes()
    assert hashlib.sha256(pixels).hexdigest()[:16] == "4fe771cc92f3efec"
    rows = {bytes(row) for row in to_pixels(train.x).byte().flatten(1).numpy()}
    assert sum(bytes(row) in rows for row in to_pixels(held_out.x).byte().flatten(1).numpy()) == 0


def test_uint8_images_become_minus_one_to_one() -> None:
    items = Items(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1))
    assert items.all().x.flatten().tolist() == [-1, 1]
    assert items.root_mean_square() == 1


def test_arrays_are_read_as_they_were_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8), np.array([0, 2, 1, 2, 0])
    np.savez(tmp_path / "a.npz", images=images, labels=labels, seeds=np.arange(5))
    items = array(str(tmp_path / "a.npz"))
    assert items.shape == (3, 4, 4)
    assert items.classes == 3
    np.testing.assert_allclose(items.all().x.permute(0, 2, 3, 1), images / 127.5 - 1, atol=1e-6)
    np.save(tmp_path / "b.npy", images[..., 0])
    assert array(str(tmp_path / "b.npy")).shape == (1, 4, 4)
    np.savez(tmp_path / "c.npz", samples=rng.standard_normal((7, 2)))
    assert array(str(tmp_path / "c.npz")).shape == (2,)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": np.zeros((2, 4, 4), np.uint8)}, "'images'"),
        ({"images": np.zeros((2, 4, 4), np.float32)}, "uint8"),
        ({"images": np.zeros((2, 4, 4, 2), np.uint8)}, "shape"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, "empty"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3, int)}, "labels"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, -1])}, "labels"),
        ({"samples": np.array([[0.0, 1.0], [np.nan, 0.0]])}, "row 1"),
        ({"samples": np.zeros((2, 3), int)}, "floats"),
        ({"images": np.array([{"a": 1}], dtype=object)}, "Python objects"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(RequestError, match=words) as failure:
        array(str(tmp_path / "wrong.npz"))
    assert "wrong.npz" in str(failure.value)


def test_damaged_arrays_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "cut.npz", images=np.zeros((50, 8, 8), np.uint8))
    content = (tmp_path / "cut.npz").read_bytes()
    for damaged in (content[:1000], b"", b"no array", bytes([*content[:300], content[300] ^ 1, *content[301:]])):
        (tmp_path / "cut.npz").write_bytes(damaged)
        with pytest.raises(RequestError, match=r"cut\.npz"):
            array(str(tmp_path / "cut.npz"))


def picture(path: Path, width: int = 8, height: int = 8, mode: str = "RGB", value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (width, height), value if mode == "L" else (value, 0, 255)).save(path)


def test_subfolders_are_classes(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/more/2.PNG", "dog/1.jpg"):
        picture(tmp_path / name)
    picture(tmp_path / ".hidden" / "3.png")
    (tmp_path / "notes.txt").write_text("no image")
    data = folder(str(tmp_path))
    assert data.class_names == ["cat", "dog"]
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1]
    assert data.shape == (3, 8, 8)
    torch.testing.assert_close(data.all().x[0, :, 0, 0], torch.tensor([100 / 127.5 - 1, -1, 1]))
    picture(tmp_path / "loose.png")
    with pytest.raises(RequestError, match=r"1 images lie beside the class folders.*loose\.png"):
        folder(str(tmp_path))
    assert folder(str(tmp_path), labels=False).classes == 0


def test_grey_folders_stay_grey(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", mode="L")
    assert folder(str(tmp_path)).shape == (1, 8, 8)
    picture(tmp_path / "b.png")
    assert folder(str(tmp_path)).shape == (3, 8, 8)


def test_resolution_crops_the_middle_and_resizes(tmp_path: Path) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, 8:24] = 200
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    data = folder(str(tmp_path), resolution=4)
    assert data.shape == (3, 4, 4)
    assert bool((data.x == 200).all())


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "cannot be read"),
        (lambda path: path.write_bytes(b""), "not an image"),
        (lambda path: picture(path, 8, 6), "is 8 x 6, and most are 8 x 8"),
        (lambda path: picture(path, 4, 4), "4 x 4"),
    ],
)
def test_bad_images_are_named_or_skipped(tmp_path: Path, spoil: Any, words: str) -> None:
    for i in range(3):
        picture(tmp_path / f"{i}.png")
    spoil(tmp_path / "2.png")
    with pytest.raises(RequestError, match=words) as failure:
        folder(str(tmp_path))
    assert "2.png" in str(failure.value)
    assert "`skip_bad`" in str(failure.value)
    data = folder(str(tmp_path), skip_bad=True)
    assert len(data) == 2
    assert len(data.skipped) == 1
    assert "2.png" in data.skipped[0]


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no image in"):
        folder(str(tmp_path))
    picture(tmp_path / "a.png")
    with pytest.raises(RequestError, match=r"neither a folder nor a \.zip"):
        folder(str(tmp_path / "a.png"))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(RequestError, match="none of the 1 images"):
        folder(str(tmp_path), skip_bad=True)


def test_data_is_looked_for_below_hgfctl_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "faces" / "a.png")
    with pytest.raises(RequestError, match="no data at faces"):
        locate("faces")
    monkeypatch.setenv("HGFCTL_DATA", str(tmp_path))
    assert locate("faces") == tmp_path / "faces"
    with pytest.raises(RequestError, match="houses"):
        locate("houses")


def test_torchvision_that_does_not_fit_torch_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def broken(name: str, *arguments: Any, **named: Any) -> Any:
        if name.split(".")[0] == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        return original(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(HgfctlError, match=r"torchvision::nms.*pip install --force-reinstall") as failure:
        require_torchvision()
    assert "\n" not in str(failure.value)


def test_torchvision_sets_say_where_they_are_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HGFCTL_DATA", str(tmp_path))
    with pytest.raises(RequestError, match="download=true") as failure:
        torchvision_set("mnist")
    assert str(tmp_path / "MNIST" / "raw") in str(failure.value)
    assert "train-images-idx3-ubyte" in str(failure.value)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_the_smooth_checkerboard_is_a_density_with_its_score(sigma: float) -> None:
    board = Checkerboard(4).noised(sigma)
    side = torch.linspace(-4, 4, 801, dtype=torch.float64)
    assert float(board.log_prob(torch.cartesian_prod(side, side)).exp().sum()) * 0.01**2 == pytest.approx(1, abs=1e-6)
    x = (1.5 * torch.randn(200, 2, generator=generator(0, "x"), dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(board.log_prob(x).sum(), x)
    torch.testing.assert_close(board.score(x.detach()), slope, rtol=1e-6, atol=1e-8)
    assert bool(torch.isfinite(board.score(30 * x.detach())).all())  # far away, where all masses underflow
    draws = board.sample(40_000, generator(1, "x"))
    assert float(draws.square().mean()) == pytest.approx(1 / 3 + sigma**2, rel=0.02)
    assert board.noised(1.0).sigma == pytest.approx(math.hypot(sigma, 1))


def test_noise_widens_a_mixture() -> None:
    mixture = gmm64_mixture()
    wide = mixture.noised(0.3)
    torch.testing.assert_close(wide.covariances, mixture.covariances + 0.09 * torch.eye(64))
    x = wide.sample(5, generator(0, "x"))
    one, sigma = torch.ones((), dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    torch.testing.assert_close(wide.log_prob(x), mixture.posterior(x, one, sigma)[0].logsumexp(-1))


@pytest.mark.parametrize(("name", "dim"), [("gmm8", 8), ("gmm64", 64)])
def test_mixtures_with_a_spectrum(name: str, dim: int) -> None:
    for decay in (0.0, 0.75):
        data = DATA.build(name, {"decay": decay})
        assert data.shape == (dim,)
        assert data.root_mean_square() == pytest.approx(0.5, rel=0.02)
        spread = data.density.sample(50_000, generator(0, "x")).std(0)
        assert float(spread[0] / spread[-1]) == pytest.approx(dim**decay, rel=0.6)
