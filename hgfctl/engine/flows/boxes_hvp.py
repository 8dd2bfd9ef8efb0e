"""The exact HVP of uniform boxes under reflection, by the method of images (HSM24, section 5).

Per coordinate, unfolded data is even about each wall and of period 2L, so free flight from a uniform interval [l, u]
arrives at x through all images of x: x + 2 L k, moving with the sign of the velocity, and 2 lo - x + 2 L k, against it.
With the standard normal density phi and distribution function Phi,

    f(y) = [Phi((y - l)/t) - Phi((y - u)/t)] / (u - l)      density of the arrival at y,
    g(y) = [phi((y - u)/t) - phi((y - l)/t)] / (u - l)      E[v ; arrival at y],
    p(x) = sum_k f(x + 2Lk) + f(2 lo - x + 2Lk),       m(x) = sum_k g(x + 2Lk) - g(2 lo - x + 2Lk),

and for boxes, products over coordinates, averaged over boxes.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.reflection import Reflection


@dataclass(frozen=True)
class BoxesHVP:
    """V(x, t) for data uniform on equally likely boxes inside the walls, for t > 0; float64.

    Args:
        lower, upper: (K, d) corners of the boxes.
        flow: the walls.
    """

    lower: Tensor
    upper: Tensor
    flow: Reflection

    def _images(self, t: Tensor) -> Tensor:
        reach = math.ceil((10 * float(t.max()) + self.flow.side) / (2 * self.flow.side)) + 1
        return 2 * self.flow.side * torch.arange(-reach, reach + 1, dtype=torch.float64)

    def moments(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """p_t(x) (B,) and E[v_t ; x_t = x] (B, d), for x (B, d) and t a scalar or (B,)."""
        x, t = x.double(), t.double().reshape(-1, 1, 1, 1)
        shift = self._images(t).reshape(-1, 1, 1, 1)
        direct, mirrored = x[:, None] + shift, 2 * self.flow.lo - x[:, None] + shift  # (images, B, 1, d)
        time = t.reshape(1, -1, 1, 1)

        def arrival(y: Tensor) -> tuple[Tensor, Tensor]:
            low, high = (y - self.lower) / time, (y - self.upper) / time
            width = self.upper - self.lower
            density = _normal_interval(high, low) / width
            flux = (_normal_density(high) - _normal_density(low)) / width
            return density, flux

        f, g = arrival(direct)
        f_mirror, g_mirror = arrival(mirrored)
        p, m = (f + f_mirror).sum(0), (g - g_mirror).sum(0)  # (B, K, d)
        others = torch.stack([p[..., torch.arange(p.shape[-1]) != i].prod(-1) for i in range(p.shape[-1])], -1)
        return p.prod(-1).mean(-1), (m * others).mean(1)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        density, flux = self.moments(x, t)
        return (flux / density.clamp_min(1e-300).unsqueeze(-1)).to(x.dtype)


def _normal_density(y: Tensor) -> Tensor:
    return torch.exp(-0.5 * y**2) / math.sqrt(2 * math.pi)


def _normal_interval(low: Tensor, high: Tensor) -> Tensor:
    """Phi(high) - Phi(low), by the tail that both are in: no cancellation far from 0."""
    flip = (low > 0).to(low.dtype) * -2 + 1
    low, high = torch.where(flip < 0, -high, low), torch.where(flip < 0, -low, high)
    return torch.special.ndtr(high) - torch.special.ndtr(low)
