"""The whole of an evaluation: from what was named to figures, a budget and a seed at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.evaluation.comparison import Comparison, compare
from hgfctl.engine.evaluation.feature_files import write_features
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.image_sets import GeneratedSet, ImageSet, StoredSet
from hgfctl.engine.evaluation.references import cached_statistics, read_statistics
from hgfctl.engine.evaluation.sources import Source
from hgfctl.engine.evaluation.unfinished import comparison_file, pass_file, read_comparison, write_comparison
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.flows import flow_name
from hgfctl.engine.models.guided import Guidance, as_json
from hgfctl.engine.ranks import Ranks
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.engine.statistics.kernel import mean_discrepancy
from hgfctl.engine.statistics.neighbours import Coverage
from hgfctl.errors import RequestError
from hgfctl.presets import overridden
from hgfctl.storage.cache import sha256

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
        guidance: see `guided_by`.
        settings: "sample.KEY=VALUE" for the preset's sample section.
    """

    budgets: tuple[int | None, ...] = (None,)
    num: int | None = None
    seed: int = 0
    seeds: int = 1
    sampler: str | None = None
    grid: str | None = None
    guidance: Guidance | None = None
    settings: tuple[str, ...] = ()

    @property
    def asks_for_a_model(self) -> bool:
        """Whether something is said that concerns models alone."""
        return self.budgets != (None,) or self.seeds > 1 or bool(self.sampler or self.grid or self.settings)

    def first_seeds(self, default: int = MANY) -> list[int]:
        """Of each set."""
        return [self.seed + k * (self.num or default) for k in range(self.seeds)]


@dataclass(frozen=True)
class Measurement:
    """What was found at one budget.

    Args:
        found: a comparison for each set of seeds.
        id: of the features; None where no file says it.
        count: of the images of a set; None where a file does not say.
        dim: of the features.
        sampler: that made them, if one did.
        seeds: of their first images.
        kept: files that hold the comparisons until somebody was told.
    """

    found: tuple[Comparison, ...]
    id: FeaturesId | None
    count: int | None
    dim: int
    sampler: Sampler | None = None
    seeds: tuple[int, ...] = ()
    kept: tuple[Path, ...] = ()

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
        kid = mean_discrepancy(kids) if kids else None
        covers = [one.coverage for one in self.found if one.coverage is not None]
        return {
            "fid": fmean(distances),
            "fid_std": stdev(distances) if len(distances) > 1 else None,
            "fid_infinity": fmean(infinite) if infinite else None,
            "figure": self.figure,
            "features": self.id.name if self.id else None,
            "variant": self.id.variant if self.id else None,
            "dim": self.dim,
            "num": self.count,
            "nfe": self.sampler.nfe if self.sampler else None,
            "sampler": self.sampler.method if self.sampler else None,
            "grid": self.sampler.grid if self.sampler else None,
            "flow": flow_name(self.sampler.flow) if self.sampler else None,
            **as_json(self.sampler.guidance if self.sampler else None),
            "seeds": list(self.seeds),
            "kid": kid.value if kid else None,
            "kid_error": kid.error if kid else None,
            **{key: fmean(getattr(one, key) for one in covers) if covers else None for key in Coverage._fields},
            "warnings": list(self.warnings),
        }


def image_set(
    source: Checkpoint | DataSet, name: str, making: Making, budget: int | None = None, seed: int = 0
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
    if isinstance(source, Checkpoint):
        guide = making.guidance.guide_path if making.guidance else None
        made_by = " ".join(sha256(path) for path in (source.path, guide) if path)
        return GeneratedSet(sampler_for(source, making, budget), made_by, name, making.num or MANY, seed)
    assert isinstance(source, Finite)
    return StoredSet(source, name, making.num)


def sampler_for(source: Checkpoint, making: Making, budget: int | None) -> Sampler:
    """How a model is sampled on a budget."""
    default = overridden(source.config, making.settings, "sample", {}).sample
    return source.sampler(budget, making.sampler, making.grid, making.guidance, default)


def reference_set(
    source: Source, name: str, making: Making, id: FeaturesId | None, collect: Collect, ranks: Ranks
) -> FeatureSet | None:
    """The features of a reference, from the cache where they were made before; None on all ranks but the first.

    A model makes as many images as the one that is measured, from the seeds after that one's.

    Args:
        source: what it is.
        name: how messages call it.
        making: for the model that is measured.
        id: of the features that are collected; None where none have to be.
        collect: see `Collect`.
        ranks: who shares the work.
    """
    if isinstance(source, FeatureSet):
        return source if ranks.first else None
    assert id is not None
    count = making.num if isinstance(source, Checkpoint) else None
    images = image_set(source, name, Making(num=count), None, making.seed + making.seeds * (making.num or MANY))
    file = cached_statistics(images, id) if ranks.first else None
    known = read_statistics(file, name) if file else None
    if ranks.broadcast(str(known is not None)) == "True":
        return known
    found = collect(images)
    if found is not None and file:
        write_features(found, file)
        pass_file(images, id).unlink(missing_ok=True)
    return found


def measured(
    source: Source,
    name: str,
    making: Making,
    reference: FeatureSet | None,
    id: FeaturesId | None,
    collect: Collect,
    ranks: Ranks,
) -> Iterator[Measurement]:
    """One measurement a budget; none on ranks other than the first.

    Args:
        source: what is measured.
        name: how messages call it.
        making: for models.
        reference: None on all ranks but the first.
        id: of the features.
        collect: see `Collect`.
        ranks: who shares the work.
    """
    if isinstance(source, FeatureSet):
        if reference is not None:
            yield Measurement((compare(source, reference),), id, source.count, source.dim)
        return
    assert id is not None
    model = source if isinstance(source, Checkpoint) else None
    for budget in making.budgets if model else (None,):
        seeds = making.first_seeds() if model else [0]
        found, kept = [], []
        for seed in seeds:
            images = image_set(source, name, making, budget, seed)
            one = _compared(images, reference, id, collect, ranks)
            if one is not None:
                found.append(one[0])
                kept.append(one[1])
        if reference is not None:
            sampler = sampler_for(model, making, budget) if model else None
            made = tuple(seeds) if model else ()
            yield Measurement(tuple(found), id, len(images), reference.dim, sampler, made, tuple(kept))


def _compared(
    images: ImageSet, reference: FeatureSet | None, id: FeaturesId, collect: Collect, ranks: Ranks
) -> tuple[Comparison, Path] | None:
    """A comparison, and where it is kept: it may have been made before the evaluation was stopped."""
    file = comparison_file(images, id, reference) if reference is not None else None
    known = read_comparison(file) if file else None
    if ranks.broadcast(str(known is not None)) == "True":
        return (known, file) if known and file else None
    features = collect(images)
    if features is None or reference is None or file is None:
        return None
    comparison = compare(features, reference)
    write_comparison(file, comparison)
    pass_file(images, id).unlink(missing_ok=True)
    return comparison, file


def shapes_of(sources: Sequence[Source]) -> list[tuple[int, ...]]:
    """Of the images that have to be turned into features, if there are any."""
    return [one.shape for one in sources if not isinstance(one, FeatureSet)]
