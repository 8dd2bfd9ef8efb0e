"""The Frechet distance of features, FID, and its extrapolation to infinitely many images."""

from collections.abc import Sequence

import torch

from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.metrics.metric import Column, Metric, Row, Values, cell, mean, spread
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.statistics.extrapolation import frechet_at_infinity
from hgfctl.engine.statistics.frechet import frechet_distance, rank
from hgfctl.engine.statistics.moments import Statistics

FEW = 10_000
"""Images below which the bias of the Frechet distance is worth a warning."""
PER_DIMENSION = 2
"""Images a dimension that a quarter must have for the extrapolation: with fewer the distance is no line in 1/N yet."""


class Frechet(Metric[FeatureSet]):
    """Metric `frechet`: `statistics.frechet_distance`, and `frechet_at_infinity` where a random quarter of the images
    has PER_DIMENSION images a dimension.
    """

    label, needs, keys = "FID", "statistics", ("fid", "fid_std", "fid_infinity")
    digits, usual, leads = ".5g", True, True

    def compute(self, items: FeatureSet, reference: FeatureSet) -> Values:
        large = items.parts and min(part.count for part in items.parts) >= PER_DIMENSION * items.dim
        return {
            "distance": frechet_distance(items.statistics, reference.statistics),
            "at_infinity": frechet_at_infinity(items.parts, reference.statistics) if large else None,
        }

    def pooled(self, found: Sequence[Values]) -> dict[str, float | None]:
        return {
            "fid": mean(found, "distance"),
            "fid_std": spread(found, "distance"),
            "fid_infinity": mean(found, "at_infinity"),
        }

    def warnings(self, items: FeatureSet, reference: FeatureSet, values: Values) -> list[str]:
        distance, at_infinity = values["distance"], values["at_infinity"]
        excess = 0.0 if distance is None or at_infinity is None else distance - at_infinity
        return [*_bias(items, excess), *_bias(reference), *_singular(items), *_singular(reference)]

    def called(self, features: FeaturesId | None) -> str:
        return super().called(None) if features is None else features.figure

    def text(self, row: Row) -> str:
        return cell(row["fid"], ".5g") + ("" if row["fid_std"] is None else f" ± {row['fid_std']:.2g}")

    def beside(self, row: Row) -> list[tuple[str, str]]:
        limit = row["fid_infinity"]
        return [] if limit is None else [("at infinity", f"{limit:.5g} (extrapolated to infinitely many images)")]

    def columns(self, row: Row, called: str) -> list[Column]:
        limit = Column("at infinity", 12, cell(row["fid_infinity"], ".5g"))
        return [Column(called, max(16, len(called)), self.text(row)), limit]

    def drawn(self, row: Row) -> tuple[float | None, float]:
        return row["fid"], row["fid_std"] or 0.0


def _bias(known: FeatureSet, excess: float = 0.0) -> list[str]:
    if known.count is None or known.count >= FEW:
        return []
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
    """True where some direction has no spread that a Cholesky factor in float64 could see."""
    factor, failed = torch.linalg.cholesky_ex(statistics.covariance)
    diagonal = factor.diagonal()
    eps = torch.finfo(diagonal.dtype).eps
    return bool(failed) or bool(diagonal.min() ** 2 < len(diagonal) * eps * diagonal.max() ** 2)
