"""Patches of the two photographs that scikit-learn ships: natural images, small enough to come with the library."""

from typing import Literal

import numpy as np
import torch

from hgfctl.engine.data.dataset import Items

HALF = 2
"""The photographs are halved first, by means of 2 x 2 pixels: at full size neighbours hardly differ."""
TRAINED_ON = 0.8
"""Share of each photograph's width, from the left, that training sees; held-out patches lie right of it."""


def patches(
    split: Literal["train", "held-out"] = "train", size: int = 16, channels: Literal[1, 3] = 1, stride: int = 2
) -> Items:
    """Data set `patches`: squares of china.jpg and flower.jpg, (channels, size, size) in [-1, 1], no classes.

    Args:
        split: train or held-out; no pixel is in both.
        size: a side, pixels of the halved photographs (213 x 320).
        channels: 1 (grey: the mean of red, green and blue) or 3.
        stride: between the corners of neighbouring patches, pixels.
    """
    from sklearn.datasets import load_sample_images

    if not 1 <= size <= 64:
        raise ValueError(f"size is a side of 1 to 64 pixels, not {size}")
    if stride < 1:
        raise ValueError(f"stride must be 1 or more, not {stride}")
    squares = []
    for photograph in load_sample_images().images:
        height, width = (HALF * (side // HALF) for side in photograph.shape[:2])
        x = torch.from_numpy(photograph[:height, :width].astype(np.float64)).permute(2, 0, 1)
        x = torch.nn.functional.avg_pool2d(x, HALF)
        x = x.mean(0, keepdim=True) if channels == 1 else x
        border = round(TRAINED_ON * x.shape[2])
        x = x[:, :, :border] if split == "train" else x[:, :, border:]
        found = x.unfold(1, size, stride).unfold(2, size, stride)  # (C, rows, columns, size, size)
        squares.append(found.permute(1, 2, 0, 3, 4).reshape(-1, channels, size, size))
    return Items(torch.cat(squares).round().to(torch.uint8), None)
