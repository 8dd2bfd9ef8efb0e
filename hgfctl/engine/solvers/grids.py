"""Time grids: (flow, steps) -> steps + 1 times, float64, from T down to 0. Families take numbers, see `named`.

The first four live on the flow's own time, the others on the common clock sigma, so that the same grid means
the same noise levels for every flow.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.solvers import GRIDS
from hgfctl.errors import RequestError

Grid = Callable[[Flow, int], Tensor]

SIGMA_MIN, SIGMA_MAX = 0.002, 80.0
"""Noise levels between which the sigma grids run, for data of scale 0.5 (Karras et al. 2022); they scale with sd.
No grid begins above the flow's own noise at T, which walls keep finite."""


def named(name: str) -> Grid:
    """The grid of a name: a family alone ("sigmoid") or with numbers in place of its own ("sigmoid:2.5,1.5").

    Raises:
        RequestError: an unknown family, too many numbers, or numbers that it cannot take.
    """
    family, _, text = name.partition(":")
    grid: Grid = GRIDS[family]
    parameters = list(inspect.signature(grid).parameters)[2:]
    try:
        numbers = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise RequestError(f"grid '{name}': numbers go after the colon, as in sigmoid:2.5,1.5") from None
    if len(numbers) > len(parameters):
        takes = f"takes {', '.join(parameters)}" if parameters else "takes no numbers"
        raise RequestError(f"grid '{name}': {family} {takes}")
    for parameter, number in zip(parameters, numbers):
        if not 0 < number < math.inf:
            raise RequestError(f"grid '{name}': {parameter} must be positive and finite")
    return partial(grid, **dict(zip(parameters, numbers)))


def uniform(flow: Flow, steps: int) -> Tensor:
    """t_i = T (1 - i/N)."""
    return flow.T * (1 - _fractions(steps))


def cosine(flow: Flow, steps: int) -> Tensor:
    """t_i = (T/2)(1 + cos(pi i/N)): dense at both ends."""
    times = flow.T / 2 * (1 + torch.cos(math.pi * _fractions(steps)))
    times[-1] = 0.0
    return times


def trimmed_cosine(flow: Flow, steps: int) -> Tensor:
    """The cosine grid without the outer 15 % of its angle at either end: between `cosine` and `uniform`.

    Its first steps are not so short that a multistep method extrapolates wildly from them.
    """
    angle = math.pi * (0.15 + 0.7 * _fractions(steps))
    times = flow.T / 2 * (1 + torch.cos(angle) / math.cos(0.15 * math.pi))
    times[0], times[-1] = flow.T, 0.0
    return times


def power(flow: Flow, steps: int, exponent: float = 2.0) -> Tensor:
    """t_i = T (1 - i/N)^exponent: dense at the data."""
    return flow.T * (1 - _fractions(steps)) ** exponent


def quadratic(flow: Flow, steps: int) -> Tensor:
    """t_i = T (1 - i/N)^2."""
    return power(flow, steps)


def square_root(flow: Flow, steps: int) -> Tensor:
    """theta_i = theta_T sqrt(1 - i/N), theta = atan(sigma/sd): dense at the noise, where a consistency model decides.

    Two steps meet at theta = 1.11, sigma = 2.0 sd (Lu and Song 2024, arXiv 2410.11081, take 1.1).
    """
    return from_angles(flow, (1 - _fractions(steps)).sqrt())


def rho(flow: Flow, steps: int, rho: float = 7.0) -> Tensor:
    """sigma_i^(1/rho) evenly spaced (Karras et al. 2022, eq. 5), then 0."""
    return _from_sigma(flow, steps, SIGMA_MIN, lambda sigma: sigma ** (1 / rho), lambda root: root**rho)


def log_snr(flow: Flow, steps: int, sigma_min: float = SIGMA_MIN) -> Tensor:
    """ln sigma_i evenly spaced (Lu et al. 2022), then 0."""
    return _from_sigma(flow, steps, min(sigma_min, SIGMA_MAX / 2), torch.log, torch.exp)


def sigmoid(flow: Flow, steps: int, steepness: float = 2.0, exponent: float = 1.0) -> Tensor:
    """The angle atan(sigma/sd) on a sigmoid, dense at both ends; an exponent above 1 makes it denser at the data.

    theta_i = theta_T [(1 - tanh(k (2i/N - 1)) / tanh k)/2]^exponent. The angle is the oscillation's own time; there
    the end points are met exactly and no smallest sigma is needed.
    """
    shape = (1 - torch.tanh(steepness * (2 * _fractions(steps) - 1)) / math.tanh(steepness)) / 2
    return from_angles(flow, shape.clamp(0, 1) ** exponent)


def from_angles(flow: Flow, fractions: Tensor) -> Tensor:
    """Times at which atan(sigma/sd) is these fractions, from 1 to 0, of its value at T."""
    start = torch.atan(flow.sigma(torch.tensor(flow.T, dtype=torch.float64)) / flow.sd)
    times = flow.time(flow.sd * torch.tan(start * fractions))
    times[0], times[-1] = flow.T, 0.0
    return times


def _from_sigma(
    flow: Flow,
    steps: int,
    sigma_min: float,
    scale: Callable[[Tensor], Tensor],
    back: Callable[[Tensor], Tensor],
) -> Tensor:
    """steps noise levels, evenly spaced on a scale, then 0; the first of them becomes T, where the prior is."""
    most = flow.sigma(torch.tensor(flow.T, dtype=torch.float64))
    ends = torch.tensor([SIGMA_MAX, sigma_min], dtype=torch.float64) * (flow.sd / 0.5)
    ends = scale(ends.clamp(max=most))
    fractions = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
    times = flow.time(back(ends[0] + fractions * (ends[1] - ends[0])))
    times[0] = flow.T
    return torch.cat([times, times.new_zeros(1)])


def _fractions(steps: int) -> Tensor:
    return torch.arange(steps + 1, dtype=torch.float64) / steps
