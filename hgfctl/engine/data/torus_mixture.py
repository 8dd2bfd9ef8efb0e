"""Gaussians wrapped around a torus."""

import math

import torch
from torch import Generator, Tensor

from hgfctl.engine.data.density import DensityData, ExactDensity


class WrappedMixture(ExactDensity):
    """Equally likely Gaussians N(m_k, sd^2 I), modulo 2 in every coordinate: a law on the torus [-1, 1)^d.

    Coordinate by coordinate the density is the sum over all images, N(x + 2 j; m_k, sd^2).

    Args:
        means: (K, d).
        sd: standard deviation before wrapping.
    """

    def __init__(self, means: Tensor, sd: float) -> None:
        if not 0 < sd < math.inf:
            raise ValueError(f"sd must be positive and finite, not {sd}")
        self.means, self.sd = means.double(), sd
        self.dim = means.shape[1]

    def sample(self, count: int, rng: Generator) -> Tensor:
        component = torch.randint(len(self.means), (count,), generator=rng)
        x = self.means[component] + self.sd * torch.randn(count, self.dim, generator=rng, dtype=torch.float64)
        return torch.remainder(x + 1, 2) - 1

    def log_prob(self, x: Tensor) -> Tensor:
        return self._images(x).logsumexp(-1).sum(-1).logsumexp(-1) - math.log(len(self.means))

    def score(self, x: Tensor) -> Tensor:
        images = self._images(x)
        each = -(images.softmax(-1) * self._offsets(x)).sum(-1) / self.sd**2
        share = images.logsumexp(-1).sum(-1, keepdim=True).softmax(1)
        return (share * each).sum(1)

    def _offsets(self, x: Tensor) -> Tensor:
        """x + 2 j - m_k, for every image that matters: (B, K, d, images)."""
        reach = math.ceil(1 + 5 * self.sd)
        shift = 2 * torch.arange(-reach, reach + 1).to(x.device)
        offset = torch.remainder(x.double().unsqueeze(1) - self.means.to(x.device) + 1, 2) - 1
        return offset.unsqueeze(-1) + shift

    def _images(self, x: Tensor) -> Tensor:
        """Log-density of each image: (B, K, d, images)."""
        scaled = self._offsets(x) / self.sd
        return -0.5 * scaled.square() - math.log(self.sd * math.sqrt(2 * math.pi))


def lattice(modes: int) -> Tensor:
    """(modes, 2) points (k, 2 k) / modes of the torus [-1, 1)^2, the first of them at its corner."""
    k = torch.arange(modes, dtype=torch.float64)
    return 2 * torch.remainder(torch.stack([k, 2 * k], 1) / modes, 1) - 1


def torus_mixture(modes: int = 5, sd: float = 0.12) -> DensityData:
    """Data set `torus-mixture`: wrapped Gaussians on [-1, 1)^2; one sits at the corner, across all edges.

    Args:
        modes: how many, on a lattice.
        sd: standard deviation of each.
    """
    if modes < 1:
        raise ValueError(f"modes must be 1 or more, not {modes}")
    return DensityData(WrappedMixture(lattice(modes), sd))
