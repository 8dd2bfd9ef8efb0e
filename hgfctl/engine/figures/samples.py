"""Samples at a glance: images in a grid, pixel for pixel; vectors as points of their first two coordinates."""

import math
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from hgfctl.engine.figures.picture import Picture, from_figure, from_image

SMALLEST_TILE = 32
"""Pixels; smaller images are enlarged by a whole factor, so that they can be seen and stay exact."""


def samples_figure(x: Tensor, labels: Tensor | None = None) -> Picture:
    """x (N, C, H, W) images in [-1, 1] or (N, d) vectors; labels (N,) colour vectors, and order nothing."""
    return images_grid(to_bytes(x)) if x.ndim == 4 else scatter(x.numpy(), labels)


def to_bytes(x: Tensor) -> np.ndarray:
    """Images (N, C, H, W) in [-1, 1] -> (N, H, W, C) uint8, rounded to the nearest of 256 levels."""
    return ((x + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def images_grid(images: np.ndarray) -> Picture:
    """(N, H, W, C) uint8, row by row in a grid as square as it can be, wider than high."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.zeros((rows * columns, height, width, channels), np.uint8)
    grid[:count] = images
    grid = grid.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    grid = grid.reshape(rows * height, columns * width, channels)
    factor = math.ceil(SMALLEST_TILE / height)
    grid = grid.repeat(factor, 0).repeat(factor, 1)
    return from_image(Image.fromarray(grid.squeeze(-1) if channels == 1 else grid))


def scatter(points: np.ndarray, labels: Tensor | None) -> Picture:
    """(N, d), d >= 1: the first two coordinates, or a histogram where there is only one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    if points.shape[1] == 1:
        axes.hist(points[:, 0], bins=100, density=True)
        axes.set(xlabel="$x$", ylabel="density")
        return from_figure(figure)
    size = float(np.clip(4000 / len(points), 0.2, 12))
    colour: dict[str, Any] = {} if labels is None else {"c": labels, "cmap": "tab10"}
    axes.scatter(points[:, 0], points[:, 1], s=size, linewidths=0, **colour)
    axes.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return from_figure(figure)
