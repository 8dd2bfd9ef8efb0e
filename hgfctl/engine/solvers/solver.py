"""A solver: a velocity, a flow, a start and times in; positions out, one a step."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Self

from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers import SOLVERS
from hgfctl.errors import RequestError

Draw = Callable[[], Tensor]
"""A source of standard normal draws (B, *D), each item with a stream of its own."""


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
    flow_class: ClassVar[type[Any]] = Flow
    """The flows that the method works with."""
    needs: ClassVar[str] = "needs"
    """The verb of the refusal of other flows, after the name and before the family of flows."""
    steps_velocity: ClassVar[bool] = False
    """Every new position is the old one and a sum of values of V, at any time grid up or down: likelihoods use such."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The name in the registry."""

    def admits(self, flow: Flow) -> bool:
        """True for a flow that the solver can use."""
        return isinstance(flow, self.flow_class)

    def check(self, flow: Flow) -> None:
        """Raises RequestError for a flow that the solver cannot use, and names those that can."""
        if not self.admits(flow):
            others = ", ".join(name for name, solver in SOLVERS.items() if solver.admits(flow))
            raise RequestError(f"{self.name} {self.needs} {self.flow_class.kind}; for this one there are {others}")

    def both_ends(self) -> Self:
        """The solver as it has to be where V at t = 0 is asked for, because the way begins there."""
        return self

    def within(self, nfe: int) -> Self:
        """The same for a budget, where the method has to know it."""
        return self

    def with_noise(self, normal: Draw) -> Self:
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
