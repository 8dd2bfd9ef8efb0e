"""The course of a training: loss and pace over the images seen."""

from collections.abc import Mapping, Sequence
from typing import Any

from hgfctl.engine.figures.picture import Picture, from_figure


def run_figure(rows: Sequence[Mapping[str, Any]], title: str = "") -> Picture:
    """Args:
    rows: of log.jsonl, each with images, loss, lr and images_per_second.
    title: of the figure.
    """
    from matplotlib.figure import Figure

    images = [row["images"] for row in rows]
    figure = Figure(figsize=(7, 5), layout="constrained")
    figure.suptitle(title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(images, [row["loss"] for row in rows], color="C0", linewidth=1)
    above.set(ylabel="loss", yscale="log")
    rate = above.twinx()
    rate.plot(images, [row["lr"] for row in rows], color="C1", linewidth=1)
    rate.set_ylabel("learning rate", color="C1")
    rate.set_ylim(bottom=0)
    below.plot(images, [row["images_per_second"] for row in rows], color="C2", linewidth=1)
    below.set(xlabel="images seen", ylabel="images/s")
    below.set_ylim(bottom=0)
    return from_figure(figure)
