"""Laws on R^d: what can be sampled, with log-density and score where they are known."""

from abc import ABC, abstractmethod

from torch import Generator, Tensor


class Density(ABC):
    """A law on R^d that can be sampled."""

    dim: int

    @abstractmethod
    def sample(self, count: int, rng: Generator) -> Tensor:
        """(count, d) draws, float64."""

    def noised(self, sigma: float) -> "ExactDensity | None":
        """The law of x + sigma z, z ~ N(0, I), where its score is known; None where it is not."""
        return None

    def with_log_prob(self) -> "KnownDensity | None":
        """The same law, if its log-density is known; else None."""
        return None

    def with_score(self) -> "ExactDensity | None":
        """The same law, if its log-density and score are known; else None."""
        return None


class KnownDensity(Density):
    """A law whose log-density is known."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats: (B, d) -> (B,)."""

    def with_log_prob(self) -> "KnownDensity":
        return self


class ExactDensity(KnownDensity):
    """A law whose log-density and score are known."""

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """grad log p: (B, d) -> (B, d)."""

    def with_score(self) -> "ExactDensity":
        return self
