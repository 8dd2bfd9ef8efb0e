"""The squared maximum mean discrepancy of points, with its standard error."""

from collections.abc import Sequence

from hgfctl.engine.evaluation.metrics.metric import Metric, Row, Values
from hgfctl.engine.evaluation.point_set import PointSet
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.statistics.kernel import gaussian_mmd2, pooled_discrepancy


class MMD(Metric[PointSet]):
    """Metric `mmd`: `statistics.gaussian_mmd2`, unbiased; its kernel is as wide as the reference's
    median distance.
    """

    label, needs, keys = "MMD^2", "points", ("mmd", "mmd_error")
    usual, leads = True, True

    def compute(self, items: PointSet, reference: PointSet) -> Values:
        return gaussian_mmd2(items.points, reference.points)._asdict()

    def pooled(self, found: Sequence[Values]) -> dict[str, float | None]:
        return dict(zip(self.keys, pooled_discrepancy(found), strict=True))

    def called(self, features: FeaturesId | None) -> str:
        return self.label

    def text(self, row: Row) -> str:
        return f"{row['mmd']:.3g} ± {row['mmd_error']:.1g}"
