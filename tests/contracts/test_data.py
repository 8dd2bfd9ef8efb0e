"""Every data set and every augmentation keeps the contract that training and evaluation rely on."""

import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hgfctl.engine.data import AUGMENTATIONS, DATA, cifar10
from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.data.density import known_density, known_law
from hgfctl.engine.data.files import files_of
from hgfctl.engine.data.locate import kind_of
from hgfctl.engine.randomness import generator

Options = dict[str, Any]


def an_array(place: Path, seed: int) -> Options:
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 256, (40, 4, 6, 3), dtype=np.uint8), rng.integers(0, 3, 40)
    np.savez(place / "a.npz", images=images, labels=labels)
    return {"path": str(place / "a.npz")}


def a_folder(place: Path, seed: int) -> Options:
    rng = np.random.default_rng(seed)
    for i in range(40):
        file = place / f"class{i % 4}" / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)).save(file)
    return {"path": str(place)}


def a_cifar10(place: Path, seed: int) -> Options:
    rng = np.random.default_rng(seed)
    for name in (*cifar10.PARTS["train"], *cifar10.PARTS["test"]):
        content = {b"data": rng.integers(0, 256, (10, 3072), np.uint8), b"labels": rng.integers(0, 10, 10).tolist()}
        (place / name).write_bytes(pickle.dumps(content, protocol=2))
    return {"path": str(place)}


FILES: dict[str, Callable[[Path, int], Options]] = {"array": an_array, "cifar10": a_cifar10, "folder": a_folder}
FETCHED = ("torchvision",)
"""Sets that would have to be fetched."""
NAMES = [name for name in DATA if name not in FETCHED]


def built(name: str, place: Path, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> DataSet:
    monkeypatch.setattr(cifar10, "COUNT", 10)
    place.mkdir(exist_ok=True)
    data: DataSet = DATA.build(name, FILES[name](place, seed) if name in FILES else {})
    return data


@pytest.fixture(params=NAMES)
def data(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    return built(request.param, tmp_path / "data", monkeypatch)


@pytest.fixture(params=["array", "cifar10", "digits", "folder", "patches", "folder, read as needed"])
def finite(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finite:
    if request.param == "folder, read as needed":
        (tmp_path / "data").mkdir()
        data = DATA.build("folder", {**a_folder(tmp_path / "data", 0), "memory_gib": 0})
    else:
        data = built(request.param, tmp_path / "data", monkeypatch)
    assert isinstance(data, Finite)
    return data


def test_the_list_of_finite_sets_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {name for name in NAMES if isinstance(built(name, tmp_path / name, monkeypatch), Finite)}
    assert found == {"array", "cifar10", "digits", "folder", "patches"}


def test_batches_have_the_shape_that_is_declared(data: DataSet) -> None:
    x, labels = data.batch(5, 64, 0)
    assert x.shape == (64, *data.shape)
    assert x.dtype == torch.float32
    assert bool(x.isfinite().all())
    assert (labels is None) == (data.classes == 0)
    if labels is not None:
        assert labels.shape == (64,)
        assert labels.dtype == torch.int64
        assert 0 <= int(labels.min()) <= int(labels.max()) < data.classes


def test_pixels_lie_on_the_levels_that_are_declared(data: DataSet) -> None:
    if data.levels is None:
        return
    steps = (data.batch(0, 64, 0).x.double() + 1) / 2 * (data.levels - 1)
    assert float((steps - steps.round()).abs().max()) < 1e-4
    assert 0 <= float(steps.min()) <= float(steps.max()) <= data.levels - 1 + 1e-4


def test_a_batch_depends_on_its_place_and_seed_alone(data: DataSet) -> None:
    x = data.batch(70, 32, 3).x
    data.batch(0, 8, 4)
    assert torch.equal(data.batch(70, 32, 3).x, x)
    assert not torch.equal(data.batch(70, 32, 4).x, x)
    assert not torch.equal(data.batch(102, 32, 3).x, x)


def test_a_part_is_a_slice_of_its_batch(data: DataSet) -> None:
    whole, part = data.batch(30, 32, 1), data.part(30, 32, 1, slice(8, 20))
    assert torch.equal(part.x, whole.x[8:20])
    assert (part.labels is None) == (whole.labels is None)
    if part.labels is not None and whole.labels is not None:
        assert torch.equal(part.labels, whole.labels[8:20])


def test_the_root_mean_square_is_that_of_draws(data: DataSet) -> None:
    """Finite sets exactly, over one epoch; laws within six standard errors of 50,000 draws and 100,000 more."""
    if isinstance(data, Finite):
        x = data.all().x.double()
        assert data.root_mean_square() == pytest.approx(float(x.square().mean().sqrt()), rel=1e-9)
        return
    square = data.batch(0, 50_000, 7).x.double().square().flatten(1).mean(1)
    error = float(square.std()) * math.sqrt(1 / 50_000 + 1 / 100_000)
    assert data.root_mean_square() ** 2 == pytest.approx(float(square.mean()), abs=6 * error + 1e-9)


def test_noise_adds_to_the_mean_square(data: DataSet) -> None:
    noised = data.noised(0.3)
    assert noised.shape == data.shape
    assert noised.root_mean_square() ** 2 == pytest.approx(data.root_mean_square() ** 2 + 0.09, rel=0.02)


def test_a_known_score_is_the_gradient_of_the_known_density(data: DataSet) -> None:
    law, exact = known_law(data), known_density(data)
    if exact is None:
        return
    assert law is exact
    x = data.batch(0, 20, 0).x.double().requires_grad_()
    (gradient,) = torch.autograd.grad(exact.log_prob(x).sum(), x)
    torch.testing.assert_close(exact.score(x), gradient, atol=1e-7, rtol=1e-7)


def test_an_epoch_holds_every_item_once(finite: Finite) -> None:
    assert finite.count == len(finite)
    epoch, every = finite.batch(len(finite), len(finite), 2).x, finite.all().x
    assert torch.equal(epoch.flatten(1).sort(0).values, every.flatten(1).sort(0).values)
    assert not torch.equal(epoch, every)


def test_a_split_shares_no_item(finite: Finite) -> None:
    fit, held_out = finite.split()
    assert len(fit) + len(held_out) == len(finite)
    assert fit.classes == held_out.classes == finite.classes
    rows = torch.cat([fit.all().x, held_out.all().x]).flatten(1)
    assert torch.equal(rows.sort(0).values, finite.all().x.flatten(1).sort(0).values)
    again = finite.split()[1]
    assert torch.equal(again.all().x, held_out.all().x)


def test_a_fingerprint_follows_the_content(finite: Finite) -> None:
    everything = torch.arange(len(finite))
    assert finite.only(everything).fingerprint() == finite.fingerprint()
    assert finite.only(everything.flip(0)).fingerprint() != finite.fingerprint()
    assert finite.only(everything[1:]).fingerprint() != finite.fingerprint()


@pytest.mark.parametrize("name", FILES)
def test_files_are_known_for_what_they_are(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = built(name, tmp_path / "data", monkeypatch)
    other = built(name, tmp_path / "other", monkeypatch, seed=1)
    assert isinstance(data, Finite)
    assert isinstance(other, Finite)
    assert data.fingerprint() != other.fingerprint()
    assert kind_of(FILES[name](tmp_path / "data", 0)["path"]) == name
    form = files_of(name).form({"resolution": data.shape[-1]})
    if form is not None and name == "cifar10":
        assert form == (data.shape, 10)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FILES])
def test_a_name_without_files_stands_for_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert kind_of(name) == name
    assert files_of(name).form({}) is None


class Square(DataSet):
    """A user's own data set: uniform in a square."""

    shape = (2,)

    def batch(self, first: int, count: int, seed: int) -> Any:
        from hgfctl.engine.data.dataset import Batch

        return Batch(2 * torch.rand(count, 2, generator=generator(seed, first)) - 1, None)

    def root_mean_square(self) -> float:
        return 3**-0.5


def test_a_data_set_of_ones_own_needs_three_things() -> None:
    data = Square()
    assert data.count == math.inf
    assert data.split() == (data, data)
    assert known_law(data) is None
    assert list(data.skipped) == list(data.class_names) == []
    assert torch.equal(data.part(0, 8, 1, slice(2, 5)).x, data.batch(0, 8, 1).x[2:5])
    assert float(data.noised(1.0).batch(0, 20_000, 0).x.square().mean()) == pytest.approx(4 / 3, abs=0.06)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_keeps_images_images(name: str) -> None:
    augment = AUGMENTATIONS.build(name, {})
    x = torch.rand(32, 3, 8, 12, generator=generator(0, "x")) * 2 - 1
    drawn = augment.draw(32, generator(0, "drawn"))
    assert torch.equal(drawn, augment.draw(32, generator(0, "drawn")))
    assert drawn.dtype == torch.float64
    done, labels = augment.apply(x, drawn)
    assert done.shape == x.shape
    assert done.dtype == x.dtype
    assert (labels is None) == (augment.labels == 0)
    if labels is not None:
        assert labels.shape == (32, augment.labels)
    nothing, _ = augment.apply(x, torch.zeros_like(drawn))
    assert torch.equal(nothing, x)
