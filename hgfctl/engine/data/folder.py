"""A folder of images: read once into memory as uint8, by several threads."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from hgfctl.engine.data.dataset import Items
from hgfctl.engine.data.locate import locate
from hgfctl.errors import RequestError

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".ppm", ".pgm", ".tif", ".tiff")


@dataclass
class ImageFolder(Items):
    """Images of a folder.

    Args:
        x: (N, C, H, W), uint8.
        labels: (N,) or None.
        class_names: the subfolders that stand for classes 0, 1, ...
        skipped: "path: reason" of each image left out.
    """

    class_names: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def folder(path: str, resolution: int | None = None, skip_bad: bool = False) -> ImageFolder:
    """Data set `folder`: all images below a folder. Its immediate subfolders are the classes, if every image is in one.

    Grey if all images are, else RGB.

    Args:
        path: of the folder; see `locate`.
        resolution: crop the middle square of each image and resize it to this (Lanczos); when left out, all images
            must be squares of one size.
        skip_bad: leave out images that cannot be read or have another size, rather than stop.

    Raises:
        RequestError: no folder, no image, or a bad image (named).
    """
    root = locate(path)
    if not root.is_dir():
        raise RequestError(f"{root} is not a folder; data.name=array reads .npz and .npy files")
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in ENDINGS and not _hidden(file, root))
    if not files:
        raise RequestError(f"no image below {root} (looked for {', '.join(ENDINGS)})")
    mode: Literal["L", "RGB"] = "L" if all(_is_grey(file) for file in files) else "RGB"
    with ThreadPoolExecutor() as pool:
        read = list(pool.map(lambda file: _read(file, resolution, mode), files))
    size = next((image.shape[0] for image in read if isinstance(image, np.ndarray) and _square(image)), None)
    images, kept, skipped = [], [], []
    for file, image in zip(files, read, strict=True):
        problem = image if isinstance(image, str) else _misfit(image, size)
        if problem is None:
            images.append(image)
            kept.append(file)
        elif skip_bad:
            skipped.append(f"{file}: {problem}")
        else:
            raise RequestError(f"{file}: {problem}\n--skip-bad leaves such images out{_resize_hint(image)}")
    if not images:
        raise RequestError(f"none of the {len(files)} images below {root} can be used; the first: {skipped[0]}")
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    labels, names = _classes(kept, root)
    return ImageFolder(x, labels, names, skipped)


def _read(file: Path, resolution: int | None, mode: str) -> np.ndarray | str:
    """(H, W, C) uint8, or what is wrong."""
    try:
        with Image.open(file) as source:
            image = source.convert(mode)
    except Exception as error:  # a decoder may fail in any way on a file that is no image
        return f"cannot be read ({_reason(error)})"
    if resolution is not None:
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        image = image.crop(box).resize((resolution, resolution), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _is_grey(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            return image.mode in ("1", "L", "I;16")
    except Exception:  # what is wrong with it is said when it is read
        return True


def _misfit(image: np.ndarray, size: int | None) -> str | None:
    height, width = image.shape[:2]
    if not _square(image):
        return f"is {width} x {height}, not square"
    return None if height == size else f"is {width} x {height}, and the images before it are {size} x {size}"


def _square(image: np.ndarray) -> bool:
    return image.shape[0] == image.shape[1]


def _resize_hint(image: np.ndarray | str) -> str:
    return "" if isinstance(image, str) else "; --set data.resolution=N crops and resizes all of them to N x N"


def _classes(files: Sequence[Path], root: Path) -> tuple[torch.Tensor | None, list[str]]:
    parts = [file.relative_to(root).parts for file in files]
    if any(len(part) == 1 for part in parts):
        return None, []
    names = sorted({part[0] for part in parts})
    if len(names) == 1:
        return None, []
    number = {name: i for i, name in enumerate(names)}
    return torch.tensor([number[part[0]] for part in parts]), names


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _reason(error: Exception) -> str:
    return (
        "not an image"
        if isinstance(error, UnidentifiedImageError)
        else (str(error).splitlines() or [type(error).__name__])[0]
    )
