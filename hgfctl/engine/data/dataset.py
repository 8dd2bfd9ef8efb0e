"""What a data set is: shape, classes, and a stream of batches addressed by position."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.randomness import generator


class Batch(NamedTuple):
    """Items x (B, *shape), float32, and their classes (B,), int64, or None."""

    x: Tensor
    labels: Tensor | None


class DataSet(ABC):
    """An endless stream of items. Item i of a given seed is always the same, so training can resume anywhere."""

    shape: tuple[int, ...]
    """Shape of an item: (d,) for vectors, (C, H, W) for images."""
    classes: int = 0
    """Number of classes; 0 without labels."""

    @abstractmethod
    def batch(self, first: int, count: int, seed: int) -> Batch:
        """Items first ... first + count - 1 of the stream."""

    @abstractmethod
    def root_mean_square(self) -> float:
        """sqrt(E x^2) over items and coordinates: the `sd` of a flow's preconditioning."""


@dataclass
class Items(DataSet):
    """A finite data set in memory, shuffled anew every epoch.

    Args:
        x: (N, *shape); float items as they are, or uint8 images, which are mapped to [-1, 1].
        labels: (N,) classes 0 ... classes - 1, or None.
    """

    x: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        self.shape = tuple(self.x.shape[1:])
        self.classes = 0 if self.labels is None else int(self.labels.max()) + 1
        self._epoch: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.x)

    def all(self) -> Batch:
        """Every item once, in order."""
        return self._at(torch.arange(len(self)))

    def batch(self, first: int, count: int, seed: int) -> Batch:
        index = torch.cat([self._order(epoch, seed)[part] for epoch, part in self._epochs(first, count)])
        return self._at(index)

    def _at(self, index: Tensor) -> Batch:
        x = self.x[index]
        if x.dtype == torch.uint8:
            x = x.float() / 127.5 - 1
        return Batch(x.float(), None if self.labels is None else self.labels[index])

    def _epochs(self, first: int, count: int) -> list[tuple[int, slice]]:
        parts, end = [], first + count
        while first < end:
            epoch, start = divmod(first, len(self))
            stop = min(len(self), start + end - first)
            parts.append((epoch, slice(start, stop)))
            first += stop - start
        return parts

    def _order(self, epoch: int, seed: int) -> Tensor:
        if self._epoch != (epoch, seed):
            self._permutation = torch.randperm(len(self), generator=generator(seed, "epoch", epoch))
            self._epoch = (epoch, seed)
        return self._permutation

    def root_mean_square(self) -> float:
        total = sum(float(self._at(part).x.double().square().sum()) for part in torch.arange(len(self)).split(4096))
        return (total / self.x.numel()) ** 0.5
