"""What a loss is."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

from torch import Generator, Tensor


class Loss(Protocol):
    """One number an item, (B,): loss(model, x0, labels, rng), differentiable in the model's weights.

    x0 is (B, *D) on the model's device, labels (B,) or None, rng a generator on the CPU.
    """

    def __call__(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor: ...


class Share(NamedTuple):
    """Which items of a batch a call is about: those from `first` on, of `total`."""

    first: int
    total: int

    def of(self, drawn: Tensor, count: int) -> Tensor:
        """The share's rows of what was drawn for all items."""
        return drawn[self.first : self.first + count]


@runtime_checkable
class Shared(Protocol):
    """A loss that draws for a whole batch and takes its share: one process, many, or parts of a batch do the same."""

    def on_share(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator, share: Share) -> Tensor:
        """As a call, for these items of the batch; rng is the whole batch's."""


@runtime_checkable
class Adaptive(Protocol):
    """A loss that looks at the model from time to time, and decides."""

    every: int
    """Training steps between two looks."""

    def adapt(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> None:
        """A look, on a batch; what was seen is kept in buffers."""

    def facts(self, model: Any) -> dict[str, float]:
        """What was decided, for the log."""
