"""Gaussian mixtures: the analytic law whose every marginal, score and HVP is known in closed form."""

import math

import torch
from torch import Generator, Tensor

from hgfctl.engine.data.density import DensityData, ExactDensity
from hgfctl.engine.randomness import generator


class GaussianMixture(ExactDensity):
    """sum_k w_k N(m_k, C_k) in R^d, float64.

    Args:
        weights: (K,), positive; they are normalised.
        means: (K, d).
        covariances: (K, d, d), symmetric positive definite.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        if not bool((weights > 0).all()):
            raise ValueError("every weight of a mixture must be positive")
        self.weights = weights.double() / weights.double().sum()
        self.means = means.double()
        self.covariances = covariances.double()
        self.dim = means.shape[1]
        # C_k = U_k diag(variances_k) U_k^T: one decomposition serves every S_k = a^2 C_k + b^2 I.
        self.variances, self.axes = torch.linalg.eigh(self.covariances)
        if not bool((self.variances > 0).all()):
            raise ValueError("every covariance of a mixture must be positive definite")

    def sample(self, count: int, rng: Generator) -> Tensor:
        component = torch.multinomial(self.weights, count, replacement=True, generator=rng)
        x = torch.randn(count, self.dim, generator=rng, dtype=torch.float64)
        for k, mean in enumerate(self.means):
            x[component == k] = mean + (x[component == k] * self.variances[k].sqrt()) @ self.axes[k].T
        return x

    def noised(self, sigma: float) -> "GaussianMixture":
        return GaussianMixture(
            self.weights, self.means, self.covariances + sigma**2 * torch.eye(self.dim, dtype=torch.float64)
        )

    def posterior(self, x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The law of x = a x0 + b z, component by component.

        Args:
            x: (B, d), float64.
            a, b: scalars or (B,).

        Returns:
            log density of x under each component with its weight (B, K); q_k = S_k^{-1} (x - a m_k) (B, K, d);
            C_k q_k (B, K, d), where S_k = a^2 C_k + b^2 I.
        """
        a, b = (part.reshape(-1, 1, 1).to(x) for part in (a, b))
        y = torch.einsum("kij,bki->bkj", self.axes.to(x.device), x.unsqueeze(1) - a * self.means.to(x.device))
        spread = a**2 * self.variances.to(x.device) + b**2
        log_density = -0.5 * (y**2 / spread + spread.log() + math.log(2 * math.pi)).sum(-1)
        q = torch.einsum("kij,bkj->bki", self.axes.to(x.device), y / spread)
        cq = torch.einsum("kij,bkj->bki", self.axes.to(x.device), self.variances.to(x.device) * y / spread)
        return self.weights.to(x.device).log() + log_density, q, cq

    def log_prob(self, x: Tensor) -> Tensor:
        one, zero = x.new_ones(()), x.new_zeros(())
        return self.posterior(x, one, zero)[0].logsumexp(-1)

    def score(self, x: Tensor) -> Tensor:
        one, zero = x.new_ones(()), x.new_zeros(())
        log_density, q, _ = self.posterior(x, one, zero)
        return -(log_density.softmax(-1).unsqueeze(-1) * q).sum(1)


def isotropic(means: Tensor, sd: float | Tensor) -> GaussianMixture:
    """Equal weights, covariances sd^2 I (sd a number or one a component)."""
    count, dim = means.shape
    variance = torch.as_tensor(sd, dtype=torch.float64).expand(count) ** 2
    return GaussianMixture(torch.ones(count), means, variance.reshape(-1, 1, 1) * torch.eye(dim))


def ring_mixture(modes: int = 8, radius: float = 0.7, sd: float = 0.05) -> GaussianMixture:
    """Equal Gaussians evenly spaced on a circle."""
    angle = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
    return isotropic(radius * torch.stack([angle.cos(), angle.sin()], -1), sd)


def gmm_mixture(sd: float = 0.35) -> GaussianMixture:
    """Four modes in the plane, none of them in a symmetric place."""
    return isotropic(torch.tensor([[1.2, 0.0], [-1.2, 0.3], [0.0, 1.3], [0.2, -1.1]], dtype=torch.float64), sd)


def line_mixture() -> GaussianMixture:
    """Three unequal modes on a line, mean 0, root mean square 0.5."""
    weights = torch.tensor([0.4, 0.35, 0.25], dtype=torch.float64)
    means = torch.tensor([-1.2, 0.1, 1.3], dtype=torch.float64)
    sd = torch.tensor([0.2, 0.12, 0.3], dtype=torch.float64)
    means -= weights @ means
    rms = (weights @ (means.square() + sd.square())).sqrt()
    return GaussianMixture(weights, means.unsqueeze(1) * (0.5 / rms), (sd * (0.5 / rms)).square().reshape(-1, 1, 1))


def spectral_mixture(dim: int, components: int, seed: int = 0, decay: float = 0.75) -> GaussianMixture:
    """Components in d dimensions whose scales fall as (1 + i)^-decay, as images' do; overall root mean square 0.5."""
    rng = generator(seed, f"gmm{dim}")
    scale = (1 + torch.arange(dim, dtype=torch.float64)) ** -decay
    means = scale * torch.randn(components, dim, generator=rng, dtype=torch.float64)
    means -= means.mean(0)
    width = 0.5 + torch.rand(components, 1, generator=rng, dtype=torch.float64)
    variances = (0.4 * scale * width) ** 2
    rms = (means.square() + variances).mean().sqrt()
    return GaussianMixture(torch.ones(components), means * (0.5 / rms), torch.diag_embed(variances * (0.5 / rms) ** 2))


def ring(modes: int = 8, radius: float = 0.7, sd: float = 0.05) -> DensityData:
    """Data set `ring`: Gaussians on a circle.

    Args:
        modes: how many.
        radius: of the circle.
        sd: standard deviation of each.
    """
    return DensityData(ring_mixture(modes, radius, sd))


def gmm(sd: float = 0.35) -> DensityData:
    """Data set `gmm`: four Gaussians in the plane."""
    return DensityData(gmm_mixture(sd))


def gmm1() -> DensityData:
    """Data set `gmm1`: three Gaussians on a line."""
    return DensityData(line_mixture())


def gmm64_mixture(seed: int = 0) -> GaussianMixture:
    """16 components in 64 dimensions with the decaying spectrum of images."""
    return spectral_mixture(64, 16, seed)


def gmm8(seed: int = 0, decay: float = 0.75) -> DensityData:
    """Data set `gmm8`: eight Gaussians in eight dimensions; see `gmm64`."""
    return DensityData(spectral_mixture(8, 8, seed, decay))


def gmm64(seed: int = 0, decay: float = 0.75) -> DensityData:
    """Data set `gmm64`: 16 Gaussians in 64 dimensions.

    Args:
        seed: draws another mixture of the same kind.
        decay: of the spectrum, coordinate i having scale (1 + i)^-decay; 0 makes all coordinates alike.
    """
    return DensityData(spectral_mixture(64, 16, seed, decay))
