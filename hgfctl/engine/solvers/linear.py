"""Solvers that use a(t) and b(t), which linear flows alone have."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, cast

from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.solver import Solver


class LinearSolver(Solver):
    """A solver of linear flows; a subclass gives `linear_trajectory`."""

    flow_class: ClassVar[type[Any]] = LinearFlow

    @abstractmethod
    def linear_trajectory(self, velocity: Velocity, flow: LinearFlow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        """See `Solver.trajectory`."""

    def trajectory(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        """See `Solver.trajectory`.

        Raises:
            RequestError: the flow is not linear.
        """
        self.check(flow)
        return self.linear_trajectory(velocity, cast(LinearFlow, flow), start, times)
