"""The simplest prior that fits."""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.flows.priors.fit import Fitted, usable
from hgfctl.engine.flows.priors.fit_bank import BankFit
from hgfctl.engine.flows.priors.fit_gaussian import GaussianFit
from hgfctl.engine.flows.priors.fit_mixture import MixtureFit
from hgfctl.engine.flows.priors.report import prior_report

HELD_OUT = 1000
"""End points that judge, at most; a quarter of those there are."""
REJECTED = 0.05
"""p-value below which a fit is passed over: stricter than the report, which speaks of a misfit below 0.01."""


@dataclass(frozen=True)
class BestFit:
    """The first of gaussian and mixture that a two-sample test on held-out end points does not reject; else bank.

    What is chosen is fitted again, to all points.
    """

    def __call__(self, ends: Tensor) -> Fitted:
        x = usable(ends)
        held = min(HELD_OUT, len(x) // 4)
        for fit in (GaussianFit(), MixtureFit()):
            if len(x) - held >= 16 and prior_report(*fit(x[held:]), x[:held]).p >= REJECTED:
                return fit(x)
        return BankFit()(x)
