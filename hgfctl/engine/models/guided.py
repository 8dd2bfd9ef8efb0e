"""Guidance: away from what a weaker predictor says, V = V_weak + w (V_strong - V_weak), at two evaluations a call."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hgfctl.engine.flows.conversions import denoiser_from_hvp, hvp_from_denoiser_and_noise, noise_from_hvp
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.phase_space import over

BORDER = 1e-5
"""Relative width of an interval's ends, which belong to it: a call at an end is guided in every device's arithmetic."""


@dataclass(frozen=True)
class Guidance:
    """How strongly a predictor is guided, by what, and when.

    Args:
        weight: w, 0 or more; 1 for no guidance, 0 for the weaker predictor alone.
        guide: the weaker predictor (autoguidance: Karras et al. 2024, arXiv 2406.02507); where None, the guided one
            itself without its class (classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598).
        guide_path: of the checkpoint that the weaker predictor was read from.
        interval: noise levels (lowest, highest) between which it is guided (Kynkäänniemi et al. 2024, arXiv
            2404.07724); at all levels when None.
    """

    weight: float
    guide: HVP | None = None
    guide_path: Path | None = None
    interval: tuple[float, float] | None = None

    def weight_at(self, sigma: Tensor) -> Tensor:
        """w within the interval and 1 outside; of the shape and type of sigma."""
        low, high = self.interval or (0.0, math.inf)
        inside = (sigma >= low * (1 - BORDER)) & (sigma <= high * (1 + BORDER))
        return torch.where(inside, self.weight, torch.ones_like(sigma))

    def __str__(self) -> str:
        by = f" by {self.guide_path}" if self.guide_path else ""
        within = f", sigma {self.interval[0]:g} to {self.interval[1]:g}" if self.interval else ""
        return f"guidance {self.weight:g}{by}{within}"


def as_json(guidance: Guidance | None) -> dict[str, Any]:
    """Plain values, for results."""
    return {
        "guidance": guidance.weight if guidance else None,
        "guide": str(guidance.guide_path) if guidance and guidance.guide_path else None,
        "guidance_interval": list(guidance.interval) if guidance and guidance.interval else None,
    }


class Guided(HVP):
    """V(x, t, y) = V_strong + (w - 1) (V_strong - V_weak), w = w(sigma(t)), which is V_weak + w (V_strong - V_weak).

    In a linear flow V is linear in the score, so that classifier-free guidance integrates the score of
    p_t(x) p_t(y | x)^w at every noise level, and autoguidance that of p_t(x | y) (p_t / p_weak)^(w - 1).

    Args:
        hvp: the stronger predictor; it fixes the flow.
        guidance: see there; a guide of another flow must be linear, as must the flow then be.
    """

    def __init__(self, hvp: HVP, guidance: Guidance) -> None:
        super().__init__(hvp.network, hvp.flow)
        self.strong = hvp
        self.guide = None if guidance.guide is None else seen_in(hvp.flow, guidance.guide)
        self.guidance = guidance

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None) -> Tensor:
        assert augmented is None  # images are augmented in training only
        weight = self.guidance.weight_at(self.flow.sigma(t))
        if bool((weight == 1).all()):
            alone: Tensor = self.strong(x, t, labels)
            return alone
        weak: Tensor = self.strong(x, t) if self.guide is None else self.guide(x, t, labels)
        if bool((weight == 0).all()):
            return weak
        strong: Tensor = self.strong(x, t, labels)
        return strong + over(weight - 1, x).to(x.dtype) * (strong - weak)

    def evaluations(self, t: Tensor) -> int:
        """Evaluations of networks that a call at time t takes: of the one that counts alone, or of both."""
        weight = self.guidance.weight_at(self.flow.sigma(t))
        return 1 if bool((weight == 1).all() | (weight == 0).all()) else 2


class InFlow(HVP):
    """The predictor of one linear flow from that of another; the same network, exactly.

    E[x0 | x_t = x] and E[z | x_t = x] depend on the noise level sigma = b/a and on x / |(a, b)| alone, so both are
    asked at the time and place where the other flow has them, and V = a' E[x0] + b' E[z]. Beyond the other flow's own
    last noise level they are those at that level.

    Args:
        flow: linear.
        hvp: of another linear flow.
    """

    def __init__(self, flow: LinearFlow, hvp: HVP) -> None:
        assert isinstance(hvp.flow, LinearFlow)
        super().__init__(hvp.network, flow)
        self.hvp, self.source, self.target_flow = hvp, hvp.flow, flow

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None) -> Tensor:
        assert augmented is None
        then = self.source.time(self.flow.sigma(t))
        here, there = self.target_flow.path(t), self.source.path(then)
        scale = torch.hypot(there.a, there.b) / torch.hypot(here.a, here.b)
        y = over(scale, x).to(x.dtype) * x
        velocity = self.hvp(y, then, labels)
        denoised = denoiser_from_hvp(self.source, y, then, velocity)
        noise = noise_from_hvp(self.source, y, then, velocity)
        return hvp_from_denoiser_and_noise(self.target_flow, x, t, denoised, noise)


def seen_in(flow: Flow, hvp: HVP) -> HVP:
    """A predictor as one of the given flow.

    Raises:
        ValueError: it is of another flow, and not both are linear.
    """
    if hvp.flow == flow:
        return hvp
    if not isinstance(flow, LinearFlow) or not isinstance(hvp.flow, LinearFlow):
        raise ValueError("predictors of two flows are converted where both flows are linear, and one here is not")
    return InFlow(flow, hvp)
