"""A prior: the law p_T from which sampling starts."""

from abc import ABC, abstractmethod

from torch import Generator, Tensor

from hgfctl.errors import RequestError


class Prior(ABC):
    """A law on arrays: of any shape, or of those that it was fitted to.

    Where coordinates are known in which it is standard normal, or normal but for the length, `to_normal` and
    `from_normal` lead there and back; paths between latents are arcs in them.
    """

    @abstractmethod
    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """A float64 draw of the given shape (N, *D), on the generator's device."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density in nats of each item: (B, *D) -> (B,)."""

    def to_normal(self, x: Tensor) -> Tensor:
        """Coordinates in which the law is normal: (B, *D) -> (B, ...).

        Raises:
            RequestError: none are known.
        """
        raise _no_path()

    def from_normal(self, u: Tensor) -> Tensor:
        """The inverse of `to_normal` on flattened coordinates with an axis before those of the batch.

        (F, B, n) -> (F, B, d), d the numbers of an item.

        Raises:
            RequestError: see `to_normal`.
        """
        raise _no_path()

    def nearest(self, u: Tensor, v: Tensor) -> Tensor:
        """The coordinates (B, n) of v's item that are nearest to u: v itself, where an item has one set of them."""
        return v


def _no_path() -> RequestError:
    return RequestError(
        "between two latents of this flow no path is known that its prior finds likely (that is known of normal\n"
        "and uniform priors, not of mixtures and banks); flow.prior=gaussian has one, where it fits"
    )
