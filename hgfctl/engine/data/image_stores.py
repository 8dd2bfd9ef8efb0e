"""Places where image files lie: a folder, or a zip as EDM and StyleGAN write it; both give names, bytes, labels."""

import json
import os
import threading
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from hgfctl.errors import RequestError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")
LABELS = "dataset.json"
"""{"labels": [["00000/img00000000.png", 6], ...]} or {"labels": null}."""


class ImageStore(ABC):
    """Image files with names, in order of their names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def names(self) -> list[str]:
        """Names of the image files, with / between folders.

        Raises:
            RequestError: there are none.
        """
        found = sorted(name for name in self._files() if name.lower().endswith(ENDINGS) and not _hidden(name))
        if not found:
            raise RequestError(f"no image in {self.path} (looked for {', '.join(ENDINGS)})")
        return found

    def where(self, name: str) -> str:
        """How a message calls a file."""
        return str(self.path / name)

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The file's content; from any thread.

        Raises:
            OSError, zipfile.BadZipFile: it cannot be read.
        """

    def labels(self, names: Sequence[str]) -> tuple[list[int], list[str]] | None:
        """Classes of these images, and the names of the classes: from dataset.json, or else the folders that the images
        lie in; None where there are none.

        Raises:
            RequestError: some images have one and some have not, or dataset.json is not of its form.
        """
        if LABELS in self._files():
            return self._declared(names)
        folders = [name.split("/")[0] if "/" in name else None for name in names]
        classes = sorted({folder for folder in folders if folder is not None})
        if len(classes) < 2:
            return None
        bare = [name for name, folder in zip(names, folders, strict=True) if folder is None]
        if bare:
            raise RequestError(
                f"{len(bare)} images lie beside the class folders of {self.path}, the first of them {bare[0]}: "
                "which class?\nmove them into one, or train without classes: `data.labels=false`"
            )
        number = {name: i for i, name in enumerate(classes)}
        return [number[folder] for folder in folders if folder is not None], classes

    def _declared(self, names: Sequence[str]) -> tuple[list[int], list[str]] | None:
        where = self.where(LABELS)
        try:
            pairs = json.loads(self.read(LABELS))["labels"]
            known: Mapping[str, int] | None = None if pairs is None else dict(pairs)
        except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile):
            raise RequestError(f'{where} is not of the form {{"labels": [["a.png", 6], ...]}}') from None
        if not known:
            return None
        missing = [name for name in names if name not in known]
        if missing:
            raise RequestError(
                f"{where} has no label for {len(missing)} of {len(names)} images, the first of them {missing[0]}\n"
                "add them, or train without classes: `data.labels=false`"
            )
        labels = [known[name] for name in names]
        wrong = next((label for label in labels if type(label) is not int or label < 0), None)
        if wrong is not None:
            raise RequestError(f"{where}: labels are whole numbers from 0, and one is {wrong!r}")
        return labels, [str(i) for i in range(max(labels) + 1)]

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset(self._list())

    def _files(self) -> frozenset[str]:
        return self._all

    @abstractmethod
    def _list(self) -> Sequence[str]:
        """All files."""


class FolderStore(ImageStore):
    """Files below a folder."""

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def _list(self) -> list[str]:
        return [file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()]


class ZipStore(ImageStore):
    """Members of a zip. Each thread of each process opens the archive for itself: a shared one reads garbage."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._open = threading.local()
        try:
            with zipfile.ZipFile(path) as archive:
                self._members = [info.filename for info in archive.infolist() if not info.is_dir()]
        except (OSError, zipfile.BadZipFile) as error:
            raise RequestError(f"cannot read {path} as a zip file: {error}") from None

    def where(self, name: str) -> str:
        return f"{self.path}:{name}"

    def read(self, name: str) -> bytes:
        if getattr(self._open, "process", None) != os.getpid():
            self._open.archive, self._open.process = zipfile.ZipFile(self.path), os.getpid()
        content: bytes = self._open.archive.read(name)
        return content

    def _list(self) -> list[str]:
        return self._members


def store(path: Path) -> ImageStore:
    """The images of a folder or a zip.

    Raises:
        RequestError: neither, or a damaged zip.
    """
    if path.is_dir():
        return FolderStore(path)
    if path.suffix.lower() == ".zip":
        return ZipStore(path)
    raise RequestError(f"{path} is neither a folder nor a .zip of images; .npz and .npy files are data.name=array")


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
