"""The Frechet distance against the budget of network evaluations."""

from collections.abc import Sequence

from hgfctl.engine.figures.picture import Picture, from_figure

DECADE = 10


def fid_figure(title: str, label: str, nfe: Sequence[int], values: Sequence[float], spread: Sequence[float]) -> Picture:
    """Args:
    title: of the picture.
    label: what the distance is called.
    nfe: budgets, at least one.
    values, spread: the distance at each of them, and its standard deviation over seeds (0: one seed).
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(nfe, values, spread if any(spread) else None, fmt="o-", capsize=3)
    for x, y in zip(nfe, values, strict=True):
        axes.annotate(f"{y:.3g}", (x, y), xytext=(4, 6), textcoords="offset points", fontsize=9)
    scale = "log" if max(values) > DECADE * min(values) > 0 else "linear"  # a logarithmic axis needs a decade for ticks
    axes.set(xscale="log", yscale=scale, xlabel="network evaluations (NFE)", ylabel=label, title=title)
    axes.set_xticks(list(nfe), [str(n) for n in nfe])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.12, y=0.15)
    axes.grid(alpha=0.3)
    return from_figure(figure)
