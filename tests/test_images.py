"""Images from folders, zips and CIFAR-10's archives; zips made of them; augmentation."""

import hashlib
import io
import json
import math
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hgfctl.engine.data import cifar10 as cifar
from hgfctl.engine.data.array import array
from hgfctl.engine.data.augmentation import Flip, Geometric, doubling, halving, transform, warped
from hgfctl.engine.data.cifar10 import cifar10
from hgfctl.engine.data.digits import digits
from hgfctl.engine.data.image_zip import write_zip
from hgfctl.engine.data.images import Images, StoredImages, folder
from hgfctl.engine.data.inspection import inspect
from hgfctl.engine.data.locate import kind_of
from hgfctl.engine.randomness import generator
from hgfctl.errors import HgfctlError, RequestError


def some_images(count: int, height: int = 8, width: int = 8, channels: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, channels), np.uint8) for _ in range(count)]


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 8, 3), (6, 10, 1)])
def test_a_zip_gives_back_what_was_written(tmp_path: Path, height: int, width: int, channels: int) -> None:
    images = some_images(1100, height, width, channels)
    labels = [i % 7 for i in range(len(images))]
    assert write_zip(tmp_path / "a.zip", zip(images, labels, strict=True)) == 1100
    data = folder(str(tmp_path / "a.zip"))
    assert isinstance(data, Images)
    assert data.shape == (channels, height, width)
    assert np.array_equal(data.x.permute(0, 2, 3, 1).numpy(), np.stack(images))
    assert data.labels is not None
    assert data.labels.tolist() == labels
    assert folder(str(tmp_path / "a.zip"), labels=False).classes == 0


def test_a_zip_has_edms_form_and_the_same_bytes_again(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_zip(tmp_path / name, [(image, None) for image in some_images(1001)])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        infos = archive.infolist()
        assert [infos[0].filename, infos[-2].filename, infos[-1].filename] == [
            "00000/img00000000.png",
            "00001/img00001000.png",
            "dataset.json",
        ]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in infos)
        assert json.loads(archive.read("dataset.json")) == {"labels": None}


def test_decoding_when_needed_gives_the_same_as_keeping_in_memory(tmp_path: Path) -> None:
    labelled = [(image, i % 3) for i, image in enumerate(some_images(50))]
    write_zip(tmp_path / "a.zip", labelled)
    kept, stored = folder(str(tmp_path / "a.zip")), folder(str(tmp_path / "a.zip"), memory_gib=1e-9)
    assert isinstance(stored, StoredImages)
    for one, other in zip(kept.batch(30, 64, 5), stored.batch(30, 64, 5), strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)
    assert stored.root_mean_square() == pytest.approx(kept.root_mean_square(), rel=1e-6)
    assert [len(part) for part in stored.split()] == [40, 10]
    assert stored.split()[1].classes == 3


def test_missing_and_wrong_labels_are_named(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(path / name)
    for content, words in {
        '{"labels": [["a.png", 1]]}': r"no label for 1 of 2 images, the first of them b\.png",
        '{"labels": [["a.png", 1], ["b.png", -1]]}': "whole numbers from 0, and one is -1",
        '{"labels": 3}': "not of the form",
        "{": "not of the form",
    }.items():
        (path / "dataset.json").write_text(content)
        with pytest.raises(RequestError, match=words):
            folder(str(path))
    (path / "dataset.json").write_text('{"labels": [["a.png", 1], ["b.png", 0]]}')
    data = folder(str(path))
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0]


def test_damaged_zips_and_members_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_zip(path, [(image, None) for image in some_images(4)])
    content = bytearray(path.read_bytes())
    place = content.find(b"IDAT") + 12
    content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(RequestError, match=r"1 of 4 images cannot be used: .*a\.zip:00000/img00000000\.png"):
        folder(str(path))
    assert len(folder(str(path), skip_bad=True)) == 3
    path.write_bytes(content[:200])
    with pytest.raises(RequestError, match=r"cannot read .* as a zip file"):
        folder(str(path))


def test_what_is_transparent_is_white_and_16_bits_keep_their_range(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "a.png")
    assert bool((folder(str(tmp_path)).x == 255).all())  # type: ignore[union-attr]
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(tmp_path / "a.png")
    data = folder(str(tmp_path))
    assert data.shape == (1, 4, 4)
    assert bool((data.x == 128).all())  # type: ignore[union-attr]


# --- CIFAR-10


def parts() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    names = [*cifar.PARTS["train"], *cifar.PARTS["test"]]
    return {n: (rng.integers(0, 256, (10, 3072), np.uint8), rng.integers(0, 10, 10)) for n in names}


@pytest.fixture(params=["binary", "python", "binary archive", "python archive"])
def stand_in(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10 with ten random images a part, in each of its forms."""
    kind = request.param.split()[0]
    inside = tmp_path / cifar.FOLDERS[kind == "python"]
    inside.mkdir()
    for name, (pixels, labels) in parts().items():
        if kind == "binary":
            rows = np.concatenate([labels.astype(np.uint8)[:, None], pixels], 1)
            (inside / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            content = {b"data": pixels, b"labels": labels.tolist(), b"filenames": [b"a.png"] * 10}
            (inside / name).write_bytes(pickle.dumps(content, protocol=2))
    monkeypatch.setattr(cifar, "COUNT", 10)
    if request.param.endswith("archive"):
        path = tmp_path / list(cifar.ARCHIVES)[kind == "python"]
        with tarfile.open(path, "w:gz") as tar:
            tar.add(inside, inside.name)
        for file in inside.iterdir():
            file.unlink()
        inside.rmdir()
        monkeypatch.setitem(cifar.ARCHIVES, path.name, hashlib.md5(path.read_bytes()).hexdigest())
    return tmp_path


def test_cifar10_is_read_in_all_its_forms(stand_in: Path) -> None:
    data = cifar10(str(stand_in))
    assert data.shape == (3, 32, 32)
    assert len(data) == 50
    pixels, labels = parts()["data_batch_3"]
    assert np.array_equal(data.x[20:30].reshape(10, -1).numpy(), pixels)
    assert data.labels is not None
    assert data.labels[20:30].tolist() == labels.tolist()
    assert len(cifar10(str(stand_in), split="test", labels=False)) == 10
    assert kind_of(str(stand_in)) == "cifar10"


def test_a_damaged_archive_is_told_by_its_checksum(stand_in: Path) -> None:
    archive = next(stand_in.glob("*.tar.gz"), None)
    if archive is None:
        next(next(stand_in.iterdir()).glob("data_batch_2*")).write_bytes(b"")
        with pytest.raises(RequestError, match="data_batch_2"):
            cifar10(str(stand_in))
        return
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(HgfctlError, match="MD5"):
        cifar10(str(stand_in))


def test_missing_cifar10_says_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HGFCTL_DATA", str(tmp_path))
    with pytest.raises(RequestError, match=r"(?s)download=true.*cifar-10-binary\.tar\.gz.*HGFCTL_DATA"):
        cifar10()


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("run-by-a-pickle"),))


def test_a_pickle_that_names_anything_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Hostile()}))
    with pytest.raises(RequestError, match="it names pathlib"):
        cifar10(str(tmp_path))
    assert not (tmp_path / "run-by-a-pickle").exists()


# --- inspection


def test_inspection_counts_and_measures() -> None:
    data = digits("all")
    found = inspect(data)
    x, labels = data.all()
    assert labels is not None
    assert found.count == 1797
    assert found.classes == torch.bincount(labels).tolist()
    assert found.mean == pytest.approx([float(x.double().mean())])
    assert found.sd == pytest.approx([float(x.double().std(correction=0))])
    assert found.root_mean_square == pytest.approx(data.root_mean_square())
    assert len(found.sheet.x) == 64


# --- augmentation


def smooth(count: int, height: int, width: int) -> torch.Tensor:
    """Images without fine detail."""
    coarse = torch.randn(count, 3, 4, 4, generator=generator(0, "smooth"))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(-1, 1)


@given(side=st.integers(4, 40))
def test_halving_undoes_doubling_of_smooth_rows(side: int) -> None:
    h, d = halving(side), doubling(side)
    assert h.sum(1) == pytest.approx(1)
    assert d.sum(1) == pytest.approx(1)
    row = torch.cos(math.pi * (torch.arange(side, dtype=torch.float64) + 0.5) / side)  # mirrored at both ends
    assert float((h @ (d @ row) - row).abs().max()) < 0.02


def test_quarter_turns_are_exact_turns() -> None:
    x = smooth(3, 16, 16)
    turn = torch.zeros(3, 9, dtype=torch.float64)
    turn[:, 3:5] = torch.tensor([[-1.0, 1.0], [-2.0, 0.0], [-1.0, -1.0]])  # cos - 1, sin of 90, 180, 270 degrees
    done = warped(x, torch.linalg.inv(transform(turn, 16, 16)).float())
    still = warped(x, torch.eye(3).repeat(3, 1, 1))
    for i, quarters in enumerate((-1, -2, -3)):  # rows run downwards, so a positive angle turns clockwise
        torch.testing.assert_close(done[i], still[i].rot90(quarters, (1, 2)), atol=1e-5, rtol=0)
    assert float((still - x).square().mean().sqrt()) < 0.02


def test_translation_moves_by_eighths_of_the_side() -> None:
    x = smooth(1, 16, 24)
    move = torch.zeros(1, 9, dtype=torch.float64)
    move[0, 7], move[0, 8] = 1.0, 0.5
    done = warped(x, torch.linalg.inv(transform(move, 16, 24)).float())
    still = warped(x, torch.eye(3)[None])
    inner, moved = (slice(4, -4), slice(4, -4)), (slice(3, -5), slice(1, -7))  # away from mirrored borders
    torch.testing.assert_close(done[..., *inner], still[..., *moved], atol=1e-5, rtol=0)


@pytest.mark.parametrize("p", [0.0, 0.12, 1.0])
def test_labels_say_what_was_done_and_untouched_images_stay(p: float) -> None:
    x = smooth(400, 8, 8)
    drawn = Geometric(p).draw(400, generator(0, "augment"))
    done, labels = Geometric(p).apply(x, drawn)
    assert labels is not None
    assert labels.shape == (400, 9)
    still = (drawn == 0).all(1)
    assert torch.equal(done[still], x[still])
    mirrored = (drawn[:, 0] == 1) & (drawn[:, 1:] == 0).all(1)
    assert torch.equal(done[mirrored], x[mirrored].flip(3))
    moved = drawn[:, 2:].any(1)
    expected = 1 - (1 - p) ** 4  # six standard errors
    assert float(moved.double().mean()) == pytest.approx(expected, abs=6 * math.sqrt(expected * (1 - expected) / 400))
    assert float(drawn[:, 0].mean()) == pytest.approx(0.5, abs=6 * 0.5 / 20)


def test_flips_are_half_and_untold() -> None:
    x = smooth(400, 8, 8)
    done, labels = Flip().apply(x, Flip().draw(400, generator(0, "flip")))
    assert labels is None
    same = (done == x).flatten(1).all(1)
    assert torch.equal(done[~same], x[~same].flip(3))
    assert int(same.sum()) == pytest.approx(200, abs=60)


def test_rectangles_and_arrays_make_zips(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.stack(some_images(3, 6, 10)), labels=np.array([0, 1, 1]))
    assert array(str(tmp_path / "a.npz")).shape == (3, 6, 10)
    file = io.BytesIO()
    Image.fromarray(some_images(1, 6, 10)[0]).save(file, "PNG")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.png").write_bytes(file.getvalue())
    assert folder(str(tmp_path / "b")).shape == (3, 6, 10)
