"""A flow in the plane: particles on their way from the prior to the data, over the field V(x, t) that moves them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.figures.picture import Picture, from_figure, from_frames
from hgfctl.engine.flows.flow import Velocity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
ARROWS = 17
"""A side."""
FRAME_MILLISECONDS = 60


@dataclass(frozen=True)
class Course:
    """Where particles were, and why.

    Args:
        positions: (times, N, 2).
        times: (times,), from T down to 0.
        velocity: V(x, t).
    """

    positions: Tensor
    times: Tensor
    velocity: Velocity

    @property
    def limits(self) -> tuple[float, float]:
        """A square window that holds nearly all of them at every time."""
        reach = float(np.quantile(self.positions.abs().numpy(), 0.998)) * 1.15
        return -reach, reach


def panels(course: Course) -> Picture:
    """A row of moments from T to 0, equally far apart in time."""
    from matplotlib.figure import Figure

    targets = torch.linspace(1, 0, PANELS, dtype=course.times.dtype) * course.times[0]
    chosen = sorted({int((course.times - target).abs().argmin()) for target in targets})
    figure = Figure(figsize=(3 * len(chosen), 3.3), layout="constrained")
    for axes, i in zip(np.atleast_1d(figure.subplots(1, len(chosen))), chosen, strict=True):
        _moment(axes, course, i)
    return from_figure(figure)


def animation(course: Course) -> Picture:
    """A frame a step of the solver; the last one rests."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    frames = []
    for i in range(len(course.times)):
        figure = Figure(figsize=(4, 4.3), dpi=90, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        _moment(figure.add_subplot(), course, i)
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(64))
    return from_frames(frames, [FRAME_MILLISECONDS] * (len(frames) - 1) + [2000])


def _moment(axes: "Axes", course: Course, i: int) -> None:
    low, high = course.limits
    side = torch.linspace(low, high, ARROWS, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    t = course.times[i]
    with torch.no_grad():
        # Against V: sampling runs from T back to 0, and arrows show where particles go.
        arrows = -course.velocity(grid.to(course.positions), t).double().cpu()
    length = arrows.norm(dim=1).quantile(0.95).clamp_min(1e-9)
    arrows = (arrows / length).clamp(-1.5, 1.5)
    axes.quiver(
        grid[:, 0], grid[:, 1], arrows[:, 0], arrows[:, 1],
        color="0.75", angles="xy", scale=ARROWS * 1.1, width=0.004, zorder=1,
    )  # fmt: skip
    x = course.positions[i].numpy()
    axes.scatter(x[:, 0], x[:, 1], s=5, linewidths=0, color="C0", zorder=2)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xticks=[], yticks=[])
    axes.set_title(f"$t = {float(t):.2f}$", fontsize=11)
