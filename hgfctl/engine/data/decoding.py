"""From the bytes of an image file to pixels."""

import io
import zlib
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

Channels = Literal[1, 3]
"""Grey or RGB."""


def decoded(content: bytes, resolution: tuple[int, int] | None, channels: Channels | None) -> np.ndarray | str:
    """Pixels (H, W, C), uint8, or what is wrong with the file, in a few words.

    What is transparent is laid on white.

    Args:
        content: of the file.
        resolution: (height, width) to crop the middle to, in its proportions, and resize to (Lanczos); None: as it is.
        channels: 1 for grey, 3 for RGB; None for what the image has.
    """
    try:
        with Image.open(io.BytesIO(content)) as source:
            image = _in_mode(source, channels)
    except (OSError, ValueError, SyntaxError, EOFError, zlib.error, Image.DecompressionBombError) as error:
        return f"cannot be read ({_reason(error)})"
    pixels = np.asarray(image if resolution is None else resized(image, *resolution))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def resized(image: Image.Image, height: int, width: int) -> Image.Image:
    """The largest part of the proportions wanted, from the middle, resized (Lanczos); untouched where it fits."""
    if image.size == (width, height):
        return image
    scale = min(image.width / width, image.height / height)
    across, down = round(scale * width), round(scale * height)
    left, top = (image.width - across) // 2, (image.height - down) // 2
    box = (left, top, left + across, top + down)
    return image.crop(box).resize((width, height), Image.Resampling.LANCZOS)


def _in_mode(source: Image.Image, channels: Channels | None) -> Image.Image:
    if "A" in source.getbands() or "transparency" in source.info:
        layer = source.convert("RGBA")
        source = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    grey = source.mode in ("1", "L", "I;16") if channels is None else channels == 1
    if source.mode == "I;16":  # which PIL would clip, not scale
        return Image.fromarray((np.asarray(source) >> 8).astype(np.uint8)).convert("L" if grey else "RGB")
    return source.convert("L" if grey else "RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return (str(error).splitlines() or [type(error).__name__])[0]
