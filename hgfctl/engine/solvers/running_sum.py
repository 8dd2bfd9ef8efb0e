"""A position as the sum of its start and of many small steps, without the steps' low digits being lost.

A float32 position of size 1 forgets what a step adds below 6e-8, at every step. What was forgotten is known exactly
(Knuth's two-sum) and goes into the next step (Kahan 1965; Neumaier 1974): after N steps the error is that of one
rounding, not of N. Where there is float64, the steps' own errors are far above its rounding, and a plain sum will do.
"""

from collections.abc import Callable

import torch
from torch import Tensor


class RunningSum:
    """start + increment + increment + ...

    Args:
        start: (B, *D).
    """

    def __init__(self, start: Tensor) -> None:
        self.value = start
        self._lost = None if start.dtype == torch.float64 else torch.zeros_like(start)

    def add(self, increment: Tensor, confine: Callable[[Tensor], Tensor]) -> Tensor:
        """The sum with one more increment, brought back into the domain (`Flow.confine`): (B, *D)."""
        if self._lost is None:
            self.value = confine(self.value + increment)
            return self.value
        increment = increment + self._lost
        total = self.value + increment
        kept = total - self.value
        lost = (self.value - (total - kept)) + (increment - kept)
        self.value = confine(total)
        self._lost = torch.where(self.value == total, lost, 0.0)
        return self.value
