"""The kernel inception distance (Binkowski et al. 2018, arXiv 1801.01401), with its standard error."""

from collections.abc import Sequence

from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.metrics.metric import Column, Metric, Row, Values, cell
from hgfctl.engine.statistics.kernel import kernel_inception_distance, pooled_discrepancy


class KID(Metric[FeatureSet]):
    """Metric `kid`: `statistics.kernel_inception_distance` over all pairs of the features that are kept."""

    label, needs, keys = "KID", "features", ("kid", "kid_error")
    digits, usual = ".3g", True

    def compute(self, items: FeatureSet, reference: FeatureSet) -> Values:
        assert items.features is not None
        assert reference.features is not None
        return kernel_inception_distance(items.features, reference.features)._asdict()

    def pooled(self, found: Sequence[Values]) -> dict[str, float | None]:
        return dict(zip(self.keys, pooled_discrepancy(found), strict=True))

    def text(self, row: Row) -> str:
        return f"{row['kid']:.3g} ± {row['kid_error']:.1g}"

    def columns(self, row: Row, called: str) -> list[Column]:
        return [Column("KID", 10, cell(row["kid"], ".3g"))]
