"""A learned force: the score that `hgfctl score-match` has trained (HSM24, section 4: F_theta)."""

from collections.abc import Callable
from typing import Annotated

from torch import Tensor

from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.provided import SCORE_READER

ScoreField = Callable[[Tensor, Tensor | None], Tensor]
"""F(x, labels): (B, *D) -> (B, *D)."""


class LearnedForce(Force):
    """F = F_theta(x), the score field of a checkpoint; of the data's own score, it keeps pi x N(0, I) as it is.

    Args:
        checkpoint: a file or run folder of `hgfctl score-match`.
        load_score: reads it; the rooms that know checkpoints lie above this one, and supply it.
    """

    def __init__(
        self, checkpoint: str, load_score: Annotated[Callable[[str], ScoreField] | None, SCORE_READER]
    ) -> None:
        if load_score is None:
            raise ValueError(f"nothing here can read {checkpoint}")
        self.checkpoint = checkpoint
        self._field = load_score(checkpoint)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return self._field(x, None)
