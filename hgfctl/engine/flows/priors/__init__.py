"""Priors: the laws p_T from which sampling starts, exact ones and those fitted to simulated end points.

A fit is called with end points x_T (N, *D) and returns a law of all it needs to be sampled, see `fit`. A new one is one
file and one line here.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hgfctl.registry import Registry

if TYPE_CHECKING:
    from hgfctl.engine.flows.priors.gaussian import GaussianPrior as GaussianPrior
    from hgfctl.engine.flows.priors.mixture import MixturePrior as MixturePrior
    from hgfctl.engine.flows.priors.prior import Prior as Prior
    from hgfctl.engine.flows.priors.uniform import UniformPrior as UniformPrior

PRIORS = Registry(
    "prior",
    {
        "gaussian": "hgfctl.engine.flows.priors.fit_gaussian:GaussianFit",
        "mixture": "hgfctl.engine.flows.priors.fit_mixture:MixtureFit",
        "bank": "hgfctl.engine.flows.priors.fit_bank:BankFit",
        "auto": "hgfctl.engine.flows.priors.fit_best:BestFit",
    },
)

_FACE = {"Prior": "prior", "GaussianPrior": "gaussian", "UniformPrior": "uniform", "MixturePrior": "mixture"}


def __getattr__(name: str) -> Any:
    """The classes, imported when first asked for: this file is read where torch is not to be loaded."""
    if name not in _FACE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FACE[name]}"), name)
