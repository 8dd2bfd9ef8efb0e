"""The base class of networks: functions N(x, noise, labels) that know nothing of flows."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Network(nn.Module, ABC):
    """N(x, noise, labels, augmented): a function of items and of what is known about them.

    A subclass defines `forward`. Its constructor asks for the shape of an item, the number of classes and the length of
    `augmented` by annotations, see `hgfctl.engine.provided`; its other parameters are options of presets.
    """

    can_recompute: ClassVar[bool] = False
    """True where `recompute` is heeded, that is where large blocks are called through `run`."""

    recompute: bool = False
    """True to have a backward pass compute the inside of blocks again, rather than keep it: less memory, a third more
    time (Chen et al. 2016, arXiv 1604.06174)."""

    @abstractmethod
    def forward(
        self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """N, (B, *D), in the type of the weights.

        Args:
            x: (B, *D), of unit variance.
            noise: (B,), ln(sigma)/4 of the noise level sigma; 0 where there is none.
            labels: (B,) int64; None for unknown classes.
            augmented: (B, k) numbers that say how an item was augmented; None for not at all. Networks that do not ask
                for their count k are never given any, and may leave the parameter out.
        """

    def run(self, block: nn.Module, *args: Tensor) -> Any:
        """Calls a block, such that its inside is computed again in the backward pass if `recompute` says so."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(block, *args, use_reentrant=False)
        return block(*args)
