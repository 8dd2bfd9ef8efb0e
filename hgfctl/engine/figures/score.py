"""A score in the plane: density, learned score, true score, and the HVP that should vanish (HSM24, figure 1)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.data.density import ExactDensity, known_density
from hgfctl.engine.figures.picture import Picture, from_figure
from hgfctl.engine.metrics.score_report import score_hvp
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.quiver import Quiver

    from hgfctl.engine.checkpoint import Checkpoint

ARROWS = 21
"""A side."""
PIXELS = 200
"""A side, of the density."""
FAINT = 12.0
"""Nats below its peak at which a density counts as absent: no field is learned there, and no arrow drawn."""


@dataclass(frozen=True)
class ScorePicture:
    """The fields and draws of one picture.

    Args:
        points: draws of the data, (N, 2).
        score: the learned field, (B, 2) -> (B, 2).
        hvp: V(x, t) under that field as the force, (B, 2) -> (B, 2).
        t: of V.
        density: the law of the data, where it is known.
    """

    points: Tensor
    score: Callable[[Tensor], Tensor]
    hvp: Callable[[Tensor], Tensor]
    t: float
    density: ExactDensity | None


def picture_of(model: "Checkpoint", noise: float | None, t: float) -> ScorePicture:
    """A trained score in the plane on its own data.

    Args:
        model: a checkpoint.
        noise: level, for a flow or a noise-conditional score; None for the score of the data themselves.
        t: of V.

    Raises:
        RequestError: the model has no such score, or its data do not lie in the plane.
    """
    from hgfctl.engine.parts import data_of, fresh_network

    if model.shape != (2,):
        raise RequestError(f"scores are drawn in the plane, and this one is of items of shape {model.shape}")
    place = next(model.model.parameters()).device
    field = model.score(noise)
    data = data_of(model.config)
    data = data if noise is None else data.noised(noise)
    sd = math.hypot(model.model.root_mean_square, noise or 0.0)
    critic = fresh_network(model.config, model.shape, model.classes).to(place)
    return ScorePicture(
        points=data.batch(0, 20_000, 0).x,
        score=torch.no_grad()(lambda x: field(x.float().to(place), None).cpu().double()),
        hvp=score_hvp(field, data, t, sd, critic),
        t=t,
        density=known_density(data),
    )


def score_figure(picture: ScorePicture) -> Picture:
    """All fields to one scale, V divided by t: V/t tends to the learned score's error as t -> 0."""
    from matplotlib.figure import Figure

    reach = 1.05 * float(np.quantile(picture.points.abs().numpy(), 0.9995))
    side = torch.linspace(-reach, reach, ARROWS, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    grid = grid[_present(picture, grid, reach)]
    fields = {"learned score": picture.score(grid)}
    if picture.density is not None:
        fields["true score"] = picture.density.score(grid)
    fields[f"HVP of the learned score, $V(x, {picture.t:g})\\,/\\,{picture.t:g}$"] = picture.hvp(grid) / picture.t
    longest = max(float(field.norm(dim=1).quantile(0.95)) for field in fields.values())

    figure = Figure(figsize=(4.1 * (1 + len(fields)), 4.6), layout="constrained")
    axes = figure.subplots(1, 1 + len(fields))
    _density(axes[0], picture, reach)
    drawn = None
    for panel, (name, field) in zip(axes[1:], fields.items(), strict=True):
        drawn = _field(panel, grid, field, longest, reach)
        panel.set_title(name, fontsize=11)
    for panel in axes:
        panel.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    assert drawn is not None
    figure.colorbar(drawn, ax=axes[-1], shrink=0.8, label="length")
    return from_figure(figure)


def _present(picture: ScorePicture, grid: Tensor, reach: float) -> Tensor:
    """Where there are data: by the density, or by the draws around a point."""
    if picture.density is not None:
        log = picture.density.log_prob(grid)
        return log > log.max() - FAINT
    x, y = picture.points.T.numpy()
    counts, edges, _ = np.histogram2d(x, y, bins=ARROWS, range=[[-reach, reach]] * 2)
    cell = np.clip(np.digitize(grid.numpy(), edges) - 1, 0, ARROWS - 1)
    return torch.from_numpy(counts[cell[:, 0], cell[:, 1]] > 0)


def _density(axes: "Axes", picture: ScorePicture, reach: float) -> None:
    if picture.density is None:
        x, y = picture.points.T.numpy()
        values, _, _ = np.histogram2d(x, y, bins=PIXELS // 2, range=[[-reach, reach]] * 2)
        axes.set_title("data", fontsize=11)
    else:
        side = (torch.arange(PIXELS, dtype=torch.float64) + 0.5) * (2 * reach / PIXELS) - reach
        values = picture.density.log_prob(torch.cartesian_prod(side, side)).exp().reshape(PIXELS, PIXELS).numpy()
        axes.set_title("density", fontsize=11)
    axes.imshow(values.T, origin="lower", extent=(-reach, reach, -reach, reach), cmap="Blues")


def _field(axes: "Axes", grid: Tensor, field: Tensor, longest: float, reach: float) -> "Quiver":
    length = field.norm(dim=1)
    arrows = field * (length.clamp(max=1.5 * longest) / length.clamp_min(1e-300)).unsqueeze(1)
    return axes.quiver(
        grid[:, 0], grid[:, 1], arrows[:, 0], arrows[:, 1], length.clamp(max=longest),
        cmap="viridis_r", clim=(0, longest), angles="xy", scale_units="xy",
        scale=longest * ARROWS / (2.2 * reach), width=0.005, pivot="mid",
    )  # fmt: skip
