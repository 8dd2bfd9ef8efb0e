"""An integrator: a force, a start and times in, states of phase space out."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator

from torch import Tensor

from hgfctl.engine.phase_space import State

Force = Callable[[Tensor, Tensor], Tensor]
"""A force field F(x, t): x of shape (B, *D), t a scalar tensor -> (B, *D)."""


class Integrator(ABC):
    """A one-step method for dx/dt = v, dv/dt = F(x, t). Differentiable in the start, the times and the force."""

    @abstractmethod
    def trajectory(self, force: Force, start: State, times: Tensor) -> Iterator[State]:
        """The states at `times`, one by one, beginning with `start` itself.

        Args:
            force: the force field.
            start: (x, v) at times[0], both (B, *D); every state keeps their type.
            times: (N + 1,), float64, increasing or decreasing: times.flip(0) flies back. Splittings also take
                (N + 1, B), times of each item's own.
        """

    def integrate(self, force: Force, start: State, times: Tensor) -> State:
        """The state at times[-1], from `start` at times[0]; see `trajectory`."""
        return deque(self.trajectory(force, start, times), maxlen=1).pop()
