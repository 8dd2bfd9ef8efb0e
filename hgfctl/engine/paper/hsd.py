"""The worth of the Hamiltonian score discrepancy."""

from hgfctl.engine.figures.hsd import hsd_figure
from hgfctl.engine.metrics.hsd_study import Study
from hgfctl.engine.paper.figure import Figure, FigureText, Panel
from hgfctl.engine.statistics.estimate import Estimate


def figure_of_hsd(study: Study) -> Figure:
    """Args:
    study: all three panels.
    """
    noise = study.noise.methods
    lowest, highest = study.noise.levels[0], study.noise.levels[-1]
    with_critic, dsm = noise["HSM, critic at its optimum"], noise["DSM"]
    caption = (
        f"(a) {len(study.agreements[0].esm)} wrong scores of four Gaussians: HSD, which needs no true score, against "
        "the explicit error, which does. (b) HSD/(t² ESM) of one of them as t → 0, exactly (Liouville quadrature) and "
        "as a trained critic sees it. (c) Signal to noise, (E g)²/Var g, of one item's gradient.",
        "Caveat to (c): HSM's curve supposes a critic at its optimum, and learning that critic is a regression whose "
        "own signal-to-noise ratio falls as t², as that of denoising score matching (DSM) does: the noise is moved "
        "into the critic, not removed.",
    )
    measured = [
        *((f"(a) Pearson correlation of HSD and ESM at t = {a.t:g}", f"{a.pearson:.4f}") for a in study.agreements),
        *((f"(b) HSD/(t² ESM) at t = {p.t:g}, exactly", _spread(p.ratio)) for p in study.exact if p.t in (0.005, 0.1)),
        *(
            (f"(b) the same by a trained critic at t = {p.t:g}", _spread(p.ratio))
            for p in study.by_critic
            if p.t in (0.025, 0.1)
        ),
        *(
            (
                f"(c) signal to noise at t = σ = {level:g}: HSM with the best critic; DSM",
                f"{a.value:.2g}; {b.value:.2g}",
            )
            for level, a, b in ((lowest, with_critic[0], dsm[0]), (highest, with_critic[-1], dsm[-1]))
        ),
    ]
    alt = (
        "Three panels: points close to the diagonal of HSD over t squared against ESM; a curve that rises to 1 as t "
        "goes to 0, with a trained critic's points near it; and signal-to-noise ratios over noise levels, HSM's with "
        "the best critic nearly constant, DSM's falling steeply."
    )
    return Figure(
        FigureText("What HSD is worth", caption, measured, [Panel("hsd.png", alt)], study.facts()),
        [hsd_figure(study, caption=False)],
    )


def _spread(ratio: Estimate) -> str:
    return f"{ratio.value:.4f} ± {ratio.error:.4f}"
