"""Consistency models: HVPs of which one step to the data is the whole way (Song et al. 2023, arXiv 2303.01469)."""

from typing import ClassVar

from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.model import Field
from hgfctl.errors import RequestError


class ConsistencyModel(HVP):
    """f(x, t) = (b' x - b V(x, t)) / (a b' - a' b), the denoiser read from V, is the end of the way from x at time t.

    It is an HVP in form: network, preconditioner and loss are those of `HVP`. But its V is not the mean velocity of the
    law that it samples, so no solver follows it.

    Args:
        network: N, see `hgfctl.engine.models`.
        flow: a linear one.
    """

    described: ClassVar[str] = "a consistency model"
    samplers: ClassVar[tuple[str, ...]] = ("consistency",)
    linear_only: ClassVar[bool] = True

    def score_field(self, sigma: float | None = None) -> Field:
        raise RequestError("a consistency model knows no score: it jumps to the data")

    def as_hvp(self) -> HVP:
        raise RequestError("is a consistency model: it jumps to the data, and has no flow to follow")
