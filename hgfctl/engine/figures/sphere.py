"""Maps of the sphere: both hemispheres in Lambert's equal-area projection, so that density is seen as it is."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from hgfctl.engine.figures.picture import Picture, from_figure
from hgfctl.engine.flows.so3 import SO3

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROUND = 1e-3
"""Relative differences of lengths below which points count as on one sphere."""


def on_a_sphere(x: Tensor) -> bool:
    """True where points (N, d) are those of a sphere around the origin of R^3."""
    if x.shape[1] != 3 or len(x) < 2:
        return False
    length = x.double().norm(dim=1)
    return bool(length.min() > (1 - ROUND) * length.max() > 0)


def are_rotations(x: Tensor) -> bool:
    """True where points (N, d) are rotation matrices."""
    return x.shape[1] == 9 and not bool(SO3().outside(x).any())


def sphere_map(x: Tensor, labels: Tensor | None = None) -> Picture:
    """Points (N, 3), coloured by labels (N,): the two hemispheres side by side."""
    colours: dict[str, Any] = {} if labels is None else {"c": labels.numpy(), "cmap": "tab10", "vmin": 0, "vmax": 9}
    return _drawn([[(x, True, "$z > 0$"), (x, False, "$z < 0$")]], colours)


def rotation_maps(x: Tensor, labels: Tensor | None = None) -> Picture:
    """Rotations (N, 9): where they take the three axes, the columns of their matrices.

    A colour says which points belong to one rotation: by labels (N,), or by the diagonal of its matrix.
    """
    columns = list(x.reshape(-1, 3, 3).unbind(2))
    colours: dict[str, Any] = {"c": 0.4 * (1 + x[:, [0, 4, 8]].double().clamp(-1, 1)).numpy()}
    if labels is not None:
        colours = {"c": labels.numpy(), "cmap": "tab10", "vmin": 0, "vmax": 9}
    named = list(zip(("first", "second", "third"), columns, strict=True))
    rows = [[(x, upper, f"{name} axis, $z {'>' if upper else '<'} 0$") for name, x in named] for upper in (True, False)]
    return _drawn(rows, colours)


def _drawn(rows: Sequence[Sequence[tuple[Tensor, bool, str]]], colours: dict[str, Any]) -> Picture:
    """Hemispheres: points (N, 3), whether it is the upper one, and a title each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(rows[0]), 4.2 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    for row, panels in zip(grid, rows, strict=True):
        for axes, (x, upper, title) in zip(row, panels, strict=True):
            _hemisphere(axes, x.double().cpu().numpy(), upper, colours)
            axes.set_title(title, fontsize=11)
    return from_figure(figure, dpi=110)


def _hemisphere(axes: "Axes", x: np.ndarray, upper: bool, colours: dict[str, Any]) -> None:
    """Seen from its pole z = 1, or, that of z = -1, through the ball: a longitude has the same direction in both.

    A point at angle a from the pole is drawn at distance sqrt(2) sin(a / 2), on the rim for a = pi / 2.
    """
    from matplotlib.patches import Circle

    for latitude in (0, 30, 60):
        radius = math.sqrt(2) * math.sin(math.radians(90 - latitude) / 2)
        axes.add_patch(Circle((0, 0), radius, fill=False, color="0.85" if latitude else "0.3", linewidth=0.8))
    for longitude in np.radians(np.arange(0, 360, 45)):
        axes.plot([0, np.cos(longitude)], [0, np.sin(longitude)], color="0.85", linewidth=0.8, zorder=0)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    here = (unit[:, 2] >= 0) == upper
    place = unit[here, :2] / np.sqrt(1 + np.abs(unit[here, 2:]))
    size = float(np.clip(8000 / len(x), 0.4, 12))
    shown = {**colours, "c": colours["c"][here]} if colours else {}
    axes.scatter(place[:, 0], place[:, 1], s=size, linewidths=0, **shown)
    axes.set(xlim=(-1.03, 1.03), ylim=(-1.03, 1.03), aspect="equal")
    axes.axis("off")
