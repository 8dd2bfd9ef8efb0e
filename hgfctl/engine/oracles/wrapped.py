"""The exact HVP of wrapped Gaussians on a torus, under uniform displacements.

Per coordinate, x0 ~ N(m, s^2) on the line and v0 uniform on [-L/2, L/2] / T: an arrival at y comes from the interval
[y - h, y + h], h = t L / (2 T), so with A = (y - h - m)/s and B = (y + h - m)/s

    f(y) = [Phi(B) - Phi(A)] / (2 h),    E[v | arrival at y] = (y - m - s E[z | A < z < B]) / t,    z ~ N(0, 1).

Around the torus arrivals at all images x + L k are one; V is their mean, weighted by f, and for mixtures that of the
components, weighted by their densities, products over coordinates. At t = T every weight of a coordinate sums to 1 / L.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.torus import Torus
from hgfctl.engine.oracles.boxes import normal_between


@dataclass(frozen=True)
class WrappedHVP:
    """V(x, t) for equally likely Gaussians N(m_k, s^2 I) around a torus; in float64, returned in x's type.

    At t = 0 it is E[v0] = 0.

    Args:
        means: (K, d).
        sd: s.
        flow: the torus.
    """

    means: Tensor
    sd: float
    flow: Torus

    def _arrivals(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (B, K, d) of each coordinate under each component alone, and mean velocity there (B, K, d)."""
        x, t = x.double().unsqueeze(1), t.double().reshape(-1, 1, 1).clamp_min(_NO_TIME)
        reach = math.ceil(2 + 10 * self.sd / self.flow.side)
        shift = self.flow.side * torch.arange(-reach, reach + 1).to(x).reshape(-1, 1, 1, 1)
        offset = x + shift - self.means.to(x)  # (images, B, K, d)
        half = t * self.flow.side / (2 * self.flow.T)
        log_share, mean = normal_between((offset - half) / self.sd, (offset + half) / self.sd)
        log_share = log_share - (2 * half).log()
        log_p = log_share.logsumexp(0)
        velocity = (offset - self.sd * mean) / t
        return log_p, ((log_share - log_p).exp() * velocity).sum(0)

    def log_prob(self, x: Tensor, t: Tensor) -> Tensor:
        """log p_t(x), exactly, for t > 0: x (B, d), t a scalar or (B,) -> (B,), float64."""
        return self._arrivals(x, t)[0].sum(-1).logsumexp(-1) - math.log(len(self.means))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        log_p, mean = self._arrivals(x, t)
        share = log_p.sum(-1, keepdim=True).softmax(1)
        return torch.where(t.reshape(-1, 1) > 0, (share * mean).sum(1), 0.0).to(x.dtype)


_NO_TIME = 1e-9
"""Times below are read as this one: no division by 0."""
