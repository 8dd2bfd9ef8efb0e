"""Fits of priors: from simulated end points x_T to a law that can be sampled, and its density found."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hgfctl.engine.flows.priors.mixture import MixturePrior
from hgfctl.engine.randomness import generator

FEWEST = 16
"""End points that anything is fitted to."""


class Fitted(NamedTuple):
    """A prior, and the name of the fit that made it."""

    name: str
    prior: MixturePrior


class Fit(Protocol):
    """A way to fit a prior; its fields are the options of presets."""

    def __call__(self, ends: Tensor) -> Fitted:
        """End points (N, *D) of trajectories -> the prior; the same for the same points.

        Raises:
            ValueError: too few of them, or some not finite, or all the same.
        """


def usable(ends: Tensor) -> Tensor:
    """End points in a fixed random order, so that any part of them is as good as any other: (N, *D), float64.

    Raises:
        ValueError: see `Fit`.
    """
    if len(ends) < FEWEST:
        raise ValueError(f"a prior is fitted to {FEWEST} trajectories or more, not to {len(ends)}")
    ends = ends.detach().cpu().double()
    broken = ~ends.flatten(1).isfinite().all(1)
    if broken.any():
        raise ValueError(f"{int(broken.sum()):,} of {len(ends):,} trajectories end at points that are not finite")
    if not ends.flatten(1).std(0).any():
        raise ValueError(f"all {len(ends):,} trajectories end at the same point; nothing can be drawn from that")
    return ends[torch.randperm(len(ends), generator=generator("end points", len(ends)))]
