"""The sliced Wasserstein distance of points, beside that of as many true ones."""

from collections.abc import Sequence

from hgfctl.engine.evaluation.metrics.metric import Metric, Row, Values, mean, spread
from hgfctl.engine.evaluation.point_set import PointSet
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.statistics.sliced import DIRECTIONS, sliced_wasserstein


class SlicedWasserstein(Metric[PointSet]):
    """Metric `sliced-wasserstein`: `statistics.sliced_wasserstein`, in units of the data; and its floor, the distance
    that as many points of the reference's own law have, where that law can be drawn from.

    Args:
        directions: random directions that are averaged over.
    """

    label, needs = "sliced-W2", "points"
    keys = ("sliced_wasserstein", "sliced_wasserstein_std", "floor")
    usual, leads = True, True

    def __init__(self, directions: int = DIRECTIONS) -> None:
        self.directions = directions

    def compute(self, items: PointSet, reference: PointSet) -> Values:
        again = reference.again(len(items.points)) if reference.again else None
        return {
            "distance": sliced_wasserstein(items.points, reference.points, self.directions),
            "floor": None if again is None else sliced_wasserstein(again, reference.points, self.directions),
        }

    def pooled(self, found: Sequence[Values]) -> dict[str, float | None]:
        return dict(
            zip(self.keys, (mean(found, "distance"), spread(found, "distance"), found[0]["floor"]), strict=True)
        )

    def called(self, features: FeaturesId | None) -> str:
        return self.label

    def text(self, row: Row) -> str:
        std, floor = row["sliced_wasserstein_std"], row["floor"]
        spread = "" if std is None else f" ± {std:.1g}"
        return f"{row['sliced_wasserstein']:.4g}{spread}" + (
            "" if floor is None else f" (as many true points have {floor:.3g})"
        )
