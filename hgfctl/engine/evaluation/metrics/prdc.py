"""Precision, recall, density and coverage: how two sets of features cover each other."""

from typing import ClassVar

from hgfctl.engine.evaluation.feature_set import FeatureSet
from hgfctl.engine.evaluation.metrics.metric import Metric, Row, Values
from hgfctl.engine.statistics.neighbours import Coverage, coverage


class PRDC(Metric[FeatureSet]):
    """Metric `prdc`: see `statistics.neighbours.Coverage`.

    Args:
        k: nearest neighbour that precision and recall take for the radius of a ball.
        k_density: the same for density and coverage.

    Raises:
        ValueError: below 1.
    """

    label, needs, keys = "PRDC", "features", Coverage._fields
    digits: ClassVar[str] = ".3f"
    usual = True

    def __init__(self, k: int = 3, k_density: int = 5) -> None:
        if min(k, k_density) < 1:
            raise ValueError(f"k={k} and k_density={k_density} must be 1 at least")
        self.k, self.k_density = k, k_density

    def compute(self, items: FeatureSet, reference: FeatureSet) -> Values:
        assert items.features is not None
        assert reference.features is not None
        return coverage(items.features, reference.features, self.k, self.k_density)._asdict()

    def text(self, row: Row) -> str:
        return ", ".join(f"{key} {row[key]:.3f}" for key in self.keys)

    def details(self, row: Row) -> list[tuple[str, str]]:
        return [] if row["precision"] is None else [(key, f"{row[key]:.3f}") for key in self.keys]
