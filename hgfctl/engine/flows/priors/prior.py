"""What a prior is: the law p_T from which sampling starts."""

from typing import Protocol

from torch import Generator, Tensor


class Prior(Protocol):
    """A law on arrays: of any shape, or of those that it was fitted to."""

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """A float64 draw of the given shape (N, *D), on the generator's device."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats of each item: (B, *D) -> (B,)."""
