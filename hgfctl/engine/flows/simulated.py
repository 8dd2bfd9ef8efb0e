"""A designed flow whose force has no closed motion: it is simulated, and measured where formulas end."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from hgfctl.engine.flows.designed import Designed
from hgfctl.engine.flows.flights import Flights
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.phase_space import State

LOOKS = 65
"""Times at which moments are measured, evenly spaced from 0 to T."""
AT_ONCE = 2**18
"""Coordinates of the items that are flown together to measure: each is kept at all LOOKS."""
MOST_STEPS, MOST_REPLAYS = 100_000, 1024


@dataclass(frozen=True, kw_only=True)
class Simulated(Designed):
    """States by simulation (`Flights`), second moments and prior measured on flights of the data.

    Args:
        steps: of the integrator, over T.
        integrator: see `Flights`.
        replay: states that training takes of each flight.
        table: (3, LOOKS), the mean over coordinates of x^2, x v and v^2 at the times of `LOOKS`, once measured.
    """

    steps: int = 64
    integrator: str = "leapfrog"
    replay: int = 8
    table: Tensor | None = field(default=None, repr=False, compare=False)

    simulated: ClassVar[bool] = True
    tuned_as: ClassVar[str] = "simulated"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.replay <= MOST_REPLAYS:
            raise ValueError(f"replay must be 1 to {MOST_REPLAYS:,}, not {self.replay:,}")
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"steps must be 1 to {MOST_STEPS:,}, not {self.steps:,}")
        assert self.flights

    @property
    def flights(self) -> Flights:
        return Flights(self.force_field, self.T, self.steps, self.integrator)

    @property
    def exact_prior(self) -> Prior | None:
        return None

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        return self.flights.to(State(x0, self.law(x0, z)), t)

    def states(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        """Several states of each flight: x0 and z (B, *D), t (B, K) -> (B, K, *D)."""
        return self.flights.looks(State(x0, self.law(x0, z)), t)

    @torch.no_grad()
    def measured(self, x0: Tensor) -> Self:
        z = self.test_noise(x0)
        times = torch.linspace(0, self.T, LOOKS, dtype=torch.float64, device=x0.device)
        total, ends = torch.zeros(3, LOOKS, dtype=torch.float64, device=x0.device), []
        at_once = max(1, AT_ONCE // x0[0].numel())
        for start, noise in zip(torch.split(x0, at_once), torch.split(z, at_once)):
            found = self.states(start, noise, times.expand(len(start), -1))
            x, v = (part.double().flatten(2) for part in found)
            total += torch.stack([(a * b).sum((0, 2)) for a, b in ((x, x), (x, v), (v, v))])
            ends.append(found.x[:, -1])
        return replace(self, table=(total / x0.numel()).cpu()).with_prior(torch.cat(ends))

    def moments(self, t: Tensor) -> Moments:
        """Interpolated linearly between the times measured at."""
        if self.table is None:
            raise RuntimeError("the moments of this flow have to be measured first, on data: Flow.measured")
        table = self.table.to(t.device)
        place = (t / self.T * (LOOKS - 1)).clamp(0, LOOKS - 1)
        cell = place.floor().long().clamp(max=LOOKS - 2)
        xx, xv, vv = table[:, cell] + (place - cell) * (table[:, cell + 1] - table[:, cell])
        return Moments(xx, xv, vv, (vv - xv.square() / xx).clamp_min(1e-6 * vv))

    def tensors(self) -> dict[str, Tensor]:
        return {**super().tensors(), "moments": self.table} if self.table is not None else super().tensors()

    def restored(self, tensors: Mapping[str, Tensor]) -> Self:
        whole = super().restored(tensors)
        return replace(whole, table=tensors["moments"].double()) if "moments" in tensors else whole
