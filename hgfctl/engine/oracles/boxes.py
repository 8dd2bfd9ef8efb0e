"""The exact HVP of uniform boxes under reflection, by the method of images (HSM24, section 5).

Per coordinate, unfolded data is even about each wall and of period 2L, so free flight from a uniform interval [l, u]
arrives at x through all images of x: x + 2 L k, moving with the sign of the velocity, and 2 lo - x + 2 L k, against it.
With the standard normal density phi and distribution function Phi, A = (y - u)/t and B = (y - l)/t,

    f(y) = [Phi(B) - Phi(A)] / (u - l)                          density of the arrival at y,
    g(y) = [phi(A) - phi(B)] / [Phi(B) - Phi(A)]                E[v | arrival at y], between A and B,
    p(x) = sum_k f(x + 2Lk) + f(2 lo - x + 2Lk),
    V(x) = sum_k [f g(x + 2Lk) - f g(2 lo - x + 2Lk)] / p(x),

and for boxes, the V of each, weighted by its share of the density, a product over coordinates. Densities are kept as
logarithms: between boxes they underflow at small t, where V grows as (distance to the box)/t.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.reflection import Reflection


@dataclass(frozen=True)
class BoxesHVP:
    """V(x, t) for data uniform on equally likely boxes inside the walls; computed in float64, returned in x's type.

    At t = 0 it is E[v0] = 0.

    Args:
        lower, upper: (K, d) corners of the boxes.
        flow: the walls.
    """

    lower: Tensor
    upper: Tensor
    flow: Reflection

    def __post_init__(self) -> None:
        inside = (self.lower >= self.flow.lo) & (self.upper <= self.flow.hi)
        if not bool((inside & (self.lower < self.upper)).all()):
            raise ValueError("every box must have lower < upper, both within the walls")

    def _arrivals(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Log-density (B, K, d) of each coordinate under each box alone, and mean velocity there (B, K, d)."""
        x, t = x.double().unsqueeze(1), t.double().reshape(-1, 1, 1).clamp_min(_NO_TIME)
        lower, upper = self.lower.to(x), self.upper.to(x)
        reach = math.ceil((10 * float(t.detach().max()) + self.flow.side) / (2 * self.flow.side)) + 1
        shift = 2 * self.flow.side * torch.arange(-reach, reach + 1).to(x).reshape(-1, 1, 1, 1)
        y = torch.cat([x + shift, 2 * self.flow.lo - x + shift])  # (images, B, 1, d)
        log_share, velocity = normal_between((y - upper) / t, (y - lower) / t)
        log_p = log_share.logsumexp(0)
        sign = torch.ones_like(shift)
        mean = ((log_share - log_p).exp() * velocity * torch.cat([sign, -sign])).sum(0)
        return log_p - (upper - lower).log(), mean

    def log_prob(self, x: Tensor, t: Tensor) -> Tensor:
        """log p_t(x), exactly, for t > 0: x (B, d), t a scalar or (B,) -> (B,), float64."""
        return self._arrivals(x, t)[0].sum(-1).logsumexp(-1) - math.log(len(self.lower))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        log_p, mean = self._arrivals(x, t)
        share = log_p.sum(-1, keepdim=True).softmax(1)
        return torch.where(t.reshape(-1, 1) > 0, (share * mean).sum(1), 0.0).to(x.dtype)


_NO_TIME = 1e-12
"""Times below are read as this one: no division by 0."""


def normal_between(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """N(0, 1) in [low, high]: the logarithm of its share, and its mean there; without underflow or cancellation."""
    side = torch.where(low + high > 0, -1.0, 1.0).to(low)  # mirrored into the lower tail, where log Phi is accurate
    low, high = torch.where(side < 0, -high, low), torch.where(side < 0, -low, high)
    log_high = torch.special.log_ndtr(high)
    log_share = log_high + torch.log(-torch.expm1(torch.special.log_ndtr(low) - log_high))
    density = torch.exp(-0.5 * high**2 - log_share) / math.sqrt(2 * math.pi)
    return log_share, side * density * torch.expm1(0.5 * (high - low) * (high + low))
