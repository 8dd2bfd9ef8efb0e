"""Points that are compared where they lie, without features."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.evaluation.needs import Need
from hgfctl.engine.randomness import generator


@dataclass(frozen=True)
class PointSet:
    """A set of points.

    Args:
        name: how messages call it.
        points: (N, d), float64.
        again: draws so many other points of the same law, (count, d); None where a law is known by its items only.
    """

    offers: ClassVar[tuple[Need, ...]] = ("points",)

    name: str
    points: Tensor
    again: Callable[[int], Tensor] | None = None

    def has(self, need: Need) -> bool:
        """True where a metric finds here what it needs."""
        return need in self.offers


def draw(data: DataSet, count: int, seed: int) -> Tensor:
    """`count` items of a law, or so many of a finite set, chosen at random and all where it has no more: (N, d),
    float64.
    """
    if isinstance(data, Finite):  # its items have numbers, and none is to come twice
        chosen = torch.randperm(len(data), generator=generator(seed, "points"))[:count].sort().values
        return data.at(chosen).x.flatten(1).double()
    return data.batch(0, count, seed).x.flatten(1).double()
