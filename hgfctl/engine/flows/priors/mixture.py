"""Mixtures of normal laws: one of them is a Gaussian, one for every stored point a kernel density."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor

from hgfctl.engine.flows.priors.prior import Prior

BLOCK = 2**18
"""Numbers that a block of the density's computation may take in memory."""


@dataclass(frozen=True, eq=False, repr=False)
class MixturePrior(Prior):
    """sum_k w_k N(m_k, L_k L_k'), K laws of items (*D) with d numbers.

    Args:
        weights: w, (K,), of sum 1.
        means: m, (K, *D).
        factors: L, lower triangular (K, d, d), or (K, d) for the diagonals of diagonal ones; (1, ...) for one L of all.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    def __repr__(self) -> str:
        """Tells any two priors apart."""
        content = b"".join(t.detach().cpu().contiguous().numpy().tobytes() for t in self.tensors().values())
        return f"MixturePrior({self.count} of {self.shape}, {hashlib.sha256(content).hexdigest()[:16]})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an item."""
        return tuple(self.means.shape[1:])

    @property
    def count(self) -> int:
        """K."""
        return len(self.weights)

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """float64, (N, *D); the first N numbers that are drawn choose components.

        Raises:
            ValueError: items of another shape than those that the prior was fitted to.
        """
        self._require(tuple(shape[1:]))
        place = generator.device
        u = torch.rand(shape[0], generator=generator, dtype=torch.float64, device=place)
        z = torch.randn(shape[0], math.prod(shape[1:]), generator=generator, dtype=torch.float64, device=place)
        ends = self.weights.to(place, torch.float64).cumsum(0)
        chosen = torch.searchsorted(ends, u * ends[-1], right=True).clamp(max=self.count - 1)
        factors = self.factors.to(place)
        factors = (factors[chosen] if len(factors) > 1 else factors).double()
        spread = factors * z if factors.ndim == 2 else (factors @ z.unsqueeze(-1)).squeeze(-1)
        return self.means.to(place)[chosen].double() + spread.reshape(shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats: (B, *D) -> (B,), float64."""
        self._require(tuple(x.shape[1:]))
        x = x.flatten(1).double()
        rows = max(1, BLOCK // (self.count * max(1, x.shape[1] if len(self.factors) > 1 else 1)))
        return torch.cat([self._log_prob(part) for part in torch.split(x, rows)]) if len(x) else x.new_zeros(0)

    def standardised(self, x: Tensor) -> Tensor:
        """L^-1 (x - m): (B, *D) -> (B, d), standard normal where there is one component."""
        x = (x - self.means).flatten(1)
        return whitened(self.factors, x)

    def from_standard(self, u: Tensor) -> Tensor:
        """The inverse of `standardised`: (..., d), broadcast."""
        spread = self.factors[0] * u if self.factors.ndim == 2 else u @ self.factors[0].T
        return self.means.flatten() + spread

    def to_normal(self, x: Tensor) -> Tensor:
        return self.standardised(x) if self.count == 1 else super().to_normal(x)

    def from_normal(self, u: Tensor) -> Tensor:
        return self.from_standard(u) if self.count == 1 else super().from_normal(u)

    def tensors(self) -> dict[str, Tensor]:
        """All there is to it, for a checkpoint."""
        return {"weights": self.weights, "means": self.means, "factors": self.factors}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of `tensors`.

        Raises:
            KeyError: one is missing.
            ValueError: they do not fit each other.
        """
        prior = cls(tensors["weights"], tensors["means"], tensors["factors"])
        d, k = math.prod(prior.shape), prior.count
        sizes = {(n, *rest) for n in (1, k) for rest in ((d,), (d, d))}
        if prior.means.ndim < 2 or len(prior.means) != k or tuple(prior.factors.shape) not in sizes:
            found = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in prior.tensors().items())
            raise ValueError(f"tensors that are no mixture: {found}")
        return prior

    def _log_prob(self, x: Tensor) -> Tensor:
        """Log-density of flattened items (B, d)."""
        weights, means, factors = (part.to(x) for part in (self.weights, self.means.flatten(1), self.factors))
        if factors.ndim == 2:
            log_volume = factors.log().sum(1)
            if len(factors) == 1:
                distances = torch.cdist(x / factors, means / factors).square()
            else:
                distances = ((x.unsqueeze(1) - means) / factors).square().sum(-1)
        else:
            log_volume = factors.diagonal(dim1=1, dim2=2).log().sum(1)
            if len(factors) == 1:
                distances = torch.cdist(whitened(factors, x), whitened(factors, means)).square()
            else:
                apart = (x.unsqueeze(1) - means).movedim(0, -1)
                distances = torch.linalg.solve_triangular(factors, apart, upper=False).square().sum(1).T
        constant = x.shape[1] / 2 * math.log(2 * math.pi)
        return (weights.log() - log_volume - distances / 2).logsumexp(1) - constant

    def _require(self, shape: tuple[int, ...]) -> None:
        if shape != self.shape:
            raise ValueError(f"this prior is of items {self.shape}, not {shape}")


def whitened(factor: Tensor, rows: Tensor) -> Tensor:
    """L^-1 applied to every row of (N, d); L is (1, d, d), lower triangular, or (1, d), diagonal."""
    if factor.ndim == 2:
        return rows / factor
    columns: Tensor = torch.linalg.solve_triangular(factor[0], rows.T, upper=False)
    return columns.T
