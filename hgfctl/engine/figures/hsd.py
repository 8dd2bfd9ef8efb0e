"""The worth of the Hamiltonian score discrepancy, in three panels (HSM24, section 6)."""

from hgfctl.engine.figures.picture import Picture, from_figure
from hgfctl.engine.metrics.hsd_study import Study

CAPTION = (
    "(a) Perturbed scores s + ε p(x) of four Gaussians in the plane, HSD exactly (Liouville quadrature). "
    "(b) One of them as t → 0: exactly, and as a trained critic sees it on held-out flights, with standard errors. "
    "(c) (E g)² / Var g of one item's gradient g with respect to ε.\n"
    "Caveat to (c): HSM's curve supposes a critic at its optimum, and learning that critic is a regression whose own "
    "signal-to-noise ratio falls as t², as DSM's does: the noise is moved into the critic, not removed. Without a "
    "critic HSM has DSM's noise; ± pairs bound both."
)


def hsd_figure(study: Study, caption: bool = True) -> Picture:
    """Panels a, b and c, with CAPTION below or without."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.4 if caption else 4.4))
    figure.subplots_adjust(left=0.055, right=0.99, top=0.92, bottom=0.29 if caption else 0.13, wspace=0.24)
    a, b, c = figure.subplots(1, 3)
    for agreement, marker in zip(study.agreements, "os^vD", strict=False):
        label = f"$t = {agreement.t:g}$, Pearson {agreement.pearson:.4f}"
        a.scatter(agreement.esm, agreement.hsd / agreement.t**2, s=22, marker=marker, label=label)
    most = max(float(agreement.esm.max()) for agreement in study.agreements)
    a.plot([0, most], [0, most], color="0.7", linewidth=1, zorder=0)
    a.set(xlabel="explicit error (ESM)", ylabel="HSD / $t^2$", title="(a) HSD follows the explicit error")
    a.legend(fontsize=8.5)

    b.axhline(1, color="0.7", linewidth=1, zorder=0)
    b.plot([p.t for p in study.exact], [p.ratio.value for p in study.exact], "o-", markersize=4, label="exact")
    b.errorbar(
        [p.t for p in study.by_critic],
        [p.ratio.value for p in study.by_critic],
        [p.ratio.error for p in study.by_critic],
        fmt="s", markersize=4, color="C1", capsize=2, label="trained critic",
    )  # fmt: skip
    b.set(xscale="log", xlabel="$t$", ylabel="HSD / ($t^2$ ESM)", title="(b) the limit $t \\to 0$", ylim=(-0.1, 1.3))
    b.legend(fontsize=8.5, loc="lower left")

    for name, estimates in study.noise.methods.items():
        style = {"color": "C0" if name.startswith("HSM") else "C3"}
        style |= {"linestyle": "--" if name.endswith("pairs") else ":" if "without" in name else "-"}
        style |= {"marker": "o" if "optimum" in name else "s" if "without" in name else "^"}
        c.plot(study.noise.levels, [e.value for e in estimates], markersize=4, label=name, **style)
    c.set(xscale="log", yscale="log", xlabel="flight time $t$ = noise level $\\sigma$", ylabel="signal / noise")
    c.set_title("(c) gradient signal-to-noise")
    c.legend(fontsize=8)
    if caption:
        figure.text(0.055, 0.02, _wrapped(CAPTION, 190), fontsize=8.5, va="bottom", color="0.25")
    return from_figure(figure)


def _wrapped(text: str, width: int) -> str:
    from textwrap import fill

    return "\n".join(fill(line, width) for line in text.splitlines())
