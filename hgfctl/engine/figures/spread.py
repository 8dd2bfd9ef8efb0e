"""How laws are drawn that move in time: densities of particles, the contours that hold a share of them, and colours."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

START, MIDDLE, END = "#1f6fd6", "#8a4fc0", "#d62f2f"
"""Colours of t = 0, of half the way, and of the end."""
CELLS = 240
"""A side of the window."""
SMOOTH = 2.0
"""Standard deviation of the smoothing, in cells; on a line half as much again."""
TAIL = 4e-3
"""Share of the particles at one time that a window may cut off at each end."""


class Cells(NamedTuple):
    """A density on a lattice: the centres of its cells, (n,) each, and its values (n, n), x first."""

    x: np.ndarray
    y: np.ndarray
    density: np.ndarray


@cache
def course_colours() -> "Colormap":
    """From START to END."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("course", [START, MIDDLE, END])


def window(clouds: np.ndarray, paths: np.ndarray) -> tuple[float, float]:
    """Holds nearly all particles of each cloud (times, N), and the paths; symmetric about the origin."""
    reach = max(float(np.quantile(np.abs(clouds), 1 - TAIL, axis=1).max()), float(np.abs(paths).max()))
    return -1.08 * reach, 1.08 * reach


def density_2d(x: np.ndarray, y: np.ndarray, x_window: tuple[float, float], y_window: tuple[float, float]) -> Cells:
    """The density of particles (N,), smoothed."""
    from scipy.ndimage import gaussian_filter

    counts, x_edges, y_edges = np.histogram2d(x, y, bins=CELLS, range=[x_window, y_window])
    area = (x_edges[1] - x_edges[0]) * (y_edges[1] - y_edges[0])
    density = gaussian_filter(counts, SMOOTH, mode="nearest") / (len(x) * area)
    return Cells(_centres(x_edges), _centres(y_edges), density)


def density_1d(x: np.ndarray, frame: tuple[float, float], reflecting: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The density of particles (N,), smoothed: centres and values; `reflecting` where the window ends at walls."""
    from scipy.ndimage import gaussian_filter1d

    counts, edges = np.histogram(x, bins=CELLS, range=frame)
    smooth = gaussian_filter1d(counts.astype(float), 1.5 * SMOOTH, mode="reflect" if reflecting else "constant")
    return _centres(edges), smooth / (len(x) * (edges[1] - edges[0]))


def levels(density: np.ndarray, masses: Sequence[float]) -> list[float]:
    """The densities above which the given shares of the particles lie, rising."""
    falling = np.sort(density, axis=None)[::-1]
    share = np.cumsum(falling) / falling.sum()
    return sorted({float(falling[np.searchsorted(share, mass)]) for mass in masses})


def _centres(edges: np.ndarray) -> np.ndarray:
    centres: np.ndarray = (edges[:-1] + edges[1:]) / 2
    return centres
