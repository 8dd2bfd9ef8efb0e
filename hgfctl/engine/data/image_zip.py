"""Writing images as one zip, in the form that EDM and StyleGAN read: the same bytes for the same images, everywhere."""

import io
import json
import zipfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from hgfctl.storage.atomic import replacing

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every member."""
AT_A_TIME = 1024


def write_zip(path: Path, images: Iterable[tuple[np.ndarray, int | None]]) -> int:
    """Writes 00000/img00000000.png, ... and dataset.json; returns how many images there were.

    Args:
        path: of the zip; it appears when it is whole.
        images: pixels (H, W, C) uint8, C = 1 or 3, and the class, or None for all of them.

    Raises:
        HgfctlError: it cannot be written.
    """
    labels: list[list[str | int]] = []
    count = 0
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for png, label in _encoded(images):
            name = f"{count // 1000:05d}/img{count:08d}.png"
            archive.writestr(zipfile.ZipInfo(name, EPOCH), png)
            if label is not None:
                labels.append([name, label])
            count += 1
        text = json.dumps({"labels": labels or None})
        archive.writestr(zipfile.ZipInfo("dataset.json", EPOCH), text)
    return count


def _encoded(images: Iterable[tuple[np.ndarray, int | None]]) -> Iterator[tuple[bytes, int | None]]:
    source = iter(images)
    with ThreadPoolExecutor() as pool:
        while part := list(islice(source, AT_A_TIME)):
            yield from zip(pool.map(_png, (pixels for pixels, _ in part)), (label for _, label in part), strict=True)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG", compress_level=6)
    return file.getvalue()
