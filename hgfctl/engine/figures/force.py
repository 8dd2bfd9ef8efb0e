"""The work of a flow's force, in six panels."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hgfctl.engine.figures.picture import Picture, from_figure
from hgfctl.engine.metrics.force_report import GRADIENT, ForceReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def force_figure(report: ForceReport, title: str = "") -> Picture:
    """Args:
    report: what was measured.
    title: of the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.6), layout="constrained")
    figure.suptitle(title + ("  ·  " if title else "") + verdict(report), fontsize=12)
    (mixing, scale, volume), (stiffness, neighbours, energy) = figure.subplots(2, 3)
    _mixing(mixing, report)
    _scale(scale, report)
    _over_time(volume, report.t, report.divergence, "C3", "divergence of phase space", "tr ∂F/∂v")
    volume.set_title(f"volume: ×{_power(report.log_volume)} over the flow", fontsize=11)
    _over_time(stiffness, report.t, report.stiffness, "C4", "stiffness", "largest |∂F/∂x|")
    _neighbours(neighbours, report)
    _energy(energy, report)
    for axes in (mixing, scale, volume, stiffness):
        axes.set(xlabel="t", xlim=(0, report.T))
    return from_figure(figure)


def verdict(report: ForceReport) -> str:
    """The kind of force, in a few words."""
    if report.conservative:
        return "conservative"
    if report.keeps_energy:
        return "not conservative, for it depends on v, but energy is kept"
    if report.is_gradient:
        return "not conservative: its potential changes in time"
    reasons = {
        f"curl {report.curl:.2g}": report.curl > GRADIENT,
        "work that depends on v": report.works,
        "depends on t": report.depends_on_time,
    }
    return f"not conservative: {', '.join(reason for reason, holds in reasons.items() if holds)}"


def _mixing(axes: "Axes", report: ForceReport) -> None:
    smallest = max(min(report.floor / 3, 0.01), 1e-4)
    axes.plot(report.t, report.distance, color="C0", label="distance of $x_t$ and $x_T$, in sd")
    axes.axhline(report.floor, color="0.6", linewidth=1, linestyle="--", label="of two samples of $x_T$")
    axes.plot(report.t, np.abs(report.memory), color="C1", label="|correlation| of $x_t$ and $x_0$")
    axes.set_yscale("log", nonpositive="mask")
    axes.set_ylim(smallest, 1.5 * max(1.0, *report.distance))
    axes.set_title(f"mixing; prior against $x_T$: p = {report.prior_p:.2g}", fontsize=11)
    axes.legend(fontsize=8)


def _scale(axes: "Axes", report: ForceReport) -> None:
    size, spread = np.array(report.size), np.array(report.spread)
    axes.plot(report.t, size, color="C2")
    axes.fill_between(report.t, np.maximum(size - spread, 0), size + spread, color="C2", alpha=0.25, linewidth=0)
    axes.set(ylabel="$|x_t| / \\sqrt{d}$", ylim=(0, 1.1 * float((size + spread).max())))
    axes.set_title(f"scale: changes by ×{report.scale:.3g}", fontsize=11)


def _over_time(axes: "Axes", t: Sequence[float], values: Sequence[float], colour: str, title: str, label: str) -> None:
    axes.plot(t, values, color=colour)
    low, high = min(values), max(values)
    margin = max(0.1 * (high - low), 0.1 * max(abs(low), abs(high))) or 0.1
    axes.set(ylabel=label, ylim=(min(low - margin, 0) if low < 0 else -0.03 * (high + margin), high + margin))
    axes.ticklabel_format(useOffset=False)
    axes.set_title(title, fontsize=11)


def _neighbours(axes: "Axes", report: ForceReport) -> None:
    found = report.lyapunov
    if found.t:
        t, parted, spread = np.array(found.t), np.array(found.parted), np.array(found.parted_spread)
        axes.plot(t, parted, color="C5")
        axes.fill_between(t, parted - spread, parted + spread, color="C5", alpha=0.25, linewidth=0)
        low, high = float((parted - spread).min()), float((parted + spread).max())
        axes.set(xlim=(0, found.duration), ylim=(min(1.1 * low, -0.1), max(1.1 * high, 1.0)))
    axes.axvline(report.T, color="0.6", linewidth=1, linestyle="--")
    axes.set(xlabel="t (dashed: T)", ylabel="ln distance of neighbours")
    axes.set_title(f"Lyapunov exponent {_number(found.exponent)} ± {_number(found.spread)}", fontsize=11)


def _energy(axes: "Axes", report: ForceReport) -> None:
    axes.set_xlim(0, report.T)
    axes.set_xlabel("t")
    if report.drift is None:
        axes.set_title("energy: there is none that is kept", fontsize=11)
        axes.set(xticks=[], yticks=[])
        axes.text(
            0.5,
            0.5,
            verdict(report).replace(": ", ":\n"),
            transform=axes.transAxes,
            ha="center",
            va="center",
            color="0.4",
        )
        return
    drift = report.drift
    largest = max(drift.change)
    exponent = math.floor(math.log10(largest)) if largest else 0
    axes.plot(drift.t, np.array(drift.change) / 10.0**exponent, color="C6")
    axes.set(ylabel=f"|ΔH| / mean kinetic energy, $10^{{{exponent}}}$", ylim=(0, 1.15 * largest / 10.0**exponent or 1))
    axes.set_title(f"energy drift {_number(drift.relative)}: {drift.integrator}, {drift.steps} steps", fontsize=11)


def _number(value: float) -> str:
    return "0" if abs(value) < 1e-7 else f"{value:.2g}"


def _power(log: float) -> str:
    """exp(log), readable for images, too."""
    return f"{math.exp(log):.3g}" if abs(log) < 50 else f"10^{log / math.log(10):.0f}"
