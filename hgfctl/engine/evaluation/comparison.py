"""Two sets in feature space, compared in every way that what is known of them allows."""

from dataclasses import dataclass

from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.statistics.extrapolation import frechet_at_infinity
from hgfctl.engine.statistics.frechet import frechet_distance, rank
from hgfctl.engine.statistics.kernel import Discrepancy, kernel_inception_distance
from hgfctl.engine.statistics.moments import Statistics
from hgfctl.engine.statistics.neighbours import Coverage, coverage
from hgfctl.errors import RequestError

FEW = 10_000
"""Images below which the bias of the Frechet distance is worth a warning."""
FEWEST = 6
"""Features that neighbours and jackknife need on either side."""
PER_DIMENSION = 2
"""Images a dimension that a quarter must have for the extrapolation: with fewer the distance is no line in 1/N yet."""


@dataclass(frozen=True)
class Comparison:
    """What was found.

    Args:
        frechet: the Frechet distance.
        at_infinity: extrapolated to infinitely many images; None where a random quarter of them has fewer than
            PER_DIMENSION images a dimension.
        kid, coverage: None where either side has no features left, but statistics only.
        warnings: what a reader of these figures must know.
    """

    frechet: float
    at_infinity: float | None
    kid: Discrepancy | None
    coverage: Coverage | None
    warnings: tuple[str, ...]


def compare(images: FeatureSet, reference: FeatureSet) -> Comparison:
    """Images against a reference, in the same features.

    Raises:
        RequestError: not the same features.
    """
    check_comparable(images, reference)
    frechet = frechet_distance(images.statistics, reference.statistics)
    large = images.parts and min(part.count for part in images.parts) >= PER_DIMENSION * images.dim
    at_infinity = frechet_at_infinity(images.parts, reference.statistics) if large else None
    x, y = images.features, reference.features
    both = x is not None and y is not None and min(len(x), len(y)) >= FEWEST
    return Comparison(
        frechet=frechet,
        at_infinity=at_infinity,
        kid=kernel_inception_distance(x, y) if both and x is not None and y is not None else None,
        coverage=coverage(x, y) if both and x is not None and y is not None else None,
        warnings=(
            *_unnamed(images, reference),
            *_bias(images, frechet, at_infinity),
            *_bias(reference),
            *_singular(images),
            *_singular(reference),
        ),
    )


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


def _features(known: FeatureSet) -> str:
    return f"features {known.id}" if known.id else "features"


def _unnamed(images: FeatureSet, reference: FeatureSet) -> list[str]:
    for one, other in ((images, reference), (reference, images)):
        if one.id is None and other.id is not None:
            return [f"{one.name} does not say of which features it is; they are taken for {other.id}"]
    return []


def _bias(known: FeatureSet, frechet: float = 0.0, at_infinity: float | None = None) -> list[str]:
    if known.count is None or known.count >= FEW:
        return []
    excess = 0.0 if at_infinity is None else frechet - at_infinity
    by = f", here by about {excess:.2g}" if excess > 0 else ""
    return [f"{known.count:,} images of {known.name}: with fewer than {FEW:,} the distance comes out too large{by}"]


def _singular(known: FeatureSet) -> list[str]:
    if known.statistics.deviations is not None:
        return [
            f"{known.name} has {known.count:,} images and {known.dim:,} dimensions: its covariance is singular, "
            "and the distance depends on the number of images most of all"
        ]
    if not is_singular(known.statistics):
        return []
    return [f"the covariance of {known.name} is singular: its rank is {rank(known.statistics)} of {known.dim}"]


def is_singular(statistics: Statistics) -> bool:
    """Whether some direction has no spread, as far as a Cholesky factor in float64 can tell."""
    import torch

    factor, failed = torch.linalg.cholesky_ex(statistics.covariance)
    diagonal = factor.diagonal()
    eps = torch.finfo(diagonal.dtype).eps
    return bool(failed) or bool(diagonal.min() ** 2 < len(diagonal) * eps * diagonal.max() ** 2)
