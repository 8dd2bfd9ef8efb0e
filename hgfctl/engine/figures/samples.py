"""Samples at a glance: images in a grid, pixel for pixel; vectors as points of their first two coordinates; points on
the sphere, and rotations, on maps of the sphere.
"""

import math
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hgfctl.engine.figures.picture import Picture, from_figure, from_image
from hgfctl.engine.figures.sphere import are_rotations, on_a_sphere, rotation_maps, sphere_map
from hgfctl.storage.sample_files import to_bytes

SMALLEST_TILE = 32
"""Pixels; smaller images are enlarged by a whole factor, so that they can be seen and stay exact."""

GAP, GAP_GREY = 2, 64
"""Between tiles: pixels and their level."""


def samples_figure(x: Tensor, labels: Tensor | None = None) -> Picture:
    """x (N, C, H, W) images in [-1, 1] or (N, d) vectors; labels (N,) colour vectors, or make a class a column."""
    if x.ndim != 4:
        points = x.flatten(1)
        if on_a_sphere(points):
            return sphere_map(points, labels)
        if are_rotations(points):
            return rotation_maps(points, labels)
        return scatter(points.numpy(), labels)
    return images_grid(to_bytes(x), None if labels is None else _period(labels))


def _period(labels: Tensor) -> int | None:
    """After how many items the classes repeat, as the sampler's do; None when they do not, or the row would be long."""
    count = len(torch.unique(labels))
    cycled = 1 < count <= 16 and count < len(labels) and bool((labels[count:] == labels[:-count]).all())
    return count if cycled else None


def images_grid(images: np.ndarray, columns: int | None = None) -> Picture:
    """(N, H, W, C) uint8, row by row; as square as it can be, wider than high, unless `columns` says otherwise."""
    count, height, _, channels = images.shape
    factor = math.ceil(SMALLEST_TILE / height)
    tiles = images.repeat(factor, 1).repeat(factor, 2)
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = tiles.shape[1] + GAP, tiles.shape[2] + GAP
    grid = np.full((rows * height - GAP, columns * width - GAP, channels), GAP_GREY, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * height, i % columns * width
        grid[top : top + height - GAP, left : left + width - GAP] = tile
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
    if points.shape[1] > 2:
        axes.set_title(f"the first two of {points.shape[1]} coordinates", fontsize=10)
    return from_figure(figure)
