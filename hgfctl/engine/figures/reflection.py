"""Reflection: data, velocities, free flight folded into a box, and the uniform law it ends in (HSM24, section 5)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.figures.picture import Picture, from_figure
from hgfctl.engine.figures.spread import END, MIDDLE, START, course_colours
from hgfctl.engine.flows.reflection import Reflection
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.uniformity import Decay, Distance, decay, distance_from_uniform

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

FLIGHTS = 5
POINTS = 1500
"""Points of a flight's line."""
PIXELS = 80
"""A side of the box."""
CLOUDS = (0.05, 0.125, 0.25, 0.5)
"""Times, in sides of the box."""
TIMES = tuple(i / 40 for i in range(41))
"""Times at which the distance from the uniform law is measured, in units of T."""


@dataclass(frozen=True)
class ReflectionStudy:
    """Free flight of draws of the data.

    Args:
        flow: with walls.
        x0, v0: of all draws, (N, 2).
        times, distances: how far the law of x_t is from the uniform one.
        clouds: time -> x_t, (N, 2).
        ways: of a few particles, (points, particles, 2), evenly spaced in time up to `flown`.
        decay: of the data's modes, as theory has it.
    """

    flow: Reflection
    x0: Tensor
    v0: Tensor
    times: list[float]
    distances: list[Distance]
    clouds: dict[float, Tensor]
    ways: np.ndarray
    flown: float
    decay: Decay

    def at(self, t: float) -> Distance:
        """The distance at the time nearest to t of those at which it was measured."""
        return self.distances[min(range(len(self.times)), key=lambda i: abs(self.times[i] - t))]

    def facts(self) -> dict[str, Any]:
        """Plain values: distances from the uniform law as measured, and as the modes at t = 0 predict them."""
        end = self.distances[-1]
        return {
            "T": self.flow.T,
            "distance": end.measured,
            "floor": end.floor,
            "deviation": end.deviation,
            "slowest_order": int(self.decay.orders[self.decay.slowest]),
            "times": self.times,
            "distances": [one.measured for one in self.distances],
            "slowest_mode": [self.decay.left_of_slowest(t) for t in self.times],
            "all_modes": [self.decay.left(t) for t in self.times],
        }


def study(flow: Reflection, data: DataSet, num: int, seed: int = 0) -> ReflectionStudy:
    """Args:
    flow: in the plane.
    data: in its box.
    num: draws.
    seed: of them.
    """
    x0 = data.batch(0, num, seed).x.double()
    z = torch.randn(x0.shape, generator=generator(seed, "reflection"), dtype=torch.float64)
    v0 = flow.velocity_law(x0, z)

    def at(t: float) -> Tensor:
        return flow.state(x0, z, torch.tensor(t, dtype=torch.float64)).x

    sides = [flow.side * share for share in CLOUDS]
    times = sorted({*(flow.T * share for share in TIMES), *(t for t in sides if t < flow.T)})
    distances = [distance_from_uniform(at(t), flow.walls) for t in times]
    flown = min(flow.T, flow.side)
    moments = torch.linspace(0, flown, POINTS, dtype=torch.float64)
    ways = [flow.state(x0[i].expand(POINTS, 2), z[i].expand(POINTS, 2), moments).x for i in range(FLIGHTS)]
    return ReflectionStudy(
        flow=flow,
        x0=x0,
        v0=v0,
        times=times,
        distances=distances,
        clouds={t: at(t) for t in [*(t for t in sides if t < flow.T), flow.T]},
        ways=torch.stack(ways, 1).numpy(),
        flown=flown,
        decay=decay(x0, flow.walls),
    )


def reflection_figure(found: ReflectionStudy) -> Picture:
    """Above: data, velocities, flights, the distance from the uniform law; below: the law of x_t at five times."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.3), layout="constrained")
    rows = figure.add_gridspec(2, 1, height_ratios=(1.22, 1))
    above, below = figure.add_subfigure(rows[0]), figure.add_subfigure(rows[1])
    data, velocities, flights, distance = above.subplots(1, 4, width_ratios=(1, 1, 1, 1.45))
    brightest = _brightest(found)
    _law(data, found.x0, found, brightest)
    data.set_title("data $x_0$", fontsize=11)
    _velocities(velocities, found.v0)
    _flights(flights, found)
    _distances(distance, found)
    panels = below.subplots(1, len(found.clouds))
    for axes, (t, x) in zip(panels, found.clouds.items(), strict=True):
        drawn = _law(axes, x, found, brightest)
        name = " $= T$" if t == found.flow.T else ""
        axes.set_title(f"$t = {t:.3g}${name}:  distance {_short(found.at(t).measured)}", fontsize=11)
    bar = below.colorbar(drawn, ax=panels, shrink=0.9, pad=0.01)
    bar.set_label("density / uniform")
    return from_figure(figure)


def _law(axes: "Axes", x: Tensor, found: ReflectionStudy, brightest: float) -> "AxesImage":
    """Draws the density of x, as a multiple of the uniform one."""
    lo, hi = found.flow.walls
    drawn = axes.imshow(
        _relative(x, found.flow.walls).T, origin="lower", extent=(lo, hi, lo, hi), cmap="Blues", vmin=0, vmax=brightest
    )
    _box(axes, found)
    return drawn


def _relative(x: Tensor, walls: tuple[float, float]) -> np.ndarray:
    counts, _, _ = np.histogram2d(x[:, 0], x[:, 1], bins=PIXELS, range=[walls, walls])
    return counts * (PIXELS**2 / len(x))


def _brightest(found: ReflectionStudy) -> float:
    return float(np.quantile(_relative(found.x0, found.flow.walls), 0.98))


def _box(axes: "Axes", found: ReflectionStudy) -> None:
    lo, hi = found.flow.walls
    margin = 0.03 * (hi - lo)
    axes.set(xlim=(lo - margin, hi + margin), ylim=(lo - margin, hi + margin), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.plot([lo, hi, hi, lo, lo], [lo, lo, hi, hi, lo], color="0.25", linewidth=2)


def _velocities(axes: "Axes", v0: Tensor) -> None:
    """A cloud of arrows from the origin would hide itself: points, and the circles that hold 1/2 and 9/10 of them."""
    some = v0[:3000]
    axes.scatter(some[:, 0], some[:, 1], s=2.5, linewidths=0, color=START, alpha=0.6)
    lengths = v0.norm(dim=1).quantile(torch.tensor([0.5, 0.9], dtype=v0.dtype))
    angle = np.linspace(0, 2 * np.pi, 200)
    for radius in lengths.tolist():
        axes.plot(radius * np.cos(angle), radius * np.sin(angle), color="black", linewidth=0.9)
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    axes.axvline(0, color="0.7", linewidth=0.6, zorder=0)
    axes.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4), aspect="equal", xticks=[-2, 0, 2], yticks=[-2, 0, 2])
    axes.set_title("velocities $v_0$", fontsize=11)


def _flights(axes: "Axes", found: ReflectionStudy) -> None:
    from matplotlib.collections import LineCollection

    _box(axes, found)
    for way in np.moveaxis(found.ways, 1, 0):
        pieces = LineCollection(np.stack([way[:-1], way[1:]], 1).tolist(), cmap=course_colours(), linewidths=1.4)
        pieces.set_array(np.linspace(0, 1, len(way) - 1))
        axes.add_collection(pieces)
        for i, colour in ((0, START), (-1, END)):
            axes.plot(*way[i], "o", color=colour, markersize=5, markeredgecolor="black", markeredgewidth=0.7, zorder=4)
    axes.set_title(f"flights, $0 \\leq t \\leq {found.flown:.3g}$", fontsize=11)


def _distances(axes: "Axes", found: ReflectionStudy) -> None:
    floor = found.distances[0].floor
    fine = np.linspace(0, found.flow.T, 400)
    left = np.array([found.decay.left(t) for t in fine])
    slowest = np.array([found.decay.left_of_slowest(t) for t in fine])
    axes.axhline(floor, color="0.6", linewidth=1, label=f"uniform draws, {_short(floor)}")
    axes.plot(
        fine, slowest, color="black", linewidth=1, linestyle="--", label=f"slowest mode, {_law_of_slowest(found)}"
    )
    axes.plot(fine, np.hypot(left, floor), color=MIDDLE, linewidth=1.2, label="all modes and the draws' own noise")
    axes.plot(found.times, [d.measured for d in found.distances], "o", color=START, markersize=4, label="measured")
    axes.set(yscale="log", ylim=(floor / 3, 2.5 * max(d.measured for d in found.distances)), xlabel="$t$")
    axes.set_title("distance from the uniform law", fontsize=11)
    axes.legend(fontsize=8.5)


def _law_of_slowest(found: ReflectionStudy) -> str:
    """ "exp(-|k|^2 (pi t / L)^2 / 2)" with its |k|^2."""
    order = int(found.decay.orders[found.decay.slowest])
    factor = f"{order / 2:g}\\," if order != 2 else ""
    return f"$\\propto e^{{-{factor}(\\pi t/L)^2}}$"


def _short(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-3 else f"{value:.1e}"
