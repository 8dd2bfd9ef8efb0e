"""Between two items: images in a row each, vectors as curves in the plane of their first two coordinates."""

import numpy as np
from torch import Tensor

from hgfctl.engine.figures.picture import Picture, from_figure
from hgfctl.engine.figures.samples import images_grid
from hgfctl.storage.sample_files import to_bytes


def interpolation_figure(x: Tensor, background: Tensor | None = None) -> Picture:
    """The ways between pairs of items.

    Args:
        x: (F, B, C, H, W) images in [-1, 1] or (F, B, d) vectors, d >= 2; F fractions of the way for each of B pairs.
        background: (N, d) of the data, drawn faintly.
    """
    if x.ndim == 5:
        return images_grid(to_bytes(x.transpose(0, 1).flatten(0, 1)), columns=len(x))
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.add_subplot()
    if background is not None:
        axes.scatter(background[:, 0], background[:, 1], s=2, linewidths=0, color="0.8", zorder=1)
    fractions = np.linspace(0, 1, len(x))
    for curve in x[..., :2].double().transpose(0, 1).numpy():
        pieces = LineCollection(np.stack([curve[:-1], curve[1:]], 1).tolist(), cmap="viridis", linewidths=1.5, zorder=2)
        pieces.set_array((fractions[:-1] + fractions[1:]) / 2)
        pieces.set_clim(0, 1)
        axes.add_collection(pieces)
        axes.scatter(curve[:, 0], curve[:, 1], c=fractions, cmap="viridis", vmin=0, vmax=1, s=9, linewidths=0, zorder=3)
        ends = curve[[0, -1]]
        axes.scatter(ends[:, 0], ends[:, 1], s=45, facecolors="none", edgecolors="black", linewidths=1, zorder=4)
    axes.autoscale_view()
    axes.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    figure.colorbar(pieces, ax=axes, label="fraction of the way", shrink=0.8)
    return from_figure(figure)
