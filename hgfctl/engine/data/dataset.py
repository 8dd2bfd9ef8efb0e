"""Data sets: shape, classes, and a stream of batches addressed by position."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.data.law import Density
from hgfctl.engine.randomness import generator


class Batch(NamedTuple):
    """Items x (B, *shape), float32, and their classes (B,), int64, or None."""

    x: Tensor
    labels: Tensor | None


class DataSet(ABC):
    """An endless stream of items. A batch depends on its place and the seed alone, so training can resume anywhere.

    A data set of your own sets `shape` and defines `batch` and `root_mean_square`; the rest follows.
    """

    shape: tuple[int, ...]
    """Shape of an item: (d,) for vectors, (C, H, W) for images."""
    classes: int = 0
    """Number of classes; 0 without labels."""
    levels: int | None = None
    """Values that a pixel can take, evenly spaced from -1 to 1: 256 of 8-bit images; None of real numbers."""
    density: Density | None = None
    """The law that items are drawn from, where they are drawn from one."""
    class_names: Sequence[str] = ()
    """Names of classes 0, 1, ...; empty where they have none."""
    skipped: Sequence[str] = ()
    """"path: reason" of each item that was left out."""
    resizable: ClassVar[bool] = False
    """True where its items are images that can be resized as they are read."""

    @abstractmethod
    def batch(self, first: int, count: int, seed: int) -> Batch:
        """Items first ... first + count - 1 of the stream."""

    def part(self, first: int, count: int, seed: int, part: slice) -> Batch:
        """These items of batch(first, count, seed), and no others are made, where items can be made one by one."""
        x, labels = self.batch(first, count, seed)
        return Batch(x[part], None if labels is None else labels[part])

    @property
    def count(self) -> float:
        """How many items there are; infinite where each is drawn afresh."""
        return math.inf

    @abstractmethod
    def root_mean_square(self) -> float:
        """sqrt(E x^2) over items and coordinates: the `sd` of a flow's preconditioning."""

    def split(self) -> "tuple[DataSet, DataSet]":
        """Two sets that share no item: to fit on, and to judge by. An endless set is itself both, under other seeds."""
        return self, self

    def noised(self, sigma: float) -> "DataSet":
        """The law of x + sigma z, z ~ N(0, I)."""
        return Noised(self, sigma)


@dataclass
class Noised(DataSet):
    """Items with Gaussian noise, fresh at every position of the stream.

    Args:
        base: without it.
        sigma: standard deviation of the noise.
    """

    base: DataSet
    sigma: float

    def __post_init__(self) -> None:
        self.shape, self.classes = self.base.shape, self.base.classes

    def batch(self, first: int, count: int, seed: int) -> Batch:
        x, labels = self.base.batch(first, count, seed)
        return Batch(x + self.sigma * torch.randn(x.shape, generator=generator(seed, "noised", first)), labels)

    @property
    def count(self) -> float:
        return self.base.count

    def root_mean_square(self) -> float:
        return math.hypot(self.base.root_mean_square(), self.sigma)

    def split(self) -> tuple[DataSet, DataSet]:
        fit, held_out = self.base.split()
        return Noised(fit, self.sigma), Noised(held_out, self.sigma)


class Finite(DataSet):
    """Items that can be counted, shuffled anew every epoch."""

    _order_of: tuple[tuple[int, int], Tensor] | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def at(self, index: Tensor) -> Batch:
        """The items of these numbers, (B,) int64."""

    @abstractmethod
    def only(self, index: Tensor) -> "Finite":
        """A data set of these items alone, with the same classes."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A checksum of all items in their order, labels apart."""

    @property
    def count(self) -> int:
        return len(self)

    def all(self) -> Batch:
        """Every item once, in order."""
        return self.at(torch.arange(len(self)))

    def batch(self, first: int, count: int, seed: int) -> Batch:
        return self.at(torch.cat([self._order(epoch, seed)[part] for epoch, part in self._epochs(first, count)]))

    def part(self, first: int, count: int, seed: int, part: slice) -> Batch:
        return self.batch(first + part.start, part.stop - part.start, seed)

    def split(self) -> "tuple[Finite, Finite]":
        """A fifth of the items, chosen at random but always the same, is held out."""
        order = torch.randperm(len(self), generator=generator("split"))
        count = max(1, len(self) // 5)
        fit, held_out = order[count:].sort().values, order[:count].sort().values
        return self.only(fit), self.only(held_out)

    def _epochs(self, first: int, count: int) -> list[tuple[int, slice]]:
        parts, end = [], first + count
        while first < end:
            epoch, start = divmod(first, len(self))
            stop = min(len(self), start + end - first)
            parts.append((epoch, slice(start, stop)))
            first += stop - start
        return parts

    def _order(self, epoch: int, seed: int) -> Tensor:
        known = self._order_of  # one reference: threads may read at once
        if known is None or known[0] != (epoch, seed):
            known = (epoch, seed), torch.randperm(len(self), generator=generator(seed, "epoch", epoch))
            self._order_of = known
        return known[1]


@dataclass
class Items(Finite):
    """A finite data set in memory.

    Args:
        x: (N, *shape); float items as they are, or uint8 images, which are mapped to [-1, 1].
        labels: (N,) classes 0 ... classes - 1, or None.
    """

    x: Tensor
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        self.shape = tuple(self.x.shape[1:])
        self.classes = 0 if self.labels is None else int(self.labels.max()) + 1
        self.levels = 256 if self.x.dtype == torch.uint8 else None

    def __len__(self) -> int:
        return len(self.x)

    def at(self, index: Tensor) -> Batch:
        return Batch(to_floats(self.x[index]), None if self.labels is None else self.labels[index])

    def only(self, index: Tensor) -> "Items":
        chosen = Items(self.x[index], None if self.labels is None else self.labels[index])
        chosen.classes, chosen.levels = self.classes, self.levels
        return chosen

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"{self.x.dtype} {tuple(self.x.shape)}".encode())
        for part in torch.split(self.x, 4096):
            digest.update(part.contiguous().numpy().data)
        return digest.hexdigest()

    def root_mean_square(self) -> float:
        parts = torch.split(torch.arange(len(self)), 4096)
        total = sum((float(self.at(part).x.double().square().sum()) for part in parts), 0.0)
        return float((total / self.x.numel()) ** 0.5)


def to_floats(x: Tensor) -> Tensor:
    """float32; of uint8 images, [0, 255] to [-1, 1]."""
    return x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x.float()
