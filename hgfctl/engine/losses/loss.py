"""What a loss is."""

from typing import Any, Protocol

from torch import Generator, Tensor


class Loss(Protocol):
    """One number an item, (B,): loss(model, x0, labels, rng), differentiable in the model's weights.

    x0 is (B, *D) on the model's device, labels (B,) or None, rng a generator on the CPU.
    """

    def __call__(self, model: Any, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor: ...
