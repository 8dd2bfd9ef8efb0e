"""Images to be evaluated, addressed by number: those of a data set, or those that a model would make."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hgfctl.engine.data.dataset import Finite
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.sampler import Sampler, check_finite


class ImageSet(ABC):
    """A stated number of images.

    Attributes:
        name: how messages call it.
        shape: (C, H, W).
    """

    name: str
    shape: tuple[int, ...]

    @property
    @abstractmethod
    def key(self) -> str:
        """All that the images depend on: two sets of one key hold the same."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def at(self, index: Tensor) -> Tensor:
        """The images of these numbers: (B, C, H, W), uint8."""


@dataclass
class StoredSet(ImageSet):
    """Images of a data set.

    Args:
        data: of images.
        name: see `ImageSet`.
        count: to use the first ones of a random order only; all when left out.
    """

    data: Finite
    name: str
    count: int | None = None

    def __post_init__(self) -> None:
        self.shape = self.data.shape
        self._chosen: Tensor | None = None
        if self.count is not None and self.count < len(self.data):
            order = torch.randperm(len(self.data), generator=generator("chosen"))
            self._chosen = order[: self.count].sort().values

    @cached_property
    def key(self) -> str:
        return f"{self.data.fingerprint()} {len(self)}"

    def __len__(self) -> int:
        return len(self.data) if self._chosen is None else len(self._chosen)

    def at(self, index: Tensor) -> Tensor:
        return as_bytes(self.data.at(index if self._chosen is None else self._chosen[index]).x)


@dataclass
class GeneratedSet(ImageSet):
    """Images that a sampler makes when they are asked for: image i from seed + i.

    Args:
        sampler: of images.
        made_by: checksums of the weights, a guide's too.
        name: see `ImageSet`.
        count: how many.
        seed: of the first.
    """

    sampler: Sampler
    made_by: str
    name: str
    count: int
    seed: int

    def __post_init__(self) -> None:
        self.shape = self.sampler.shape

    @property
    def key(self) -> str:
        return f"{self.made_by} {self.sampler.identity} {self.seed} {self.count}"

    def __len__(self) -> int:
        return self.count

    def at(self, index: Tensor) -> Tensor:
        """Raises HgfctlError for an image that is not finite."""
        (made,) = self.sampler.batches(self.seed + index, len(index))
        check_finite(made.x, self.seed + index)
        return as_bytes(made.x)


def as_bytes(x: Tensor) -> Tensor:
    """Images in [-1, 1] -> uint8, rounded to the nearest of 256 levels."""
    return ((x + 1) * 127.5).round().clamp(0, 255).byte()
