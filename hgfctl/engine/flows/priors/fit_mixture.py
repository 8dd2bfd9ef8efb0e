"""A few normal laws for the end points of trajectories."""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hgfctl.engine.flows.priors.fit import Fitted, usable
from hgfctl.engine.flows.priors.mixture import MixturePrior

FULL = 64
"""Dimension up to which covariance matrices are full; above, diagonal."""
LADDER = (2, 3, 4, 6, 8, 12, 16)
"""Numbers of components that are tried."""


@dataclass(frozen=True)
class MixtureFit:
    """A Gaussian mixture by expectation maximisation (scikit-learn), from k-means, variances 1e-6 of the mean at least.

    Args:
        components: how many; when left out, of 2, 3, 4, 6, 8, 12 and 16 the one with the least Bayesian information
            criterion, tried until it has risen twice in a row.
        points: end points that are used, at most.
    """

    components: int | None = None
    points: int = 4096

    def __post_init__(self) -> None:
        if self.components is not None and self.components < 1:
            raise ValueError(f"components must be 1 or more, not {self.components}")
        if self.points < 1:
            raise ValueError(f"points must be 1 or more, not {self.points}")

    def __call__(self, ends: Tensor) -> Fitted:
        x = usable(ends)[: self.points]
        if (self.components or 1) > len(x):
            raise ValueError(f"{self.components} components need more than {len(x):,} trajectories")
        rows = x.flatten(1)
        scale = rows.var(0).mean().sqrt()  # scikit-learn's least variance is absolute
        fit = self._fit((rows / scale).numpy())
        factors = torch.from_numpy(fit.covariances_)
        factors = torch.linalg.cholesky(factors) if factors.ndim == 3 else factors.sqrt()
        means = torch.from_numpy(fit.means_) * scale
        weights = torch.from_numpy(fit.weights_)
        return Fitted("mixture", MixturePrior(weights, means.reshape(-1, *x.shape[1:]), scale * factors))

    def _fit(self, rows: Any) -> Any:
        """The mixture of scikit-learn's, of (N, d)."""
        if self.components is not None:
            return _of(self.components, rows)
        best, least, rises = None, math.inf, 0
        for count in (k for k in LADDER if k == LADDER[0] or 4 * k <= len(rows)):
            fit = _of(count, rows)
            criterion = fit.bic(rows)
            if criterion < least:
                best, least, rises = fit, criterion, 0
            else:
                rises += 1
            if rises == 2:
                break
        return best


def _of(components: int, rows: Any) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    kind = "full" if rows.shape[1] <= FULL else "diag"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what an early stop costs, the two-sample test will say
        return GaussianMixture(components, covariance_type=kind, reg_covar=1e-6, random_state=0).fit(rows)
