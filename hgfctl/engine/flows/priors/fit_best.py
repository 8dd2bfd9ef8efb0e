"""The simplest prior that fits."""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.flows.priors.fit import FEWEST, Fit, Fitted, usable
from hgfctl.engine.flows.priors.fit_bank import BankFit
from hgfctl.engine.flows.priors.fit_gaussian import GaussianFit
from hgfctl.engine.flows.priors.fit_mixture import MixtureFit
from hgfctl.engine.flows.priors.report import SMALL, prior_report

HELD_OUT = 1000
"""End points that judge, at most; a quarter of those there are."""
REJECTED = 0.05
"""p-value below which a fit is passed over, unless it misses by little: stricter than the report's."""


@dataclass(frozen=True)
class BestFit:
    """The first of gaussian, mixture and bank that a two-sample test on held-out end points does not reject, or that
    misses by little (a shift below 0.05 sd); where there is none, the one that misses least.

    What is chosen is fitted again, to all points.
    """

    def __call__(self, ends: Tensor) -> Fitted:
        x = usable(ends)
        held = min(HELD_OUT, len(x) // 4)
        if len(x) - held < FEWEST:
            return GaussianFit()(x)
        fits: tuple[Fit, ...] = (GaussianFit(), MixtureFit(), BankFit())
        reports = []
        for fit in fits:
            report = prior_report(*fit(x[held:]), x[:held])
            if report.p >= REJECTED or report.shift < SMALL:
                return fit(x)
            reports.append(report)
        least = min(range(len(fits)), key=lambda i: reports[i].distance)
        return fits[least](x)
