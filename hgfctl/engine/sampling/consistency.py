"""Sampling a consistency model: to the data in one step, back part of the way with fresh noise, and again.

(Song et al. 2023, arXiv 2303.01469, algorithm 1.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from hgfctl.config import AUTO
from hgfctl.engine.flows.conversions import denoiser_from_hvp
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.models.hvp import HVP, SIGMA_SEEN
from hgfctl.engine.models.model import Model
from hgfctl.engine.phase_space import as_times
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.options import checked
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.engine.solvers.grids import named
from hgfctl.errors import RequestError

GRID = "square-root"
"""The grid that `auto` stands for."""


@dataclass(frozen=True)
class ConsistencySampler(Sampler):
    """x <- f(x, t), and x <- a(s) x + b(s) z, z ~ N(0, I), to the next time s; the last f is the sample.

    f is the denoiser read from V, which training made the end of the way (`losses.consistency`); a step is DDIM's to
    t = 0. It takes any HVP, but of one that was not trained for this a step is no way to the data.

    Args:
        shape, classes: see `Sampler`.
        hvp: the predictor, in evaluation mode; its weights' device is where the work is done.
        budget: network evaluations, one a step.
        grid: name of the times at which f is taken.
    """

    hvp: HVP
    budget: int
    grid: str = GRID

    @classmethod
    def of_model(cls, model: Model, shape: tuple[int, ...], classes: int, request: SamplingRequest) -> Self:
        assert isinstance(model, HVP)
        request.refuse_guidance("consistency")
        if request.puts_noise_in:
            raise RequestError("churn and restart are for solvers of flows; consistency puts noise in by itself")
        checked(request.sampler, {}, "consistency")
        return cls(shape, classes, model, request.nfe, GRID if request.grid == AUTO else request.grid)

    def __post_init__(self) -> None:
        if not isinstance(self.hvp.flow, LinearFlow):
            raise RequestError(
                "sampler 'consistency' needs a linear flow; use euler, heun, rk4 or ab2-ab4 for this one"
            )

    @property
    def method(self) -> str:
        return "consistency"

    @property
    def flow(self) -> Flow:
        return self.hvp.flow

    @property
    def nfe(self) -> int:
        return self.budget

    @property
    def times(self) -> Tensor:
        """(nfe + 1,), down to 0 from the highest noise level that a network can tell; beyond it f is inconsistent."""
        highest = self.hvp.flow.time(torch.tensor(SIGMA_SEEN[1], dtype=torch.float64))
        return named(self.grid)(self.hvp.flow, self.budget).clamp(max=highest)

    @torch.no_grad()
    def trajectory(self, seeds: Tensor, wanted: Sequence[int] = ()) -> Iterator[Tensor]:
        flow = self.hvp.flow
        assert isinstance(flow, LinearFlow)
        device = next(self.hvp.parameters()).device
        labels = self.labels(seeds, wanted)
        labels = None if labels is None else labels.to(device)
        normal = self.noise(seeds, "consistency", device)
        start = torch.cat([flow.prior.sample((1, *self.shape), generator(seed, "prior")) for seed in seeds.tolist()])
        x = start.float().to(device) if device.type == "mps" else start.to(device)
        times = as_times(self.times, x)
        yield x
        for i, t in enumerate(times[:-1]):
            if i:
                a, b, _, _ = flow.path(t)
                x = a.to(x) * x + b.to(x) * normal()
            x = denoiser_from_hvp(flow, x, t, self.hvp(x, t, labels))
            yield x
