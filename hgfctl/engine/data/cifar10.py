"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 photographs, 32 x 32, of ten kinds; from its archives or unpacked."""

import hashlib
import os
import tarfile
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hgfctl.engine.data.dataset import Items
from hgfctl.engine.data.files import Files, Form, reads
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage.arrays_pickle import load_arrays
from hgfctl.storage.atomic import replacing

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVES = {
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
}
"""Their MD5 sums, as the authors state them."""
FOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py")
"""Inside the archives, in the same order."""
PARTS = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
COUNT = 10_000
"""Images in a part."""
PIXELS = 3 * 32 * 32

Read = Callable[[str], bytes]
"""A part's file, by its name in the folder."""


def _form(options: Mapping[str, Any]) -> Form:
    return Form((3, 32, 32), 10 if options.get("labels", True) else 0)


def _lies_in(place: Path) -> bool:
    return place.is_dir() and find(place) is not None


@reads(Files(endings=(".tar.gz", ".tgz", ".tar"), holds=_lies_in, form=_form))
def cifar10(
    path: str = "",
    split: Literal["train", "test"] = "train",
    labels: bool = True,
    download: bool = False,
) -> Items:
    """Data set `cifar10`: RGB images, 32 x 32, and classes 0 ... 9.

    Args:
        path: an archive (cifar-10-binary.tar.gz, cifar-10-python.tar.gz), the folder in one, or a folder with either;
            the folder that HGFCTL_DATA names when left out.
        split: train (50,000 images) or test (10,000).
        labels: false to take no notice of classes.
        download: fetch the archive if nothing is there (170 MB; its checksum is verified).

    Raises:
        RequestError: it is not there and may not be fetched, or is damaged.
        HgfctlError: the download fails.
    """
    home = Path(path or os.environ.get("HGFCTL_DATA", "~/.cache/hgfctl/data")).expanduser()
    source = find(home)
    if source is None:
        if not download:
            raise RequestError(
                f"CIFAR-10 is not in {home}; `data.download=true` fetches it (170 MB) from\n{URL}, or put that "
                "file there yourself; `data.path` and HGFCTL_DATA name other places"
            )
        source = home / next(iter(ARCHIVES))
        fetch(source)
    batches = [_part(name, source) for name in PARTS[split]]
    x = torch.from_numpy(np.concatenate([pixels for pixels, _ in batches]).reshape(-1, 3, 32, 32))
    return Items(x, torch.from_numpy(np.concatenate([kinds for _, kinds in batches])) if labels else None)


def find(home: Path) -> Path | None:
    """An archive or an unpacked folder of it, at a path or in it."""
    if home.is_file():
        return home
    names = (*FOLDERS, *ARCHIVES)
    inside = [home] if (home / "data_batch_1").exists() or (home / "data_batch_1.bin").exists() else []
    return next((place for place in [*inside, *(home / name for name in names)] if place.exists()), None)


def fetch(target: Path) -> None:
    """Downloads the binary archive; it appears when it is whole and its checksum right.

    Raises:
        HgfctlError: no network, or another file than expected.
    """
    with replacing(target) as partial:
        try:
            with urllib.request.urlopen(URL, timeout=60) as answer, partial.open("wb") as file:
                while block := answer.read(1 << 20):
                    file.write(block)
        except OSError as error:
            raise HgfctlError(f"cannot fetch {URL}: {error}\nfetch it elsewhere and put it at {target}") from None
        _verify(partial, ARCHIVES[target.name], URL)


def _part(name: str, source: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (COUNT, PIXELS), uint8, and kinds (COUNT,), int64."""
    if source.is_dir():
        plain = (source / f"{name}.bin").exists()
        try:
            content = (source / (f"{name}.bin" if plain else name)).read_bytes()
        except OSError as error:
            raise RequestError(f"cannot read CIFAR-10's {name} in {source}: {error.strerror}") from None
    else:
        plain, content = _member(name, source)
    pixels, kinds = (_binary if plain else _pickled)(content, f"{source}: {name}")
    if pixels.shape != (COUNT, PIXELS) or kinds.shape != (COUNT,) or pixels.dtype != np.uint8 or kinds.max() > 9:
        raise RequestError(f"{source}: {name} does not hold {COUNT} images of CIFAR-10")
    return pixels, kinds


def _member(name: str, archive: Path) -> tuple[bool, bytes]:
    if archive.name in ARCHIVES:
        _verify(archive, ARCHIVES[archive.name], str(archive))
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                folder, _, file = member.name.rpartition("/")
                if folder.rpartition("/")[2] in FOLDERS and file in (name, f"{name}.bin"):
                    content = tar.extractfile(member)
                    assert content is not None
                    return file.endswith(".bin"), content.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise RequestError(f"cannot read {archive} as CIFAR-10's archive: {error}") from None
    raise RequestError(f"{archive} is not CIFAR-10's archive: it holds no {name}")


def _binary(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    if len(content) != COUNT * (PIXELS + 1):
        raise RequestError(f"{where} has {len(content)} bytes, not {COUNT * (PIXELS + 1)}")
    rows = np.frombuffer(content, np.uint8).reshape(COUNT, PIXELS + 1)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


def _pickled(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    batch = load_arrays(content, where)
    try:
        return batch[b"data"], np.asarray(batch[b"labels"], np.int64)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(f"{where} is not a part of CIFAR-10 ({error})") from None


def _verify(file: Path, expected: str, where: str) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    with file.open("rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    if digest.hexdigest() != expected:
        raise HgfctlError(f"{where} is damaged: its MD5 is {digest.hexdigest()}, not {expected}; fetch it again")
