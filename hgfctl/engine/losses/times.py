"""Laws of the time at which a training item is looked at; all stratified over the batch.

With u_i = (i + U_i)/B in place of B independent uniforms every quantile of the law is met once a batch: the same
expectation at a smaller variance.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor

from hgfctl.engine.flows.flow import Flow


class Times(Protocol):
    """A law of times."""

    def __call__(self, count: int, flow: Flow, rng: Generator) -> Tensor:
        """(count,) times in (0, T], float64, on the CPU."""


@dataclass(frozen=True)
class LogNormalTimes:
    """ln sigma ~ N(mean, sd^2) on the common clock, mapped to each flow's time (Karras et al. 2022, table 1).

    Args:
        mean: of ln sigma; -1.2 + ln(flow.sd / 0.5) when left out, which is EDM's for data of its scale.
        sd: of ln sigma.
    """

    mean: float | None = None
    sd: float = 1.2

    def __call__(self, count: int, flow: Flow, rng: Generator) -> Tensor:
        mean = -1.2 + math.log(flow.sd / 0.5) if self.mean is None else self.mean
        normal = torch.special.ndtri(stratified(count, rng).clamp(1e-12, 1 - 1e-12))
        return flow.time((mean + self.sd * normal).exp())


@dataclass(frozen=True)
class UniformTimes:
    """t uniform on (0, T]."""

    def __call__(self, count: int, flow: Flow, rng: Generator) -> Tensor:
        return flow.T * (1 - stratified(count, rng))


def stratified(count: int, rng: Generator) -> Tensor:
    """(count,) uniforms in [0, 1), one in each interval [i, i + 1)/count."""
    strata = torch.arange(count, dtype=torch.float64)
    return (strata + torch.rand(count, generator=rng, dtype=torch.float64)) / count
