"""Two sets, compared by every metric that was chosen, as far as what is known of the sets allows."""

from collections.abc import Mapping
from dataclasses import dataclass

from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.metrics.choose import AnyMetric, chosen
from hgfctl.engine.evaluation.metrics.metric import Values
from hgfctl.engine.evaluation.point_set import PointSet
from hgfctl.errors import RequestError


@dataclass(frozen=True)
class Comparison:
    """The values of one comparison.

    Args:
        values: metric -> its values; None where a side lacks what the metric needs, such as features of single images.
        warnings: sentences that a reader of these values must know.
    """

    values: Mapping[str, Values | None]
    warnings: tuple[str, ...] = ()


def compare(images: FeatureSet, reference: FeatureSet, metrics: Mapping[str, AnyMetric] | None = None) -> Comparison:
    """Images against a reference, in the same features.

    Args:
        images, reference: the two sets.
        metrics: name -> metric; the usual ones when None.

    Raises:
        RequestError: not the same features.
    """
    check_comparable(images, reference)
    found = _compared(images, reference, chosen(None, images.offers) if metrics is None else metrics)
    return Comparison(found.values, (*_unnamed(images, reference), *found.warnings))


def compare_points(points: PointSet, reference: PointSet, metrics: Mapping[str, AnyMetric]) -> Comparison:
    """Points against a reference of the same dimension."""
    return _compared(points, reference, metrics)


def check_comparable(images: FeatureSet, reference: FeatureSet) -> None:
    """Raises RequestError unless both are of the same features and dimension."""
    if images.dim != reference.dim:
        raise RequestError(
            f"{images.name} has {_features(images)} of dimension {images.dim}, "
            f"{reference.name} {_features(reference)} of dimension {reference.dim}"
        )
    if images.id and reference.id and images.id != reference.id:
        raise RequestError(
            f"{images.name} has features {images.id}, and {reference.name} {reference.id}: they cannot be compared"
        )


def _compared(
    items: FeatureSet | PointSet, reference: FeatureSet | PointSet, metrics: Mapping[str, AnyMetric]
) -> Comparison:
    values: dict[str, Values | None] = {}
    warnings: list[str] = []
    for name, metric in metrics.items():
        possible = items.has(metric.needs) and reference.has(metric.needs)
        found = metric.compute(items, reference) if possible else None
        values[name] = found
        warnings += metric.warnings(items, reference, found) if found is not None else []
    return Comparison(values, tuple(warnings))


def _features(known: FeatureSet) -> str:
    return f"features {known.id}" if known.id else "features"


def _unnamed(images: FeatureSet, reference: FeatureSet) -> list[str]:
    for one, other in ((images, reference), (reference, images)):
        if one.id is None and other.id is not None:
            return [f"{one.name} does not say of which features it is; they are taken for {other.id}"]
    return []
