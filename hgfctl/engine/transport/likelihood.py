"""Log-likelihood by the change of variables along the flow (Chen et al. 2018, arXiv 1806.07366; FFJORD, 1810.01367).

With dx/dt = V(x, t), d/dt log p_t(x_t) = -div V(x_t, t), so that from data to prior

    log p_0(x_0) = log p_T(x_T) + int_0^T div V(x_t, t) dt .

The integral is one more coordinate of the ODE. It is the density of the law that `sample` draws from, with the solver
exact. V is finite at t = 0 (V = a' D + b' Z, no division), so nothing has to be cut off there. Walls reflect without
changing volumes, and div V is the same on both sides of the fold. On a manifold the density is that a unit of its own
area, and div V its own divergence: the trace in R^n of a V that is constant along normals (`Manifold.extended`).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.transport.divergence import Trace
from hgfctl.engine.transport.transport import ItemVelocity, Method


class LogLikelihood(NamedTuple):
    """Log-likelihoods of items.

    Attributes:
        value: log p_0(x) in nats, (B,), float64.
        error: standard error of it over the probes, (B,); 0 for an exact trace, NaN for a single probe.
        latents: x_T, (B, *D).
        evaluations: of V with its divergence, (B,), int64.
    """

    value: Tensor
    error: Tensor
    latents: Tensor
    evaluations: Tensor


def log_likelihood(
    velocity: ItemVelocity, flow: Flow, x: Tensor, trace: Trace, method: Method, start: float = 0.0
) -> LogLikelihood:
    """log p_0 of items under a flow; log p_start, where their law is given at a later time.

    Args:
        velocity: V, differentiable in x.
        flow: gives T and the prior.
        x: (B, *D), at time `start`.
        trace: how the divergence is found.
        method: how the ODE is integrated.
        start: a time.
    """
    shape, dim = x.shape[1:], x[0].numel()

    def derivative(y: Tensor, t: Tensor, items: Tensor) -> Tensor:
        at = flow.unfolded(lambda x: velocity(x, t, items))
        moving, divergence = trace(at, y[:, :dim].reshape(-1, *shape), items)
        return torch.cat([moving.flatten(1), divergence.to(y)], 1)

    def size(error: Tensor) -> Tensor:
        """The larger one of the errors of position and of log-density."""
        return torch.maximum(error[:, :dim].square().mean(1), error[:, dim:].square().mean(1)).sqrt()

    y = torch.cat([x.flatten(1), x.new_zeros(len(x), trace.columns)], 1)
    y, evaluations = method.integrate(derivative, flow, y, (start, flow.T), size)
    latents = flow.confine(y[:, :dim].reshape(x.shape))
    integrals = y[:, dim:].cpu().double()
    exact = trace.columns == 1 and trace.passes == dim
    spread = integrals.std(1) / math.sqrt(trace.columns) if trace.columns > 1 else integrals[:, 0] * math.nan
    return LogLikelihood(
        value=flow.prior.log_prob(latents.cpu().double()) + integrals.mean(1),
        error=torch.zeros_like(spread) if exact else spread,
        latents=latents,
        evaluations=evaluations,
    )
