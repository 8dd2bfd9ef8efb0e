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
    from matplotlib.ticker import ScalarFormatter

    images = [row["images"] for row in rows]
    figure = Figure(figsize=(7, 5), layout="constrained")
    figure.suptitle(title)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    above.plot(images, [row["loss"] for row in rows], color="C0", linewidth=1)
    above.set(ylabel="loss")
    if all(row["loss"] > 0 for row in rows):  # those of scores, up to a constant of the data, may be negative
        above.set_yscale("log")
        above.yaxis.set_major_formatter(ScalarFormatter())
        above.yaxis.set_minor_formatter(ScalarFormatter())
    rate = above.twinx()
    rate.plot(images, [row["lr"] for row in rows], color="C1", linewidth=1)
    rate.set_ylabel("learning rate", color="C1")
    rate.set_ylim(bottom=0)
    pace = [row["images_per_second"] for row in rows]
    below.plot(images, pace, color="C2", linewidth=1)
    below.set(xlabel="images seen", ylabel="images/s", ylim=(0, 1.15 * max(pace)))
    return from_figure(figure)
