"""Figure 1: a density, its learned score, and the HVP that vanishes when the score is right."""

import math

import torch

from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.data.density import known_density
from hgfctl.engine.figures.score import picture_of, score_figure
from hgfctl.engine.metrics.score_report import score_report
from hgfctl.engine.paper.figure import Figure, FigureText, Panel
from hgfctl.engine.parts import data_of, fresh_network
from hgfctl.engine.randomness import generator

T = 0.2
"""The time t of the HVP that is drawn."""
TIMES = (0.05, T)
"""At which HSD is measured."""


def figure_of_score(model: Checkpoint, seconds: float) -> Figure:
    """Args:
    model: a trained score in the plane, of data whose score is known.
    seconds: of its training.
    """
    data = data_of(model.config)
    density = known_density(data)
    assert density is not None
    place = next(model.model.parameters()).device
    report = score_report(
        model.score(),
        data,
        TIMES,
        model.model.root_mean_square,
        lambda: fresh_network(model.config, model.shape, model.classes).to(place),
    )
    assert report.relative is not None
    size = float(density.score(density.sample(20_000, generator(0, "size"))).square().sum(1).mean())
    shares = [math.sqrt(h.value / (h.t**2 * size)) for h in report.hsd]
    with torch.no_grad():
        picture = score_figure(picture_of(model, None, T))
    loss = model.config.loss.name
    caption = (
        "Four Gaussians in the plane; the score that a perceptron with two hidden layers learned from draws alone, by "
        f"Hamiltonian score matching (loss {loss}); the true score; and V(x, t)/t, the Hamiltonian velocity predictor "
        "of the flow whose force the learned score is, to the same scale. Under the true score V is zero everywhere. "
        "What is left of it is, as t → 0, the error of the learned score.",
        "No arrows where the density is below e⁻¹² of its peak: nothing was learned there.",
    )
    measured = [
        ("relative error of the score, E|F − ∇log π|² / E|∇log π|²", f"{report.relative:.4f}"),
        *(
            (f"size of V(x, {h.t:g})/{h.t:g} beside the score's, root mean squares", f"{100 * share:.1f} %")
            for h, share in zip(report.hsd, shares, strict=True)
        ),
        *(
            (f"HSD at t = {h.t:g} ({'quadrature' if h.how == 'exact' else h.how})", f"{h.value:.2e} ± {h.error:.0e}")
            for h in report.hsd
        ),
        ("training", f"{model.images:,} draws, {seconds:.0f} s"),
    ]
    facts = {**report.as_json(), "relative_size_of_hvp": shares, "training_seconds": seconds}
    alt = (
        "Four panels: the density with four blobs; two vector fields that look alike, the learned and the true score, "
        "pointing towards the blobs; and the HVP of the learned score, with much shorter arrows."
    )
    return Figure(
        FigureText("A learned score, and the HVP that vanishes", caption, measured, [Panel("score.png", alt)], facts),
        [picture],
    )
