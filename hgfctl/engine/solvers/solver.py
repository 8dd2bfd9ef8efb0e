"""What a solver is: a velocity, a flow, a start and times in; positions out, one a step."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar

from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.phase_space import Velocity


class Solver(ABC):
    """A method for dx/dt = V(x, t) that knows what it costs."""

    least: ClassVar[int] = 1
    """Steps below which the method cannot work."""
    options: ClassVar[tuple[str, ...]] = ()
    """Fields that a configuration may set, as in `sampler: {name: dopri5, tolerance: 1e-6}`; their annotations are the
    schema, their values the defaults."""
    adaptive: ClassVar[bool] = False
    """True where the method chooses its times itself, between those of a grid."""
    draws_noise: ClassVar[bool] = False
    """True where the method puts noise in, and has to be given a source of it; see `with_noise`."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the registry calls it."""

    def check(self, flow: Flow) -> None:
        """Raises RequestError when the flow is not one that the solver can use."""

    def within(self, nfe: int) -> "Solver":
        """The same for a budget, where the method has to know it."""
        return self

    def with_noise(self, normal: Callable[[], Tensor]) -> "Solver":
        """The same with a source of standard normal draws (B, *D), where the method uses one."""
        return self

    @abstractmethod
    def steps(self, nfe: int) -> int:
        """The most steps that a budget of network evaluations allows; 0 when it allows none."""

    @abstractmethod
    def cost(self, steps: int) -> int:
        """Network evaluations that so many steps take."""

    @abstractmethod
    def trajectory(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        """Positions at `times`, one by one, beginning with `start` itself.

        Args:
            velocity: V(x, t), called `cost(N)` times.
            flow: keeps positions in its domain; gives a(t) and b(t) to solvers that use them.
            start: x at times[0], (B, *D).
            times: (N + 1,), monotone; down to 0 to sample.
        """

    def solve(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Tensor:
        """The position at times[-1]; see `trajectory`."""
        return deque(self.trajectory(velocity, flow, start, times), maxlen=1).pop()
