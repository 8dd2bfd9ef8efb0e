"""Noise-conditional score models: F(y, sigma), an estimate of the score of x + sigma z at every noise level."""

from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from hgfctl.engine.flows.diffusion import Diffusion
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.model import Field, Model, require_noise_level
from hgfctl.engine.phase_space import over
from hgfctl.engine.provided import NETWORK
from hgfctl.errors import RequestError


class NoisedScore(Model):
    """F(y, sigma) = -c^2 y + gain N(c y, ln(sigma)/4, labels),  c = 1 / sqrt(sd^2 + sigma^2).

    The first term is the score of a Gaussian of the data's root mean square. What the network adds is of order

        "noise"    gain = sd c / sigma    for data near points or sheets (images): the score grows as 1/sigma. This is
                                          EDM's preconditioning (Karras et al. 2022), F = (D - y) / sigma^2;
        "data"     gain = c               for smooth densities, whose score stays as sigma falls.

    Args:
        network: N, see `hgfctl.engine.models`.
        sd: root mean square of the data per coordinate; measured before training when a preset leaves it out.
        sigma_min, sigma_max: the noise levels that it is trained on and sampled with.
        gain: one of the two.
    """

    described: ClassVar[str] = "a noise-conditional score"
    samplers: ClassVar[tuple[str, ...]] = ("langevin", "flow")

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
        output: Tensor = self.network(u.to(dtype), noise, labels)
        return -c * u + over(self.gain(sigma), y).to(y.dtype) * output.to(y.dtype)

    @property
    def root_mean_square(self) -> float:
        return self.sd

    def as_hvp(self) -> HVP:
        """The predictor of a diffusion; see `ScoreHVP`."""
        return ScoreHVP(self)

    def score_field(self, sigma: float | None = None) -> Field:
        sigma = require_noise_level(sigma)
        if not self.sigma_min * (1 - 1e-9) <= sigma <= self.sigma_max * (1 + 1e-9):
            raise RequestError(
                f"`noise={sigma:g}`: this model was trained between {self.sigma_min:g} and {self.sigma_max:g}"
            )
        return self.at(sigma)

    def gain(self, sigma: Tensor) -> Tensor:
        """The factor of the network's output; of the shape of sigma."""
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
        score: Tensor = self.score(x, sigma, labels)
        return -over(t, x).to(x.dtype) * score
