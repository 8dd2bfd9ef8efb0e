"""States of simulated flows, flown ahead of the training steps that look at them.

Training counts in rounds. In a round each place of the batch has some flights of its own, and each flight is looked at
`replay` times; the looks are dealt out over the steps of the round. A round depends on the seed and its number alone,
and a place on nothing but its own flights: training resumes anywhere, and the states are the same however the batch is
shared out. The next round is flown by a thread of its own while this one is used up.
"""

import math
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.experiment import Experiment
from hgfctl.engine.flows.simulated import Simulated
from hgfctl.engine.losses.loss import Share
from hgfctl.engine.losses.states import StateLoss, States, augmented
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.phase_space import as_times
from hgfctl.engine.randomness import generator, normal

FLIGHTS = 8
"""Flights of a place in a round, at most."""
ROOM = 2**25
"""Numbers in the positions of a whole batch's round, at most, unless one flight a place needs more."""


class Look(NamedTuple):
    """The things that a step trains on: states, and labels (B,) or None."""

    states: States
    labels: Tensor | None


class _Round(NamedTuple):
    """All looks of a round, (steps, B, ...) each, and labels and what augmentation tells in the same order, or None."""

    x: Tensor
    v: Tensor
    t: Tensor
    labels: Tensor | None
    augmented_by: Tensor | None


class _Flight(NamedTuple):
    """A flight a place with its looks, (B, K, ...) each."""

    x: Tensor
    v: Tensor
    labels: Tensor | None
    augmented_by: Tensor | None


def needs_flights(experiment: Experiment) -> bool:
    """Says whether training regresses on a flow that has to be simulated."""
    flow = experiment.flow
    return flow is not None and flow.simulated and isinstance(experiment.loss, StateLoss)


class StatesAhead:
    """The states of a share of the batch, step by step.

    Args:
        experiment: one that `needs_flights`.
        share: which places of the batch begin here, and of how many.
        count: how many places.
        device: where to fly.
    """

    def __init__(self, experiment: Experiment, share: Share, count: int, device: torch.device) -> None:
        model, loss = experiment.model, experiment.loss
        assert isinstance(model, HVP)
        assert isinstance(model.flow, Simulated)
        assert isinstance(loss, StateLoss)
        self._flow, self._loss, self._data = model.flow, loss, experiment.data
        self._seed, self._share, self._count, self._device = experiment.config.train.seed, share, count, device
        batch = model.flow.replay * share.total * math.prod(experiment.data.shape)
        self._flights = max(1, min(FLIGHTS, ROOM // batch))
        self._last = experiment.config.train.steps
        self._worker = ThreadPoolExecutor(1, "flights")
        self._rounds: dict[int, Future[_Round]] = {}

    @property
    def steps(self) -> int:
        """Steps of a round."""
        return self._flights * self._flow.replay

    def at(self, step: int) -> Look:
        """The states of a training step, counted from 0."""
        number, slot = divmod(step, self.steps)
        for near in (number, number + 1):
            if near not in self._rounds and near * self.steps < self._last:
                self._rounds[near] = self._worker.submit(self._fly, near)
        self._rounds = {near: future for near, future in self._rounds.items() if near >= number}
        x, v, t, labels, augmented_by = self._rounds[number].result()
        states = States(x[slot], v[slot], t[slot], None if augmented_by is None else augmented_by[slot])
        return Look(states, None if labels is None else labels[slot])

    @torch.no_grad()
    def _fly(self, number: int) -> _Round:
        """Look i of a place is of its flight i // replay, and goes to the step that `dealt` says."""
        share, count, flow = self._share, self._count, self._flow
        drawn = torch.rand(share.total, self.steps, generator=generator(self._seed, "dealt", number))
        dealt = share.of(drawn, count).argsort(1)  # (B, looks) -> step
        t = torch.stack([self._times(number * self.steps + i) for i in range(self.steps)], 1).gather(1, dealt)
        t = as_times(t, torch.empty(0, device=self._device))
        flights = [
            self._flight(number * self._flights + i, looks) for i, looks in enumerate(torch.split(t, flow.replay, 1))
        ]
        taken = dealt.argsort(1).to(self._device)  # (B, steps) -> look
        places = torch.arange(count, device=self._device).unsqueeze(1)

        def in_order(of_looks: Tensor) -> Tensor:
            return of_looks[places, taken].transpose(0, 1).contiguous()

        def together(parts: Iterable[Tensor | None]) -> Tensor | None:
            present = [part for part in parts if part is not None]
            return in_order(torch.cat(present, 1)) if present else None

        x, v = (in_order(torch.cat(parts, 1)) for parts in zip(*((flight.x, flight.v) for flight in flights)))
        labels, augmented_by = (
            together(flight.labels for flight in flights),
            together(flight.augmented_by for flight in flights),
        )
        return _Round(x, v, in_order(t), labels, augmented_by)

    def _times(self, step: int) -> Tensor:
        """(B,): stratified over the whole batch, as ever."""
        share = self._share
        return share.of(self._loss.times(share.total, self._flow, generator(self._seed, "times", step)), self._count)

    def _flight(self, flight: int, t: Tensor) -> "_Flight":
        """x and v of one flight a place at times t (B, K), and its label and what augmentation tells: (B, K, ...)."""
        share, count, looks = self._share, self._count, t.shape[1]
        first = flight * share.total
        x0, labels = self._data.part(first, share.total, self._seed, slice(share.first, share.first + count))
        x0 = x0.to(self._device)
        rng = generator(self._seed, "flight", flight)
        z = share.of(normal((share.total, *x0.shape[1:]), rng, x0.device), count)
        x0, augmented_by = augmented(self._loss.augment, x0, rng, share)
        x, v = self._flow.states(x0, self._flow.law.paired(x0, z, labels), t)

        def repeated(part: Tensor | None) -> Tensor | None:
            return None if part is None else part.to(self._device).unsqueeze(1).expand(-1, looks, *part.shape[1:])

        return _Flight(x, v, repeated(labels), repeated(augmented_by))
