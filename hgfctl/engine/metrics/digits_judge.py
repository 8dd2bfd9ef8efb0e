"""How good generated digits are: by a classifier, and by a distance, that know only real ones."""

from functools import cached_property

from torch import Tensor

from hgfctl.engine.data.digits import digits, to_pixels
from hgfctl.engine.statistics.frechet import frechet_distance
from hgfctl.engine.statistics.moments import statistics


class DigitsJudge:
    """A support vector classifier (gamma = 0.001) fitted on scikit-learn's training scans, and the held-out scans.

    Images are (N, 1, 8, 8) in [-1, 1]; pixels are compared on the scans' own scale, 0 to 16.
    """

    def __init__(self) -> None:
        from sklearn.svm import SVC

        self._real, self._held_out = digits("train").all(), digits("held-out").all()
        self._classifier = SVC(gamma=0.001).fit(_pixels(self._real.x), self._real.labels)
        self._target = statistics(_pixels(self._held_out.x))

    def label(self, x: Tensor, labels: Tensor) -> float:
        """Share of the digits that look as they were asked for, labels (N,)."""
        return float(self._classifier.score(_pixels(x), labels))

    def frechet(self, x: Tensor) -> float:
        """Frechet distance in pixel space to the held-out scans; it falls with the number of digits."""
        return frechet_distance(statistics(_pixels(x)), self._target)

    @cached_property
    def real_label(self) -> float:
        """`label` of the held-out scans."""
        assert self._held_out.labels is not None
        return self.label(self._held_out.x, self._held_out.labels)

    @cached_property
    def real_frechet(self) -> float:
        """`frechet` of the training scans."""
        return self.frechet(self._real.x)

    @property
    def real_count(self) -> int:
        """Training scans."""
        return len(self._real.x)


def _pixels(x: Tensor) -> Tensor:
    """(N, 64), from 0 to 16."""
    return to_pixels(x).flatten(1).double()
