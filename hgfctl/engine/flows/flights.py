"""Flights under a force that has no closed form: by a symplectic integrator, each item to times of its own."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.integrators import INTEGRATORS, runge_kutta
from hgfctl.engine.integrators.symplectic import Splitting
from hgfctl.engine.phase_space import State, as_times, over


@dataclass(frozen=True)
class Flights:
    """A force and how it is integrated.

    Args:
        force: F(x, v, t).
        T: the longest flight.
        steps: of the integrator over T.
        integrator: "leapfrog" or "yoshida", which are symplectic; "rk4" for forces that depend on v.
    """

    force: Force
    T: float
    steps: int
    integrator: str = "leapfrog"

    def __post_init__(self) -> None:
        if self.force.depends_on_velocity and self._splitting:
            raise ValueError(f"integrator '{self.integrator}' is for forces of x and t, and this one depends on v: rk4")

    @property
    def _splitting(self) -> Splitting | None:
        method = INTEGRATORS[self.integrator]
        return method if isinstance(method, Splitting) else None

    def to(self, start: State, t: Tensor) -> State:
        """The states at times t, () or (B,), of flights from `start` at 0: `steps` steps each, however long."""
        t = as_times(t, start.x)
        if self._splitting:
            shares = torch.linspace(0, 1, self.steps + 1, dtype=t.dtype, device=t.device)
            return self._splitting.integrate(self._of_position, start, shares.reshape(-1, *[1] * t.ndim) * t)
        y = torch.stack(start)
        for i in range(self.steps):
            y = self._rk4(y, t * (i / self.steps), t / self.steps)
        return State(*y)

    def course(self, start: State, times: Tensor) -> Iterator[State]:
        """The states at `times`, (N + 1,), beginning with `start` itself; a step each."""
        if self._splitting:
            yield from self._splitting.trajectory(self._of_position, start, times)
            return
        yield start
        y, times = torch.stack(start), as_times(times, start.x)
        for t, h in zip(times[:-1], times.diff(), strict=True):
            y = self._rk4(y, t, h)
            yield State(*y)

    def looks(self, start: State, t: Tensor) -> State:
        """The states of each flight at several times of its own, at the cost of one flight and one more step a look.

        Each look is a last, shorter step from the grid of T / steps.

        Args:
            start: (B, *D).
            t: (B, K), from 0 to T.

        Returns:
            (B, K, *D).
        """
        t = as_times(t, start.x)
        grid = torch.linspace(0, self.T, self.steps + 1, dtype=t.dtype, device=t.device)
        cell = (t / self.T * self.steps).floor().clamp(0, self.steps - 1).long()
        x, v = (torch.empty(*t.shape, *part.shape[1:], dtype=part.dtype, device=part.device) for part in start)
        for i, here in zip(range(self.steps), self.course(start, grid)):
            flight, look = (cell == i).nonzero(as_tuple=True)
            if len(flight):
                x[flight, look], v[flight, look] = self._hop(
                    State(here.x[flight], here.v[flight]), grid[i], t[flight, look]
                )
        return State(x, v)

    def _hop(self, state: State, start: Tensor, end: Tensor) -> State:
        """One step, from a common time to each item's own."""
        if self._splitting:
            return self._splitting.integrate(self._of_position, state, torch.stack([start.expand_as(end), end]))
        return State(*self._rk4(torch.stack(state), start, end - start))

    def _of_position(self, x: Tensor, t: Tensor) -> Tensor:
        return self.force(x, x, t)

    def _rk4(self, y: Tensor, t: Tensor, h: Tensor) -> Tensor:
        """One step of (x, v) = y from t to t + h, () or (B,): in units of h, which items need not share."""

        def derivative(y: Tensor, share: Tensor) -> Tensor:
            x, v = y
            return over(h, x).to(x.dtype) * torch.stack([v, self.force(x, v, t + share * h)])

        return runge_kutta.step(derivative, y, 0.0, 1.0, runge_kutta.RK4)
