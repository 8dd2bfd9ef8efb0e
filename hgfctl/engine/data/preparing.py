"""Images one after the other, cropped and resized: from files, or from any other finite data set."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from hgfctl.engine.data import DATA
from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.data.decoding import resized
from hgfctl.engine.data.files import admitted, files_of
from hgfctl.engine.data.image_stores import ImageStore
from hgfctl.engine.data.images import decode_all, usual_size
from hgfctl.engine.data.locate import kind_of, locate
from hgfctl.errors import RequestError


@dataclass(frozen=True)
class Prepared:
    """Images to be written.

    Args:
        count: how many.
        images: pixels (H, W, C), uint8, and the class, or None; each is made when it is asked for.
        skipped: "path: reason" of each image that is left out.
    """

    count: int
    images: Iterator[tuple[np.ndarray, int | None]]
    skipped: list[str]


def prepared(source: str, size: tuple[int, int] | None, skip_bad: bool) -> Prepared:
    """The images of a path or of a data set that needs none; files are looked at once before.

    Args:
        source: see `kind_of`.
        size: (height, width) to crop and resize to; None to leave them as they are.
        skip_bad: leave out files that cannot be used, rather than stop.

    Raises:
        RequestError: there are no images, or bad ones.
    """
    images_in = files_of(kind_of(source)).images
    if images_in is not None:
        return _from_files(images_in(locate(source)), size, skip_bad)
    data = finite(source, skip_bad)
    if len(data.shape) != 3:
        raise RequestError(f"{source} holds vectors of shape {data.shape}, not images")
    return Prepared(len(data), _from_items(data, size), [])


def finite(source: str, skip_bad: bool) -> Finite:
    """The data set of a path, or of a name that needs none.

    Raises:
        RequestError: there is no such thing, or it is endless.
    """
    kind = kind_of(source)
    path = None if kind == source else source
    data: DataSet = DATA.build(kind, ({} if path is None else {"path": path}) | admitted(kind, skip_bad=skip_bad))
    if not isinstance(data, Finite):
        raise RequestError(f"data '{source}' is a law, not a set: its items are drawn afresh and without end")
    return data


def _from_files(files: ImageStore, size: tuple[int, int] | None, skip_bad: bool) -> Prepared:
    shapes: dict[str, tuple[int, ...]] = {}
    bad: dict[str, str] = {}
    for name, pixels in decode_all(files, size):
        if isinstance(pixels, str):
            bad[name] = pixels
        else:
            shapes[name] = pixels.shape
    usual, grey = usual_size(shapes.values()), all(shape[2] == 1 for shape in shapes.values())
    for name, shape in shapes.items():
        if shape[:2] != usual:
            bad[name] = "is of another size than most; `resolution=N` makes them one"
    skipped = [f"{files.where(name)}: {bad[name]}" for name in files.names if name in bad]
    if len(bad) == len(files.names) or (bad and not skip_bad):
        raise RequestError(
            f"{len(bad)} of {len(files.names)} images cannot be used: {skipped[0]}\n`skip_bad` leaves such images out"
        )
    kept = [name for name in files.names if name not in bad]
    known = files.labels(kept)
    labels: list[int | None] = list(known[0]) if known else [None] * len(kept)

    def usable() -> Iterator[np.ndarray]:
        for name, pixels in decode_all(files, size, 1 if grey else 3):
            if name not in bad and not isinstance(pixels, str):
                yield pixels

    return Prepared(len(kept), zip(usable(), labels, strict=True), skipped)


def _from_items(data: Finite, size: tuple[int, int] | None) -> Iterator[tuple[np.ndarray, int | None]]:
    for i in range(len(data)):
        x, labels = data.at(torch.tensor([i]))
        pixels = ((x[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        if size is not None:
            image = resized(Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels), *size)
            pixels = np.asarray(image).reshape(*size, -1)
        yield pixels, None if labels is None else int(labels[0])
