"""Generated digits, judged by a classifier that knows only real ones."""

import torch

from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.figures.samples import samples_figure
from hgfctl.engine.metrics.digits_judge import DigitsJudge
from hgfctl.engine.paper.figure import Figure, FigureText, Panel

SHOWN = 80


def figure_of_digits(model: Checkpoint, nfe: int, num: int, seconds: float) -> Figure:
    """Args:
    model: a trained flow on scikit-learn's digits.
    nfe: budget of network evaluations a digit.
    num: digits to judge it by.
    seconds: of its training.
    """
    sampler = model.sampler(nfe)
    seeds = torch.arange(num)
    x, labels = torch.cat([part.x for part in sampler.batches(seeds, 250)]), sampler.labels(seeds)
    assert labels is not None
    judge = DigitsJudge()
    right, best = judge.label(x, labels), judge.real_label
    distance, floor = judge.frechet(x), judge.real_frechet
    caption = (
        "Digits drawn by an oscillation flow that was trained on scikit-learn's 8 × 8 scans, a class a column: the "
        "first ones, not chosen.",
        "The judge is a support vector classifier fitted on the real training scans; the Frechet distance is one of "
        "pixels (0 to 16) to the held-out scans, and falls as digits become more.",
    )
    measured = [
        (f"labels as asked, of {num:,} digits (of real held-out scans)", f"{right:.3f} ({best:.3f})"),
        (
            f"Frechet distance of {num:,} digits to the held-out scans (of the {judge.real_count:,} training scans)",
            f"{distance:.1f} ({floor:.1f})",
        ),
        ("network evaluations a digit (NFE); sampler", f"{sampler.nfe}; {sampler.method} on {sampler.grid}"),
        ("training", f"{model.images:,} digits seen, {seconds:,.0f} s"),
    ]
    facts = {"label": right, "label_real": best, "frechet": distance, "frechet_real": floor}
    facts |= {"nfe": sampler.nfe, "num": num, "training_seconds": seconds}
    alt = "A grid of generated handwritten digits: ten columns, from 0 to 9, eight rows."
    return Figure(
        FigureText("Generated digits", caption, measured, [Panel("digits.png", alt)], facts),
        [samples_figure(x[:SHOWN], labels[:SHOWN])],
    )
