"""What a loss is."""

from typing import Any, Protocol, runtime_checkable

from torch import Generator, Tensor


class Loss(Protocol):
    """One number an item, (B,): loss(model, x0, labels, rng), differentiable in the model's weights.

    x0 is (B, *D) on the model's device, labels (B,) or None, rng a generator on the CPU.
    """

    def __call__(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor: ...


@runtime_checkable
class Adaptive(Protocol):
    """A loss that looks at the model from time to time, and decides."""

    every: int
    """Training steps between two looks."""

    def adapt(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> None:
        """A look, on a batch; what was seen is kept in buffers."""

    def facts(self, model: Any) -> dict[str, float]:
        """What was decided, for the log."""
