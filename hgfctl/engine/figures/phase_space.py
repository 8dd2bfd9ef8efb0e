"""Flows on a line as they move phase space: (x, v) from t = 0, blue, to T, red (HSM24, figure 2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.figures.picture import Picture, from_figure
from hgfctl.engine.figures.spread import END, START, course_colours, density_1d, density_2d, levels, window
from hgfctl.engine.flows import flow_name
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.phase_space import State
from hgfctl.engine.randomness import generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

MOMENTS = 4
"""Clouds, evenly spaced in time."""
PATHS = 5
POINTS = 500
"""Points of a path."""
MASSES = (0.9, 0.5)
"""Shares of the particles that a cloud's contours hold."""
REACH = 4.0
"""Times wider than at t = 0 that x may become before the picture stops."""
SCOUTS = 2000
"""Draws from which it is told how far a picture goes."""


@dataclass(frozen=True)
class Portrait:
    """A flow on a line.

    Args:
        name: its title.
        T: of the flow.
        times: (moments,), from 0 to where the picture ends: T, or before.
        clouds: x and v of the particles at these times, (moments, N) each.
        paths: of a few of them, evenly spaced in the same time, (points, particles) each.
        flow: itself.
        prior_ks, prior_p: the largest difference between the distribution functions of x_T and of as many draws of the
            prior, and how probable as large a one is if the laws are the same.
    """

    name: str
    T: float
    times: np.ndarray
    clouds: tuple[np.ndarray, np.ndarray]
    paths: tuple[np.ndarray, np.ndarray]
    flow: Flow
    prior_ks: float
    prior_p: float

    @property
    def whole(self) -> bool:
        """True where the picture ends at T."""
        return bool(np.isclose(self.times[-1], self.T))

    def facts(self) -> dict[str, Any]:
        """Times and spreads, and how well the prior fits the law of x_T (Kolmogorov and Smirnov's two-sample test)."""
        return {
            "name": self.name,
            "flow": flow_name(self.flow),
            "T": self.T,
            "drawn_until": float(self.times[-1]),
            "x_sd": self.clouds[0].std(axis=1).tolist(),
            "v_sd": self.clouds[1].std(axis=1).tolist(),
            "prior_ks": self.prior_ks,
            "prior_ks_p": self.prior_p,
        }


def portrait(name: str, flow: Flow, data: DataSet, num: int, seed: int = 0, reach: float = REACH) -> Portrait:
    """Draws of the data along the flow; no network.

    Args:
        name: its title.
        flow: of items of shape (1,).
        data: on a line.
        num: particles.
        seed: of the draws.
        reach: see REACH; 0 to go to T whatever becomes of x.
    """
    x0 = data.batch(0, num, seed).x.double()
    z = torch.randn(x0.shape, generator=generator(seed, "phase space"), dtype=torch.float64)
    end = _end(flow, x0[:SCOUTS], z[:SCOUTS], reach)
    moments = torch.linspace(0, end, MOMENTS, dtype=torch.float64)
    clouds = _at(flow, x0, z, moments)
    order = x0[:, 0].argsort()
    chosen = order[((torch.arange(PATHS) + 0.5) / PATHS * num).long()]
    paths = _at(flow, x0[chosen], z[chosen], torch.linspace(0, end, POINTS, dtype=torch.float64))
    ks, p = _fit(flow, x0, z, seed)
    return Portrait(name, flow.T, moments.numpy(), _arrays(clouds), _arrays(paths), flow, ks, p)


def _at(flow: Flow, x0: Tensor, z: Tensor, times: Tensor) -> State:
    """All items at all times, (times, N) each."""
    count, moments = len(x0), len(times)
    state = flow.state(x0.repeat(moments, 1), z.repeat(moments, 1), times.repeat_interleave(count))
    return State(state.x.reshape(moments, count), state.v.reshape(moments, count))


def _arrays(state: State) -> tuple[np.ndarray, np.ndarray]:
    return state.x.numpy(), state.v.numpy()


def _fit(flow: Flow, x0: Tensor, z: Tensor, seed: int) -> tuple[float, float]:
    from scipy.stats import ks_2samp

    x = flow.state(x0, z, torch.tensor(flow.T, dtype=torch.float64)).x
    drawn = flow.prior.sample(tuple(x.shape), generator(seed, "phase space", "prior"))
    found = ks_2samp(x[:, 0].numpy(), drawn[:, 0].numpy())
    return float(found.statistic), float(found.pvalue)


def _end(flow: Flow, x0: Tensor, z: Tensor, reach: float) -> float:
    """T, or the time from which on x is more than `reach` times as wide as it was."""
    times = torch.cat([torch.zeros(1, dtype=torch.float64), torch.logspace(-4, 0, 201, dtype=torch.float64) * flow.T])
    if not reach or not _widths(flow, x0, z, times[[0, -1]])[1] > reach:
        return flow.T
    within = _widths(flow, x0, z, times) <= reach
    return float(times[int(within.nonzero()[-1])])


def _widths(flow: Flow, x0: Tensor, z: Tensor, times: Tensor) -> Tensor:
    """Between the quantiles of 5 and 95 %, as law after law has them, in units of the first."""
    x = _at(flow, x0, z, times).x
    width = x.quantile(0.95, dim=1) - x.quantile(0.05, dim=1)
    return width / width[0]


def phase_space_figure(portraits: Sequence[Portrait]) -> Picture:
    """Side by side: clouds, paths in black, the marginals of x above and of v beside them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(portraits) + 0.2, 5.1))
    rows = figure.add_gridspec(2, 1, height_ratios=(1, 0.07), left=0, right=1, bottom=0, top=1, hspace=0)
    above, below = figure.add_subfigure(rows[0]), figure.add_subfigure(rows[1])
    columns = above.subfigures(1, len(portraits), squeeze=False)[0]
    for column, one in zip(columns, portraits, strict=True):
        _draw(column, one)
    width, centre = (0.75 / len(portraits) ** 0.5, 0.5) if len(portraits) > 1 else (0.45, 0.36)  # beside the legend
    bar = below.add_axes((centre - width / 2, 0.62, width, 0.25))
    bar.imshow(np.linspace(0, 1, 256)[None], aspect="auto", cmap=course_colours(), extent=(0, 1, 0, 1))
    bar.set(yticks=[], xticks=[0, 1])
    bar.set_xticklabels(["$t = 0$", "end"])
    if any(one.whole for one in portraits):
        below.text(0.985, 0.72, "- - -  the prior, $p_T$", ha="right", va="center", fontsize=10)
    return from_figure(figure)


def _draw(figure: "SubFigure", one: Portrait) -> None:
    grid = figure.add_gridspec(
        2, 2, width_ratios=(4, 1), height_ratios=(1, 4), wspace=0.04, hspace=0.04,
        left=0.17, right=0.97, top=0.88, bottom=0.12,
    )  # fmt: skip
    joint = figure.add_subplot(grid[1, 0])
    top = figure.add_subplot(grid[0, 0], sharex=joint)
    side = figure.add_subplot(grid[1, 1], sharey=joint)
    xs, vs = one.clouds
    x_window, v_window = one.flow.walls or window(xs, one.paths[0]), window(vs, one.paths[1])
    colours = course_colours()(np.linspace(0, 1, len(xs)))
    for x, v, colour in zip(xs, vs, colours, strict=True):
        cells = density_2d(x, v, x_window, v_window)
        borders = [*levels(cells.density, MASSES), cells.density.max()]
        joint.contourf(cells.x, cells.y, cells.density.T, levels=borders, colors=[colour], alpha=0.28, zorder=1)
        joint.contour(cells.x, cells.y, cells.density.T, levels=borders[:-1], colors=[colour], linewidths=0.8, zorder=2)
        for axes, values, frame, upright in ((top, x, x_window, True), (side, v, v_window, False)):
            centres, density = density_1d(values, frame, reflecting=upright and one.flow.walls is not None)
            axes.plot(*((centres, density) if upright else (density, centres)), color=colour, linewidth=1.1)
    for x, v in zip(one.paths[0].T, one.paths[1].T, strict=True):
        _path(joint, x, v, x_window)
    if one.whole:
        centres = np.linspace(*x_window, 401)
        law = one.flow.prior.log_prob(torch.from_numpy(centres).unsqueeze(1)).exp().numpy()
        top.plot(centres, law, color="black", linewidth=1, linestyle=(0, (4, 3)))
    margin = 0.04 * (x_window[1] - x_window[0]) if one.flow.walls else 0
    for wall in one.flow.walls or ():
        joint.axvline(wall, color="0.35", linewidth=2.5)
        top.axvline(wall, color="0.35", linewidth=2.5)
    joint.set(xlim=(x_window[0] - margin, x_window[1] + margin), ylim=v_window, xlabel="$x$", ylabel="$v$")
    top.set(ylim=(0, None), yticks=[])
    side.set(xlim=(0, None), xticks=[])
    top.tick_params(labelbottom=False)
    side.tick_params(labelleft=False)
    for axes, hidden in ((top, ("top", "left", "right")), (side, ("top", "bottom", "right"))):
        axes.spines[list(hidden)].set_visible(False)
    until = f"$0 \\leq t \\leq {one.times[-1]:.3g}$" + ("" if one.whole else f" of $T = {one.T:.3g}$")
    figure.suptitle(f"{one.name},  {until}", fontsize=11, y=0.97)


def _path(axes: "Axes", x: np.ndarray, v: np.ndarray, frame: tuple[float, float]) -> None:
    """One particle, with its first and its last place; broken where it leaves a periodic domain at one end."""
    broken = np.flatnonzero(np.abs(np.diff(x)) > 0.5 * (frame[1] - frame[0])) + 1
    axes.plot(np.insert(x, broken, np.nan), np.insert(v, broken, np.nan), color="black", linewidth=0.8, zorder=3)
    for i, colour in ((0, START), (-1, END)):
        axes.plot(x[i], v[i], "o", color=colour, markersize=4.5, markeredgecolor="black", markeredgewidth=0.7, zorder=4)
