"""A set of images in the space of some features; collected in one pass, in bounded memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.evaluation.needs import Need
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.extrapolation import PARTS
from hgfctl.engine.statistics.moments import Moments, Statistics, merged, statistics
from hgfctl.errors import HgfctlError, RequestError

KEPT = 10_000
"""Features, of randomly chosen images, that are kept for what moments do not tell: KID, precision, coverage."""
BLOCK = 1024
"""Features that enter the moments together, so that sums do not depend on the batches they were made in."""
FEWEST = 6
"""Features that neighbours and jackknife need on either side."""


@dataclass(frozen=True)
class FeatureSet:
    """A set of images in feature space.

    Args:
        name: how messages call it.
        id: of the features; None where a file does not say.
        statistics: over all images.
        count: of images; None where a file does not say.
        features: (K, d), float32, of up to KEPT images; None where a file holds none.
        parts: moments of PARTS random parts; none where a file holds none.
    """

    offers: ClassVar[tuple[Need, ...]] = ("statistics", "features")

    name: str
    id: FeaturesId | None
    statistics: Statistics
    count: int | None
    features: Tensor | None = None
    parts: tuple[Moments, ...] = ()

    @property
    def dim(self) -> int:
        """Dimension of the features."""
        return len(self.statistics.mean)

    def has(self, need: Need) -> bool:
        """True where a metric finds here what it needs."""
        return need == "statistics" or (
            need == "features" and self.features is not None and len(self.features) >= FEWEST
        )


class Collector:
    """Takes the features of images 0, 1, 2, ... of a set, and makes a FeatureSet of them.

    Args:
        name, id: of the set that is made.
        count: how many will come.

    Raises:
        RequestError: fewer than two.
    """

    def __init__(self, name: str, id: FeaturesId | None, count: int) -> None:
        if count < 2:
            raise RequestError(
                f"{name} holds {count or 'no'} image; a covariance needs two at least, and sense many more"
            )
        self.name, self.id, self.count = name, id, count
        self.done = 0
        self._place = torch.randperm(count, generator=generator("parts"))
        self._moments: list[Moments] = []
        self._kept = self._waiting = torch.empty(0)

    @property
    def came(self) -> int:
        """Images whose features have come: those done, and those that wait for their block."""
        return self.done + len(self._waiting)

    def add(self, features: Tensor) -> None:
        """The features of the next images, (B, d).

        Raises:
            HgfctlError: they are not finite.
        """
        features = features.float().cpu()
        bad = (~features.isfinite().all(1)).nonzero()
        if len(bad):
            raise HgfctlError(f"{self.name}: the features of image {self.came + int(bad[0])} are not finite")
        if not self._moments:
            dim = features.shape[1]
            self._moments = [Moments(dim) for _ in range(PARTS)]
            self._kept, self._waiting = torch.zeros(min(KEPT, self.count), dim), torch.empty(0, dim)
        self._waiting = torch.cat([self._waiting, features])
        while len(self._waiting) >= BLOCK or 0 < len(self._waiting) == self.count - self.done:
            block, self._waiting = self._waiting[:BLOCK], self._waiting[BLOCK:].clone()
            self._absorb(block)

    def result(self) -> FeatureSet:
        """When all have come."""
        assert self.done == self.count
        complete = self.count <= len(self._kept)
        exact = statistics(self._kept) if complete else merged(self._moments).statistics()
        return FeatureSet(self.name, self.id, exact, self.count, self._kept, tuple(self._moments))

    def state(self) -> dict[str, Tensor]:
        """All that `restore` needs to go on after what came."""
        return {
            "done": torch.tensor(self.done),
            "kept": self._kept,
            "waiting": self._waiting,
            "counts": torch.tensor([part.count for part in self._moments]),
            "means": torch.stack([part.mean for part in self._moments]),
            "scatters": torch.stack([part.scatter for part in self._moments]),
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from a `state`."""
        moments = []
        for count, mean, scatter in zip(state["counts"].tolist(), state["means"], state["scatters"], strict=True):
            part = Moments(len(mean))
            part.count, part.mean, part.scatter = count, mean, scatter.clone()
            moments.append(part)
        kept, waiting, done = state["kept"], state["waiting"], int(state["done"])
        self._kept, self._waiting, self._moments, self.done = kept, waiting, moments, done

    def _absorb(self, features: Tensor) -> None:
        place = self._place[self.done : self.done + len(features)]
        kept = place < len(self._kept)
        self._kept[place[kept]] = features[kept]
        part = place * PARTS // self.count
        for i, moments in enumerate(self._moments):
            moments.add(features[part == i])
        self.done += len(features)


def collected(name: str, id: FeaturesId | None, features: Tensor) -> FeatureSet:
    """Sums up features (N, d) that are all at hand.

    Raises:
        RequestError: fewer than two.
        HgfctlError: they are not finite.
    """
    collector = Collector(name, id, len(features))
    collector.add(features)
    return collector.result()
