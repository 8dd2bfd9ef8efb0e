"""The whole of an evaluation: from two subjects to figures, a budget and a seed at a time."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hgfctl.engine.evaluation.comparison import Comparison, compare, compare_points
from hgfctl.engine.evaluation.extractor import check_dimension, extractor_for, wanted
from hgfctl.engine.evaluation.feature_files import write_features
from hgfctl.engine.evaluation.feature_pass import feature_set
from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.image_sets import ImageSet
from hgfctl.engine.evaluation.measurement import Measurement
from hgfctl.engine.evaluation.metrics.choose import chosen, suitable
from hgfctl.engine.evaluation.needs import Need
from hgfctl.engine.evaluation.point_set import PointSet
from hgfctl.engine.evaluation.references import cached_statistics, read_statistics
from hgfctl.engine.evaluation.request import MANY, POINTS, WITHOUT, EvaluationRequest
from hgfctl.engine.evaluation.subjects import Subject
from hgfctl.engine.evaluation.unfinished import comparison_file, pass_file, read_comparison, write_comparison
from hgfctl.engine.evaluation.watch import Watch
from hgfctl.engine.features.features import Features, FeaturesId
from hgfctl.engine.ranks import Ranks
from hgfctl.errors import HgfctlError, RequestError

Found = tuple[Comparison, Path | None, int | None]
"""A comparison, the file that keeps it, and how many items were compared (None: a file does not say)."""


class Evaluation(ABC):
    """Two subjects in one space: that of features, or the one where points lie.

    Args:
        subject: what is measured.
        request: how.
    """

    noun: ClassVar[str]
    many: ClassVar[int]
    offers: ClassVar[Collection[Need]]
    tabulated: ClassVar[bool]
    id: FeaturesId | None = None

    def __init__(self, subject: Subject, request: EvaluationRequest) -> None:
        self.subject, self.request = subject, request
        self.metrics = chosen(request.metrics, self.offers)

    def measurements(self) -> Iterator[Measurement]:
        """One a budget; none on ranks that have no result."""
        seeds = self.request.first_seeds(self.many)
        others = {name: one for name, one in suitable(self.offers).items() if name not in self.metrics}
        for budget in self.subject.budgets(self.request):
            found = [one for seed in seeds if (one := self.compared(budget, seed)) is not None]
            if found:
                yield Measurement(
                    comparisons=tuple(comparison for comparison, _, _ in found),
                    metrics=self.metrics,
                    others=others,
                    about=self.about(found[-1][2]),
                    id=self.id,
                    sampler=self.subject.sampler(self.request, budget),
                    seeds=tuple(seeds) if self.subject.is_model else (),
                    kept=tuple(file for _, file, _ in found if file),
                    warns=self.tabulated,
                )

    @abstractmethod
    def compared(self, budget: int | None, seed: int) -> Found | None:
        """One comparison; None on ranks that have no result."""

    @abstractmethod
    def about(self, count: int | None) -> dict[str, Any]:
        """Facts for JSON: features and number of items."""


class OfPoints(Evaluation):
    """Vectors, compared where they lie.

    Raises:
        RequestError: not both are vectors of one dimension.
    """

    noun, many, offers, tabulated = "points", POINTS, PointSet.offers, False

    def __init__(self, subject: Subject, reference: Subject, request: EvaluationRequest) -> None:
        super().__init__(subject, request)
        self.count = request.num or POINTS
        for side in (subject, reference):
            side.check_vectors(self.count)
        if subject.shape != reference.shape:
            raise RequestError(
                f"{subject.name} has vectors of dimension {(subject.shape or (0,))[0]}, "
                f"{reference.name} of dimension {(reference.shape or (0,))[0]}"
            )
        self.reference = reference.reference_points(self.count)

    def compared(self, budget: int | None, seed: int) -> Found:
        """Raises HgfctlError where points are not finite."""
        points = self.subject.points(self.request, budget, self.count, seed, max(self.request.batch, 1024))
        if not points.isfinite().all():
            raise HgfctlError(f"{self.subject.name}: its points hold NaN or infinity")
        items = PointSet(self.subject.name, points.flatten(1).double())
        return compare_points(items, self.reference, self.metrics), None, len(points)

    def about(self, count: int | None) -> dict[str, Any]:
        return {"features": WITHOUT, "num": count}


class OfFeatures(Evaluation):
    """Images, compared in the space of features.

    Args:
        subject, request: see `Evaluation`.
        reference: None on all ranks but the first.
        id: of the features; None where no file says it.
        features: that images are turned into; None where both sides are files of features.
        ranks: who shares the work.
        watch: who listens.
    """

    noun, many, offers, tabulated = "images", MANY, FeatureSet.offers, True

    def __init__(
        self,
        subject: Subject,
        reference: FeatureSet | None,
        request: EvaluationRequest,
        id: FeaturesId | None,
        features: Features | None,
        ranks: Ranks,
        watch: Watch,
    ) -> None:
        super().__init__(subject, request)
        self.reference, self.id, self.features, self.ranks, self.watch = reference, id, features, ranks, watch

    def compared(self, budget: int | None, seed: int) -> Found | None:
        """A comparison, which may have been made before the evaluation was stopped."""
        ready = self.subject.features
        if ready is not None:
            reference = self.reference
            return None if reference is None else (compare(ready, reference, self.metrics), None, ready.count)
        assert self.features is not None
        images = self.subject.image_set(self.request, budget, seed)
        file = self._file(images)
        known = read_comparison(file) if file else None
        if self.ranks.broadcast(str(known is not None)) == "True":
            return (known, file, len(images)) if known else None
        collected = collected_features(images, self.features, self.request, self.ranks, self.watch)
        if collected is None or self.reference is None or file is None:
            return None
        comparison = compare(collected, self.reference, self.metrics)
        write_comparison(file, comparison)
        pass_file(images, self.features.id).unlink(missing_ok=True)
        return comparison, file, len(images)

    def about(self, count: int | None) -> dict[str, Any]:
        leading = next((one for one in self.metrics.values() if one.leads), next(iter(self.metrics.values())))
        return {
            "figure": leading.called(self.id),
            "features": self.id.name if self.id else None,
            "variant": self.id.variant if self.id else None,
            "dim": self.reference.dim if self.reference else None,
            "num": count,
        }

    def _file(self, images: ImageSet) -> Path | None:
        if self.reference is None or self.features is None:
            return None
        identities = [metric.identity for metric in self.metrics.values()]
        return comparison_file(images, self.features.id, self.reference, identities)


def evaluation(
    subject: Subject, reference: Subject, request: EvaluationRequest, ranks: Ranks, watch: Watch | None = None
) -> Evaluation:
    """Two subjects brought into one space, with all that can be refused before the work begins.

    Args:
        subject: what is measured.
        reference: what it is compared with.
        request: how.
        ranks: who shares the work.
        watch: who listens.

    Raises:
        RequestError: the two, or the options, do not fit each other.
        HgfctlError: features cannot be had.
    """
    if request.features == WITHOUT:
        return OfPoints(subject, reference, request)
    watch = watch or Watch()
    chosen(request.metrics, OfFeatures.offers)
    known = [side.features for side in (subject, reference) if side.features is not None]
    id = wanted(request.features, known)
    budget = subject.budgets(request)[0]
    for side in (subject, reference):
        if side.features is None:  # says so now if it holds no images, not after loading features
            side.image_set(request, budget if side.is_model else None)
    shapes = [side.shape for side in (subject, reference) if side.features is None and side.shape is not None]
    features = None
    if shapes:
        with watch.loading():
            features = extractor_for(request, shapes[0], ranks, id)
        check_dimension(features, shapes, known)
        id = features.id
    elif given := [f"`{key}`" for key in ("resizing", "weights", "allow_code") if getattr(request, key)]:
        raise RequestError(f"{' and '.join(given)}: both sides are files of features, so none are made")
    if len(set(shapes)) > 1:
        sides = f"{subject.name} has images of {_size(shapes[0])}, {reference.name} of {_size(shapes[1])}"
        watch.warned(sides)
    base = reference_features(reference, request, features, ranks, watch)
    return OfFeatures(subject, base, request, id, features, ranks, watch)


def reference_features(
    reference: Subject, request: EvaluationRequest, features: Features | None, ranks: Ranks, watch: Watch
) -> FeatureSet | None:
    """The features of a reference, from the cache where they were made before; None on all ranks but the first."""
    if reference.features is not None:
        return reference.features if ranks.first else None
    assert features is not None
    images = reference.reference_images(request)
    file = cached_statistics(images, features.id) if ranks.first else None
    known = read_statistics(file, reference.name) if file else None
    if ranks.broadcast(str(known is not None)) == "True":
        return known
    collected = collected_features(images, features, request, ranks, watch)
    if collected is not None and file:
        write_features(collected, file)
        pass_file(images, features.id).unlink(missing_ok=True)
    return collected


def collected_features(
    images: ImageSet, features: Features, request: EvaluationRequest, ranks: Ranks, watch: Watch
) -> FeatureSet | None:
    """One pass over a set; None on all ranks but the first."""
    with watch.passing(images) as (progress, stop):
        return feature_set(images, features, request.batch, ranks, progress, stop)


@dataclass(frozen=True)
class Statistics:
    """Features of a subject's images, and the file of the pass that can go once they are written."""

    features: FeatureSet
    id: FeaturesId
    unfinished: Path


def statistics_of(
    subject: Subject, request: EvaluationRequest, ranks: Ranks, watch: Watch | None = None
) -> Statistics | None:
    """The features of a subject's images, to be kept; None on all ranks but the first."""
    watch = watch or Watch()
    images = subject.image_set(request, request.budgets[0], request.seed)
    with watch.loading():
        features = extractor_for(request, images.shape, ranks)
    collected = collected_features(images, features, request, ranks, watch)
    return None if collected is None else Statistics(collected, features.id, pass_file(images, features.id))


def _size(shape: tuple[int, ...]) -> str:
    """ "32 x 32 pixels in colour"."""
    return f"{shape[1]} x {shape[2]} pixels in {'grey' if shape[0] == 1 else 'colour'}"
