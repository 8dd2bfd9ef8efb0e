"""Noise-conditional score models: F(y, sigma), an estimate of the score of x + sigma z at every noise level."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from hgfctl.engine.flows import flow_name
from hgfctl.engine.flows.conversions import noise_from_hvp
from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.score import Field
from hgfctl.engine.phase_space import over
from hgfctl.engine.provided import NETWORK
from hgfctl.errors import RequestError


class NoisedScore(nn.Module):
    """F(y, sigma) = -c^2 y + gain N(c y, ln(sigma)/4, labels),  c = 1 / sqrt(sd^2 + sigma^2).

    The first term is the score of a Gaussian of the data's root mean square. What the network adds is of order

        "noise"    gain = sd c / sigma    for data near points or sheets (images): the score grows as 1/sigma. This is
                                          EDM's preconditioning (Karras et al. 2022), F = (D - y) / sigma^2;
        "data"     gain = c               for smooth densities, whose score stays as sigma falls.

    Args:
        network: N, see `hgfctl.engine.models`.
        sd: root mean square of the data per coordinate; measured before training when a preset leaves it out.
        sigma_min, sigma_max: the noise levels that it is trained on and sampled with.
        gain: which.
    """

    def __init__(
        self,
        network: Annotated[nn.Module, NETWORK],
        sd: float = 0.5,
        sigma_min: float = 0.02,
        sigma_max: float = 5.0,
        gain: Literal["noise", "data"] = "noise",
    ) -> None:
        super().__init__()
        if not 0 < sigma_min < sigma_max:
            raise ValueError(f"0 < sigma_min < sigma_max is needed, not {sigma_min} and {sigma_max}")
        self.network = network
        self.sd: float = sd
        self.sigma_min: float = sigma_min
        self.sigma_max: float = sigma_max
        self.of_noise = gain == "noise"

    def forward(self, y: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """y (B, *D), sigma () or (B,), labels (B,) or None -> (B, *D) in the type of y."""
        dtype = next(self.network.parameters()).dtype
        c = over((self.sd**2 + sigma**2).rsqrt(), y).to(y.dtype)
        noise = (sigma.clamp(self.sigma_min, self.sigma_max).log() / 4).to(dtype).expand(len(y))
        u = c * y
        return -c * u + over(self.gain(sigma), y).to(y.dtype) * self.network(u.to(dtype), noise, labels).to(y.dtype)

    def gain(self, sigma: Tensor) -> Tensor:
        """What the network's output is multiplied with; of the shape of sigma."""
        c = (self.sd**2 + sigma**2).rsqrt()
        return self.sd * c / sigma if self.of_noise else c

    def at(self, sigma: float) -> Field:
        """The field of one noise level."""
        return lambda y, labels: self(y, torch.tensor(sigma, dtype=torch.float64).to(y), labels)


class ScoreHVP(HVP):
    """A noise-conditional score as the predictor of a diffusion, whose position at time t is x0 + t v0: V = -t F(x, t).

    Args:
        score: F.
    """

    def __init__(self, score: NoisedScore) -> None:
        super().__init__(score.network, Diffusion(score.sd, score.sigma_max))
        self.score = score

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None) -> Tensor:
        assert augmented is None
        sigma = t.clamp_min(self.score.sigma_min)
        return -over(t, x).to(x.dtype) * self.score(x, sigma, labels)


def score_of_hvp(hvp: HVP, sigma: float) -> Field:
    """The score of data with noise sigma, from a flow's predictor: F(y) = -Z / sigma at x_t = a y, where b = a sigma.

    Args:
        hvp: of a linear flow.
        sigma: the noise level, which the clock of the flow must reach.

    Raises:
        RequestError: the flow is not linear, or its clock ends before sigma.
    """
    flow = hvp.flow
    if not isinstance(flow, LinearFlow):
        raise RequestError(
            f"a flow of {flow_name(flow)} predicts no score; those of diffusion, flow-matching and oscillation do"
        )
    t = flow.time(torch.tensor(sigma, dtype=torch.float64))
    reached = float(flow.sigma(t))
    if not abs(reached - sigma) <= 1e-6 * sigma:
        raise RequestError(f"this flow's noise ends at sigma {reached:g}, and {sigma:g} lies beyond")
    a = flow.path(t).a

    def field(y: Tensor, labels: Tensor | None) -> Tensor:
        when = t.to(y.device, torch.float32 if y.device.type == "mps" else torch.float64)
        x = a.to(y) * y
        return -noise_from_hvp(flow, x, when, hvp(x, when, labels)) / sigma

    return field
