"""Samples on disk: an .npz array, one grid image, or a folder of PNGs; written as they are made, seen when whole.

FILE.npz   images (N, H, W, C) uint8, or samples (N, d) float32; labels (N,) where there are classes; seeds (N,)
FILE.png   a grid of images, or a scatter plot of vectors
FOLDER     <seed>.png each; dataset.json with the labels, in EDM's form, where there are classes
"""

import json
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from hgfctl.errors import RequestError
from hgfctl.storage.atomic import replacing, replacing_folder

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_GRID = 10_000
"""Items in one picture; a grid is kept in memory until it is written."""

Write = Callable[["Tensor"], None]
"""Takes the next samples: (B, C, H, W) images in [-1, 1] or (B, d) vectors."""


Draw = Callable[["Tensor", "Tensor | None"], "Drawing"]
"""Draws all samples, with their labels, in one picture."""


class Drawing(Protocol):
    """A picture that can be written."""

    def save(self, path: Path) -> None:
        """Writes it, whole or not at all."""


@contextmanager
def writing(
    path: Path, shape: tuple[int, ...], seeds: "Tensor", labels: "Tensor | None", draw: Draw
) -> Iterator[Write]:
    """The file or folder at `path`, by its ending; it appears when the block ends well.

    Args:
        path: ends in .npz or .png, or is a folder.
        shape: of an item.
        seeds, labels: (N,), of all items that will be written.
        draw: makes the picture, where a picture is what is wanted.

    Raises:
        RequestError: unknown ending, a folder that is not empty, or too large a grid; nothing is written.
        HgfctlError: it cannot be written.
    """
    if path.suffix == ".npz":
        kind = _array
    elif path.suffix == ".png":
        if len(seeds) > LARGEST_GRID:
            raise RequestError(
                f"a picture of {len(seeds)} samples shows nothing (most: {LARGEST_GRID}); use .npz or a folder"
            )
        kind = partial(_grid, draw=draw)
    elif path.suffix and not path.is_dir():
        raise RequestError(f"`out` {path}: end it in .npz or .png, or name a folder (without an ending)")
    else:
        if len(shape) != 3:
            raise RequestError(
                f"`out` {path}: vectors of shape {shape} are no images; end it in .npz, or in .png for a plot"
            )
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RequestError(f"`out` {path} exists and is no empty folder; name another, or remove it")
        kind = _folder
    with kind(path, shape, seeds, labels) as write:
        yield write


def to_bytes(x: "Tensor") -> np.ndarray:
    """Images (N, C, H, W) in [-1, 1] -> (N, H, W, C) uint8, rounded to the nearest of 256 levels."""
    return ((x + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


@contextmanager
def _array(path: Path, shape: tuple[int, ...], seeds: "Tensor", labels: "Tensor | None") -> Iterator[Write]:
    images = len(shape) == 3
    item, dtype = ((*shape[1:], shape[0]), np.uint8) if images else (shape, np.float32)
    with replacing(path) as unfinished, zipfile.ZipFile(unfinished, "w") as archive:
        small = {"seeds": seeds} if labels is None else {"seeds": seeds, "labels": labels}
        for name, values in small.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, values.numpy(), allow_pickle=False)
        with archive.open("images.npy" if images else "samples.npy", "w", force_zip64=True) as file:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, {**header, "shape": (len(seeds), *item)})

            def write(x: "Tensor") -> None:
                file.write((to_bytes(x) if images else x.numpy().astype(np.float32)).tobytes())

            yield write


@contextmanager
def _grid(path: Path, shape: tuple[int, ...], seeds: "Tensor", labels: "Tensor | None", draw: Draw) -> Iterator[Write]:
    import torch

    parts: list[Tensor] = []
    yield parts.append
    draw(torch.cat(parts), labels).save(path)


@contextmanager
def _folder(path: Path, shape: tuple[int, ...], seeds: "Tensor", labels: "Tensor | None") -> Iterator[Write]:
    from PIL import Image

    names = iter([f"{seed:06d}.png" for seed in seeds.tolist()])
    with replacing_folder(path) as unfinished:

        def write(x: "Tensor") -> None:
            for pixels in to_bytes(x):
                Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(unfinished / next(names))

        yield write
        if labels is not None:
            pairs = [[f"{seed:06d}.png", label] for seed, label in zip(seeds.tolist(), labels.tolist(), strict=True)]
            (unfinished / "dataset.json").write_text(json.dumps({"labels": pairs}), encoding="utf-8")
