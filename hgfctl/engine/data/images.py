"""Image files as data: folders and zips, in memory where they fit, else decoded as they are needed."""

import hashlib
import math
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.data.dataset import Batch, Finite, Items, to_floats
from hgfctl.engine.data.decoding import Channels, decoded
from hgfctl.engine.data.files import Files, Form, reads
from hgfctl.engine.data.image_stores import ImageStore, store
from hgfctl.engine.data.locate import locate
from hgfctl.engine.randomness import generator
from hgfctl.errors import RequestError

GIB = 2**30
MOMENTS_FROM = 10_000
"""Images, at most, from which the root mean square of a set that is not in memory is measured."""


@dataclass
class Images(Items):
    """Images in memory.

    Args:
        x: (N, C, H, W), uint8.
        labels: (N,) or None.
        class_names: of classes 0, 1, ...
        skipped: "path: reason" of each image left out.
    """

    class_names: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    resizable: ClassVar[bool] = True


class StoredImages(Finite):
    """Images that are decoded, by several threads, when they are needed.

    Args:
        images: where they lie.
        names: of those to use.
        shape: of all of them, (C, H, W).
        labels: (N,) or None.
        resized: to resize them to `shape`.
        class_names, skipped: see `Images`.
    """

    levels = 256
    resizable = True

    def __init__(
        self,
        images: ImageStore,
        names: list[str],
        shape: tuple[int, ...],
        labels: Tensor | None,
        resized: bool,
        class_names: Sequence[str],
        skipped: Sequence[str],
    ) -> None:
        self.images, self.names, self.shape, self.labels = images, names, shape, labels
        self.resized, self.class_names, self.skipped = resized, class_names, skipped
        self.classes = 0 if labels is None else int(labels.max()) + 1
        self._pool = ThreadPoolExecutor(thread_name_prefix="decoder")

    def __len__(self) -> int:
        return len(self.names)

    def at(self, index: Tensor) -> Batch:
        pixels = np.stack(list(self._pool.map(self._decoded, index.tolist())))
        x = to_floats(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous())
        return Batch(x, None if self.labels is None else self.labels[index])

    def only(self, index: Tensor) -> "StoredImages":
        names = [self.names[i] for i in index.tolist()]
        labels = None if self.labels is None else self.labels[index]
        chosen = StoredImages(self.images, names, self.shape, labels, self.resized, self.class_names, self.skipped)
        chosen.classes = self.classes
        return chosen

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.shape} {self.resized}".encode())
        for first in range(0, len(self), 1024):  # not all at once: they would all wait in memory
            for content in self._pool.map(self.images.read, self.names[first : first + 1024]):
                digest.update(hashlib.sha256(content).digest())
        return digest.hexdigest()

    def root_mean_square(self) -> float:
        chosen = torch.randperm(len(self), generator=generator("moments"))[:MOMENTS_FROM]
        parts = torch.split(chosen, 512)
        total = sum((float(self.at(part).x.double().square().sum()) for part in parts), 0.0)
        return float((total / len(chosen) / math.prod(self.shape)) ** 0.5)

    def _decoded(self, i: int) -> np.ndarray:
        channels, height, width = self.shape
        pixels = _pixels(self.images, self.names[i], (height, width) if self.resized else None, channels)  # type: ignore[arg-type]
        if isinstance(pixels, str):
            raise RequestError(f"{self.images.where(self.names[i])}: {pixels}; it could be when the training began")
        return pixels


def _form(options: Mapping[str, Any]) -> Form | None:
    side = options.get("resolution")
    return None if side is None else Form((options.get("channels") or 3, side, side), 0)


def _any_place(place: Path) -> bool:
    return True


@reads(Files(endings=(".zip",), holds=_any_place, last=True, images=store, form=_form))
def folder(
    path: str,
    resolution: int | None = None,
    channels: Channels | None = None,
    labels: bool = True,
    skip_bad: bool = False,
    memory_gib: float = 8.0,
    origin: str = "",
) -> Images | StoredImages:
    """Data set `folder`: the images below a folder or in a zip. A dataset.json says their classes, or else the folders
    that they lie in. Grey if all images are, else RGB.

    Args:
        path: the folder or zip; see `locate`.
        resolution: crop the middle square of each image and resize it to this (Lanczos); when left out, all images
            must be of one size.
        channels: 1 to make all grey, 3 to make all RGB.
        labels: false to take no notice of classes.
        skip_bad: leave out images that cannot be read or have another size, rather than stop.
        memory_gib: images that take more than this are not kept in memory, but decoded as they are needed.
        origin: how to get the data, said where they are missing.

    Raises:
        RequestError: no such folder or zip, no image, a bad image (named), or labels for some images only.
    """
    source = store(locate(path, origin))
    side = None if resolution is None else (resolution, resolution)
    found = _read(source, side, channels, memory_gib * GIB)
    size = usual_size(found.shapes.values())
    bad = found.unreadable | {
        name: f"is {_size(s)}, and most are {_size(size)}" for name, s in found.shapes.items() if s[:2] != size
    }
    skipped = [f"{source.where(name)}: {bad[name]}" for name in source.names if name in bad]
    kept = [name for name in source.names if name not in bad]
    if not kept:
        raise RequestError(f"none of the {len(source.names)} images in {source.path} can be used; {skipped[0]}")
    if skipped and not skip_bad:
        hint = "; `data.resolution=N` (`resolution=N` of eval-fid) makes all of them N x N"
        raise RequestError(
            f"{len(skipped)} of {len(source.names)} images cannot be used: {skipped[0]}\n"
            "`skip_bad` leaves such images out" + ("" if found.unreadable else hint)
        )
    known = source.labels(kept) if labels else None
    classes, names = (None, []) if known is None else (torch.tensor(known[0]), known[1])
    depth = max(found.shapes[name][2] for name in kept)
    if found.pixels is None:
        return StoredImages(source, kept, (depth, *size), classes, side is not None, names, skipped)
    x = _stacked([found.pixels[name] for name in kept], depth)
    return Images(x, classes, names, skipped)


@dataclass
class _Found:
    """Images of a store, by their names: pixels (H, W, C), if they are kept; shapes; what is wrong with the others."""

    pixels: dict[str, np.ndarray] | None = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def _read(source: ImageStore, side: tuple[int, int] | None, channels: Channels | None, most_bytes: float) -> _Found:
    """Decodes every image; pixels are kept unless they take more than so many bytes."""
    found = _Found()
    used = 0
    for name, image in decode_all(source, side, channels):
        if isinstance(image, str):
            found.unreadable[name] = image
            continue
        found.shapes[name] = image.shape
        used += image.nbytes
        if used > most_bytes:
            found.pixels = None
        elif found.pixels is not None:
            found.pixels[name] = image
    return found


def _stacked(images: Sequence[np.ndarray], depth: int) -> Tensor:
    """Images (H, W, 1 or depth) -> (N, depth, H, W)."""
    whole = np.stack([image if image.shape[2] == depth else image.repeat(depth, 2) for image in images])
    return torch.from_numpy(whole).permute(0, 3, 1, 2).contiguous()


def usual_size(shapes: Iterable[tuple[int, ...]]) -> tuple[int, int]:
    """The most frequent (H, W) of shapes (H, W, ...); the first one of several; (0, 0) of none."""
    counted = Counter(shape[:2] for shape in shapes).most_common(1)
    return (counted[0][0][0], counted[0][0][1]) if counted else (0, 0)


def decode_all(
    source: ImageStore,
    resolution: tuple[int, int] | None = None,
    channels: Channels | None = None,
) -> Iterator[tuple[str, np.ndarray | str]]:
    """Every image of a store in order, by several threads: name, and pixels (H, W, C) or what is wrong with it.

    Args:
        source: where they lie.
        resolution, channels: see `decoded`.
    """
    names = source.names
    with ThreadPoolExecutor() as pool:
        for first in range(0, len(names), 1024):  # not all at once: they would all wait in memory
            part = names[first : first + 1024]
            yield from zip(part, pool.map(lambda name: _pixels(source, name, resolution, channels), part), strict=True)


def _pixels(
    source: ImageStore, name: str, resolution: tuple[int, int] | None, channels: Channels | None
) -> np.ndarray | str:
    try:
        content = source.read(name)
    except (OSError, zipfile.BadZipFile, ValueError, EOFError) as error:
        return f"cannot be read ({(str(error).splitlines() or ['?'])[0]})"
    return decoded(content, resolution, channels)


def _size(shape: tuple[int, ...]) -> str:
    """(H, W) -> "W x H", as sizes of images are said."""
    return f"{shape[1]} x {shape[0]}"
