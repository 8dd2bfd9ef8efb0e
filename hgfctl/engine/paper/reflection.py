"""Reflection: a box with walls makes every law uniform, and a trained HVP takes the uniform law back to the data."""

import torch

from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.data.checkerboard import Checkerboard
from hgfctl.engine.data.density import DensityData
from hgfctl.engine.figures.reflection import ReflectionStudy, reflection_figure
from hgfctl.engine.figures.trajectories import Course, panels
from hgfctl.engine.paper.figure import Figure, FigureText, Panel
from hgfctl.engine.parts import data_of
from hgfctl.engine.sampling.sampler import FlowSampler

PARTICLES = 2000
"""Particles in the picture of the way back."""
NEAR = 0.02


def figure_of_reflection(found: ReflectionStudy, num: int) -> Figure:
    """Args:
    found: free flight of the data.
    num: draws of them.
    """
    facts = found.facts()
    half = found.flow.side / 2
    caption = (
        "Data on a checkerboard, velocities N(0, I), and flight without a force between elastic walls, which is "
        "straight flight folded into the box: no simulation. The law of x becomes uniform, which is the prior that "
        "sampling starts from.",
        "Each cosine mode k of the density falls as exp(−|k|² (πt/L)²/2), L being the side of the box: the line "
        "through the points is that law, with the amplitudes that the modes have at t = 0, plus the noise of finitely "
        f"many draws. The slowest mode that the board has is of order |k|² = {facts['slowest_order']}. Distance: "
        "|p − u|/|u| in L², u uniform, of a histogram of 16 × 16 cells.",
    )
    measured = [
        (f"distance from uniform at t = {t:.3g}: measured; predicted by the modes", _both(found, t))
        for t in (found.flow.side / 8, half / 2, half)
        if t < found.flow.T
    ]
    measured.append(
        (
            f"distance at T = {found.flow.T:g} of {num:,} draws; of as many uniform ones (standard deviations between)",
            f"{facts['distance']:.4f}; {facts['floor']:.4f} ({facts['deviation']:+.1f})",
        )
    )
    alt = (
        "Above: the checkerboard, a round cloud of velocities, a few straight paths that bounce off the walls of a "
        "square, and the distance from the uniform law falling over time to the noise of the histogram. Below: the "
        "board blurring until the square is evenly filled."
    )
    return Figure(
        FigureText("Reflection: walls make it uniform", caption, measured, [Panel("reflection.png", alt)], facts),
        [reflection_figure(found)],
    )


def _both(found: ReflectionStudy, t: float) -> str:
    return f"{found.at(t).measured:.4f}; {(found.decay.left(t) ** 2 + found.at(t).floor ** 2) ** 0.5:.4f}"


def figure_of_samples(model: Checkpoint, num: int, seconds: float) -> Figure:
    """Args:
    model: a trained reflection on a checkerboard.
    num: samples to judge it by.
    seconds: of its training.
    """
    data = data_of(model.config)
    assert isinstance(data, DensityData)
    board = data.density
    assert isinstance(board, Checkerboard)
    sampler = model.sampler()
    assert isinstance(sampler, FlowSampler)
    x = torch.cat([part.x for part in sampler.batches(torch.arange(num), 2500)]).double()
    on, near = (float(board.on_squares(x, margin).double().mean()) for margin in (0, NEAR))
    outside = int(model.hvp.flow.outside(x).any(1).sum())
    course = torch.stack(list(sampler.trajectory(torch.arange(min(PARTICLES, num)))))
    walls = model.hvp.flow.walls
    caption = (
        "The way back: particles start uniformly in the box and follow dx/dt = V(x, t) from t = T to 0, V being a "
        "trained network; arrows show the field that moves them. A step that leads across a wall is folded back.",
    )
    measured = [
        (f"samples on the right squares, of {num:,} (uniform draws: {_share(board):.2f})", f"{on:.4f}"),
        (f"within {NEAR} of one", f"{near:.4f}"),
        ("outside the box", f"{outside}"),
        ("network evaluations a sample (NFE); sampler", f"{sampler.nfe}; {sampler.method} on {sampler.grid}"),
        ("training", f"{model.images:,} points, {seconds:.0f} s"),
    ]
    facts = {"on_squares": on, "near_squares": near, "outside": outside, "nfe": sampler.nfe, "num": num}
    facts["training_seconds"] = seconds
    alt = "Six moments from a uniformly filled square to a checkerboard, with arrows of the velocity field."
    return Figure(
        FigureText("Reflection, back to the data", caption, measured, [Panel("checkerboard.png", alt)], facts),
        [panels(Course(course, sampler.plan.times, sampler.velocity, walls))],
    )


def _share(board: Checkerboard) -> float:
    """The share of the box that the right squares take."""
    return len(board.lower) * (board.side / 2) ** 2
