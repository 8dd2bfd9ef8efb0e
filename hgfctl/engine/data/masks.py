"""Masks: the part of an item that is hidden."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.data.locate import locate
from hgfctl.errors import RequestError


def mask(text: str, shape: tuple[int, ...]) -> Tensor:
    """left-half, right-half, top-half, bottom-half or centre of images, first-half of vectors; else the path of a
    picture of the images' size, white where they are hidden.

    Returns:
        bool, of the shape of an item, true where it is hidden.

    Raises:
        RequestError: none of these.
    """
    known = _image_parts(*shape[1:]) if len(shape) == 3 else {"first-half": (slice(shape[0] // 2),)}
    hidden = torch.zeros(shape, dtype=torch.bool)
    if text in known:
        hidden[(..., *known[text])] = True
        return hidden
    if len(shape) != 3 or Path(text).suffix.lower() not in (".png", ".jpg", ".jpeg", ".bmp", ".webp"):
        raise RequestError(f"`mask` {text}: none of {', '.join(known)}" + (", and no picture" * (len(shape) == 3)))
    return hidden | _picture(locate(text), shape[1], shape[2])


def _image_parts(height: int, width: int) -> dict[str, tuple[slice, ...]]:
    every = slice(None)
    return {
        "left-half": (every, slice(width // 2)),
        "right-half": (every, slice(width // 2, None)),
        "top-half": (slice(height // 2), every),
        "bottom-half": (slice(height // 2, None), every),
        "centre": (slice(height // 4, height - height // 4), slice(width // 4, width - width // 4)),
    }


def _picture(path: Path, height: int, width: int) -> Tensor:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            grey = np.asarray(picture.convert("L"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise RequestError(f"`mask` {path}: cannot be read as a picture ({error})") from None
    if grey.shape != (height, width):
        raise RequestError(f"`mask` {path} has {grey.shape[1]} x {grey.shape[0]} pixels, the images {width} x {height}")
    return torch.from_numpy(grey > 127)
