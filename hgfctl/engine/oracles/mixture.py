"""The exact HVP of Gaussian mixture data under a linear flow: the oracle of solvers, losses and figures.

With S_k = a^2 C_k + b^2 I and q_k = S_k^{-1} (x - a m_k), the responsibilities r_k = softmax_k [log w_k + log N(x;
a m_k, S_k)] give D = sum_k r_k (m_k + a C_k q_k), Z = b sum_k r_k q_k and V = a' D + b' Z.
"""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.data.mixture import GaussianMixture
from hgfctl.engine.flows.linear import LinearFlow


@dataclass(frozen=True)
class MixtureHVP:
    """V(x, t) = E[v_t | x_t = x], finite at both ends of time; computed in float64 and returned in x's type."""

    mixture: GaussianMixture
    flow: LinearFlow

    def denoiser_and_noise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """E[x0 | x_t = x] and E[z | x_t = x]; x (B, d), t a scalar or (B,) -> (B, d) each, float64."""
        a, b, _, _ = self.flow.path(t.double())
        log_density, q, cq = self.mixture.posterior(x.double(), a, b)
        r = log_density.softmax(-1).unsqueeze(-1)
        a, b = a.reshape(-1, 1, 1), b.reshape(-1, 1)
        return (r * (self.mixture.means.to(x.device) + a * cq)).sum(1), b * (r * q).sum(1)

    def log_prob(self, x: Tensor, t: Tensor) -> Tensor:
        """log p_t(x), exactly: (B, d) -> (B,), float64."""
        a, b, _, _ = self.flow.path(t.double())
        return self.mixture.posterior(x.double(), a, b)[0].logsumexp(-1)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        _, _, da, db = self.flow.path(t.double())
        denoised, noise = self.denoiser_and_noise(x, t)
        return (da.reshape(-1, 1) * denoised + db.reshape(-1, 1) * noise).to(x.dtype)
