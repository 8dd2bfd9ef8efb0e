"""A flow in the plane: particles on their way from the prior to the data, over the field V(x, t) that moves them."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.figures.picture import Picture, from_figure, from_frames
from hgfctl.engine.phase_space import Velocity

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
ARROWS = 17
"""A side."""
FRAME_MILLISECONDS = 60
ZOOM_BEYOND = 4.0
"""Where particles spread more than this many times wider at one time than at another, each moment has a window."""


@dataclass(frozen=True)
class Course:
    """Where particles were, and why.

    Args:
        positions: (times, N, 2), on the device that `velocity` wants.
        times: (times,), from T down to 0.
        velocity: V(x, t).
        walls: (lo, hi) of a box that particles are confined to; None without.
    """

    positions: Tensor
    times: Tensor
    velocity: Velocity
    walls: tuple[float, float] | None = None

    def window(self, i: int) -> tuple[float, float]:
        """(low, high) of a square that holds nearly all particles: the box, if there is one; else about the origin."""
        if self.walls:
            margin = 0.03 * (self.walls[1] - self.walls[0])
            return self.walls[0] - margin, self.walls[1] + margin
        reach = 1.15 * (self._reach[i] if self.zooms else max(self._reach))
        return -reach, reach

    @property
    def zooms(self) -> bool:
        """True where each moment has its own window."""
        return not self.walls and max(self._reach) > ZOOM_BEYOND * min(self._reach)

    @cached_property
    def speed(self) -> float:
        """A high speed of the particles, over all times: the length of an arrow of unit length."""
        pairs = zip(self.positions, self.times, strict=True)
        return max(float(self.velocity(x, t).norm(dim=1).quantile(0.95)) for x, t in pairs)

    @cached_property
    def _reach(self) -> list[float]:
        return [max(float(np.quantile(x.abs().cpu().numpy(), 0.998)), 1e-9) for x in self.positions]


def panels(course: Course) -> Picture:
    """A row of moments from T to 0, equally many steps of the solver apart."""
    from matplotlib.figure import Figure

    chosen = sorted({round(i) for i in np.linspace(0, len(course.times) - 1, PANELS)})
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
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
        frames.append(Image.fromarray(pixels).convert("RGB").quantize(64))
    return from_frames(frames, [FRAME_MILLISECONDS] * (len(frames) - 1) + [2000])


def _moment(axes: "Axes", course: Course, i: int) -> None:
    low, high = course.window(i)
    side = torch.linspace(*(course.walls or (low, high)), ARROWS, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    t = course.times[i]
    # Against V: sampling runs from T back to 0, and arrows show where particles go.
    arrows = -course.velocity(grid.to(course.positions), t).double().cpu()
    arrows = (arrows / max(course.speed, 1e-9)).clamp(-1.5, 1.5)
    axes.quiver(
        grid[:, 0], grid[:, 1], arrows[:, 0], arrows[:, 1],
        color="0.75", angles="xy", scale=ARROWS * 1.1, width=0.004, zorder=1,
    )  # fmt: skip
    x = course.positions[i].cpu().numpy()
    axes.scatter(x[:, 0], x[:, 1], s=5, linewidths=0, color="C0", zorder=2)
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", xticks=[], yticks=[])
    axes.set_title(f"$t = {float(t):.2f}$" + (f", $|x_i| < {high:.3g}$" if course.zooms else ""), fontsize=11)
