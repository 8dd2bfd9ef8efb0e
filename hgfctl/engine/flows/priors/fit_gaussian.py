"""One normal law for the end points of trajectories."""

from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.priors.fit import Fitted, usable
from hgfctl.engine.flows.priors.mixture import MixturePrior
from hgfctl.engine.flows.priors.spread import spread


@dataclass(frozen=True)
class GaussianFit:
    """N(mean, C~), the covariance matrix shrunk as `spread` says: full up to 256 dimensions, diagonal above."""

    def __call__(self, ends: Tensor) -> Fitted:
        x = usable(ends)
        mean = x.mean(0, keepdim=True)
        one = torch.ones(1, dtype=torch.float64)
        return Fitted("gaussian", MixturePrior(one, mean, spread((x - mean).flatten(1))))
