"""Dequantisation: a law q on the cell of a pixel's level, which turns a density into a bound on a probability.

The image k has the probability P(k) of its cells under the model, each cell reaching half a level to either side, as
rounding does when images are written. With u ~ q in the cell (Theis et al. 2016, arXiv 1511.01844),

    log P(k) >= E_u [ log p(x0 + u) - log q(u) ] .

    uniform    q uniform in the cell: log q = -d log(step)
    normal     q = N(0, sigma^2) truncated to the cell, sigma = step/6 (Zheng et al. 2023, arXiv 2305.03935). Then
               a (x0 + u) is what the flow makes of x0 at the time where its clock reads sigma, and p is the density of
               x_t / a there: log p = log p_t(x_t) + d log a. A model trained on images as they are has seen such.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.randomness import generator
from hgfctl.errors import RequestError

Dequantisation = Literal["uniform", "normal"]
REACH = 3.0
"""Standard deviations of the normal law from the middle of the cell to its border."""


class Dequantised(NamedTuple):
    """Points at a time of the flow.

    Attributes:
        x: (B, *D), float64.
        time: of the flow.
        gain: what has to be added to log p_time(x) for the bound on log P, in nats, (B,).
    """

    x: Tensor
    time: float
    gain: Tensor


def dequantised(x: Tensor, levels: int, seeds: Tensor, law: Dequantisation, flow: Flow) -> Dequantised:
    """A draw for each item, by its own seed.

    Args:
        x: images (B, *D) whose pixels are levels evenly spaced from -1 to 1.
        levels: how many there are.
        seeds: (B,).
        law: of the draws.
        flow: whose density is to be asked.

    Raises:
        RequestError: the normal law, for a flow that is not linear.
    """
    step, dim = 2 / (levels - 1), x[0].numel()
    x = ((x.double() + 1) / step).round() * step - 1
    streams = (generator(seed, "dequantisation") for seed in seeds.tolist())
    uniform = torch.stack([torch.rand(x.shape[1:], generator=rng, dtype=torch.float64) for rng in streams])
    if law == "uniform":
        return Dequantised(x + step * (uniform - 0.5), 0.0, x.new_full((len(x),), dim * math.log(step)))
    if not isinstance(flow, LinearFlow):
        raise RequestError("normal dequantisation needs a linear flow; take uniform")
    sigma = step / 2 / REACH
    time = flow.time(torch.tensor(sigma, dtype=torch.float64))
    a = float(flow.path(time).a)
    inside = math.erf(REACH / math.sqrt(2))
    z = torch.special.ndtri(0.5 + inside * (uniform - 0.5))
    log_q = (-0.5 * z**2 - math.log(sigma * inside * math.sqrt(2 * math.pi))).flatten(1).sum(1)
    return Dequantised(a * (x + sigma * z), float(time), dim * math.log(a) - log_q)
