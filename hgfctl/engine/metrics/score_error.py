"""How far a field F is from the score where the score is known: the explicit error, E |F - grad log pi|^2 (ESM)."""

from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.data.density import ExactDensity
from hgfctl.engine.models.score import Field
from hgfctl.engine.statistics.estimate import Estimate, mean


class ScoreError(NamedTuple):
    """E |F - s|^2, and the same over E |s|^2."""

    esm: Estimate
    relative: float


@torch.no_grad()
def score_error(field: Field, density: ExactDensity, x: Tensor, labels: Tensor | None = None) -> ScoreError:
    """The explicit error on draws x (N, d) of the density."""
    score = density.score(x.double())
    miss = (field(x, labels).double() - score).square().sum(1)
    return ScoreError(mean(miss), float(miss.mean() / score.square().sum(1).mean()))
