"""Diffusion, flow matching and oscillation as they move phase space."""

from collections.abc import Sequence

from hgfctl.engine.figures.phase_space import Portrait, phase_space_figure
from hgfctl.engine.paper.figure import Figure, FigureText, Panel

PRESETS = ("line-diffusion", "line-flow-matching", "line-oscillation")


def figure_of_phase_space(portraits: Sequence[Portrait], num: int) -> Figure:
    """Args:
    portraits: of flows on a line.
    num: particles in each.
    """
    facts = [one.facts() for one in portraits]
    caption = [
        "The same data, three Gaussians on a line, under three Hamiltonian flows: (x, v) at evenly spaced times from "
        "t = 0, blue, to the end, red; contours hold 50 and 90 % of the particles, black lines are paths of single "
        "ones. Above are the marginals of x, with the prior dashed, on the right those of v.",
        "Without a force velocities are kept and the cloud is sheared, as in diffusion and in flow matching, whose v "
        "knows x₀. An oscillator turns it by a quarter: x becomes noise, v becomes the data, and the scale of x stays.",
        *(
            f"{one.name} is drawn up to t = {one.times[-1]:.2f} of its T = {one.T:g}, where x has become "
            f"{fact['x_sd'][-1] / fact['x_sd'][0]:.1f} times as wide as the data; from there to T it only gets wider."
            for one, fact in zip(portraits, facts, strict=True)
            if not one.whole
        ),
    ]
    measured = [
        *(
            (f"{one.name}: standard deviation of x, from t = 0 to the end of the picture", _course(fact["x_sd"]))
            for one, fact in zip(portraits, facts, strict=True)
        ),
        *(
            (
                f"{one.name}: the law of x at T = {one.T:.3g} against the prior, Kolmogorov-Smirnov distance of "
                f"{num:,} draws each (p-value)",
                f"{one.prior_ks:.4f} ({one.prior_p:.2g})",
            )
            for one in portraits
        ),
    ]
    alt = (
        "Side by side, clouds of particles in the plane of position and velocity, coloured from blue to red by time: "
        "sheared to the side in diffusion and flow matching, turned by a quarter in oscillation."
    )
    return Figure(
        FigureText("Three flows in phase space", caption, measured, [Panel("phase-space.png", alt)], {"flows": facts}),
        [phase_space_figure(portraits)],
    )


def _course(values: Sequence[float]) -> str:
    return " → ".join(f"{value:.3g}" for value in values)
