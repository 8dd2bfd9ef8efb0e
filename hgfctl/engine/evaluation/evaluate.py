"""The whole of an evaluation: from what was named to figures, a budget and a seed at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any

from hgfctl.cache import sha256
from hgfctl.engine.assembly import Trained, sampler_of
from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.evaluation.comparison import Comparison, compare
from hgfctl.engine.evaluation.feature_files import read_features, write_features
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.image_sets import GeneratedSet, ImageSet, StoredSet
from hgfctl.engine.evaluation.references import cached_statistics
from hgfctl.engine.evaluation.sources import Source
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.flows import flow_name
from hgfctl.engine.metrics.neighbours import Coverage
from hgfctl.engine.ranks import Ranks
from hgfctl.engine.solvers.sampling import Sampler
from hgfctl.errors import RequestError

MANY = 50_000
"""Images that a model makes, unless the user says otherwise: what published figures are made of."""

Collect = Callable[[ImageSet], FeatureSet | None]
"""One pass over a set; None on all ranks but the first."""


@dataclass(frozen=True)
class Making:
    """How a model is to make images.

    Args:
        budgets: network evaluations; None for the preset's.
        num: how many images; of a model MANY, else all, when None.
        seed: of the first image.
        seeds: how many such sets, from seeds that differ.
        sampler, grid: the preset's when None.
    """

    budgets: tuple[int | None, ...] = (None,)
    num: int | None = None
    seed: int = 0
    seeds: int = 1
    sampler: str | None = None
    grid: str | None = None

    @property
    def asks_for_a_model(self) -> bool:
        """Whether something is said that concerns models alone."""
        return self.budgets != (None,) or self.seeds > 1 or bool(self.sampler or self.grid)

    def first_seeds(self, default: int = MANY) -> list[int]:
        """Of each set."""
        return [self.seed + k * (self.num or default) for k in range(self.seeds)]


@dataclass(frozen=True)
class Measurement:
    """What was found at one budget.

    Args:
        found: a comparison for each set of seeds.
        id: of the features; None where no file says it.
        images: the last of the sets.
        sampler: that made them, if one did.
        seeds: of their first images.
    """

    found: tuple[Comparison, ...]
    id: FeaturesId | None
    images: FeatureSet
    sampler: Sampler | None = None
    seeds: tuple[int, ...] = ()

    @property
    def figure(self) -> str:
        """What the distance is called."""
        return "FID(unnamed features)" if self.id is None else self.id.figure

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of the first set; the others' are alike."""
        return self.found[0].warnings

    def as_json(self) -> dict[str, Any]:
        """Plain values; means over seeds."""
        distances = [one.frechet for one in self.found]
        infinite = [one.at_infinity for one in self.found if one.at_infinity is not None]
        kids = [one.kid for one in self.found if one.kid is not None]
        covers = [one.coverage for one in self.found if one.coverage is not None]
        return {
            "fid": fmean(distances),
            "fid_std": stdev(distances) if len(distances) > 1 else None,
            "fid_infinity": fmean(infinite) if infinite else None,
            "figure": self.figure,
            "features": self.id.name if self.id else None,
            "variant": self.id.variant if self.id else None,
            "dim": self.images.dim,
            "num": self.images.count,
            "nfe": self.sampler.nfe if self.sampler else None,
            "sampler": self.sampler.method if self.sampler else None,
            "grid": self.sampler.grid if self.sampler else None,
            "flow": flow_name(self.sampler.flow) if self.sampler else None,
            "seeds": list(self.seeds),
            "kid": fmean(kid.value for kid in kids) if kids else None,
            "kid_error": sum(kid.error**2 for kid in kids) ** 0.5 / len(kids) if kids else None,
            **{key: fmean(getattr(one, key) for one in covers) if covers else None for key in Coverage._fields},
            "warnings": list(self.warnings),
        }


def image_set(
    source: Trained | DataSet, name: str, making: Making, budget: int | None = None, seed: int = 0
) -> ImageSet:
    """The images of a data set, or those that a model makes.

    Raises:
        RequestError: it holds, or makes, no images.
    """
    if len(source.shape) != 3:
        raise RequestError(
            f"{name}: its items are vectors of shape {source.shape}, not images\n"
            "--features none compares them by sliced Wasserstein and MMD"
        )
    if isinstance(source, Trained):
        sampler = sampler_for(source, making, budget)
        return GeneratedSet(sampler, sha256(source.path), name, making.num or MANY, seed)
    assert isinstance(source, Finite)
    return StoredSet(source, name, making.num)


def sampler_for(source: Trained, making: Making, budget: int | None) -> Sampler:
    """How a model is sampled on a budget."""
    default = source.config.sample
    return sampler_of(source.model, source.shape, source.classes, default, budget, making.sampler, making.grid)


def reference_set(
    source: Source, name: str, id: FeaturesId | None, collect: Collect, ranks: Ranks
) -> FeatureSet | None:
    """The features of a reference, from the cache where they were made before; None on all ranks but the first.

    Args:
        source: what it is.
        name: how messages call it.
        id: of the features that are collected; None where none have to be.
        collect: see `Collect`.
        ranks: who shares the work.
    """
    if isinstance(source, FeatureSet):
        return source if ranks.first else None
    assert id is not None
    images = image_set(source, name, Making())
    file = cached_statistics(images, id)
    if ranks.told(str(file.exists())) == "True":
        return replace(read_features(file), name=name) if ranks.first else None
    found = collect(images)
    if found is not None:
        write_features(found, file)
    return found


def measured(
    source: Source, name: str, making: Making, reference: FeatureSet | None, id: FeaturesId | None, collect: Collect
) -> Iterator[Measurement]:
    """One measurement a budget; none on ranks other than the first.

    Args:
        source: what is measured.
        name: how messages call it.
        making: for models.
        reference: None on all ranks but the first.
        id: of the features.
        collect: see `Collect`.
    """
    if isinstance(source, FeatureSet):
        if reference is not None:
            yield Measurement((compare(source, reference),), id, source)
        return
    if not isinstance(source, Trained):
        images = collect(image_set(source, name, making))
        if images is not None and reference is not None:
            yield Measurement((compare(images, reference),), id, images)
        return
    for budget in making.budgets:
        found: list[Comparison] = []
        images = None
        for seed in making.first_seeds():
            images = collect(image_set(source, name, making, budget, seed))
            if images is not None and reference is not None:
                found.append(compare(images, reference))
        if images is not None:
            sampler = sampler_for(source, making, budget)
            yield Measurement(tuple(found), id, images, sampler, tuple(making.first_seeds()))


def shape_of(sources: Sequence[Source]) -> tuple[int, ...] | None:
    """Of the images that have to be turned into features, if there are any."""
    return next((one.shape for one in sources if not isinstance(one, FeatureSet)), None)
