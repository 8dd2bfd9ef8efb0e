"""HVP regression: the loss that trains a generative flow."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hgfctl.engine.losses.times import Times
from hgfctl.engine.models.hvp import HVP


@dataclass(frozen=True)
class HVPRegression:
    """E_t E ||V_phi(x_t, t) - v_t||^2 / c_out(t)^2, averaged over coordinates (HSM24, section 3).

    The minimiser at every t is V(x, t) = E[v_t | x_t = x], whatever the weight; with 1 / c_out^2 each t starts at 1.

    Args:
        times: law of t.
    """

    times: Times

    def __call__(self, hvp: HVP, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        """x0 (B, *D), labels (B,) or None -> loss of each item (B,). rng is a generator on the CPU."""
        t = self.times(len(x0), hvp.flow, rng).to(
            x0.device, torch.float64 if x0.device.type != "mps" else torch.float32
        )
        z = torch.randn(x0.shape, generator=rng, dtype=torch.float32).to(x0.device)
        x, v = hvp.flow.state(x0, z, t)
        predicted, wanted = hvp.target(x, v, t, labels)
        return (predicted - wanted).square().flatten(1).mean(1)
