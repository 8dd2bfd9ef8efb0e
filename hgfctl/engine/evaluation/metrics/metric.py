"""A metric: what it needs, what it computes, how several seeds are pooled, and how its figures are written."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from hgfctl.engine.evaluation.needs import Need
from hgfctl.engine.features.features import FeaturesId

Values = Mapping[str, float | None]
"""Plain numbers that one comparison gives; they are kept in files."""
Row = Mapping[str, Any]
"""A measurement as JSON has it."""
Set = TypeVar("Set")


class Column(NamedTuple):
    """A column of a table: its title, its width, and the text of one row."""

    title: str
    width: int
    text: str


class Metric(ABC, Generic[Set]):
    """A way to compare two sets. A subclass says the first block, and computes; all else has a default.

    Options are the parameters of its constructor, kept as attributes of the same names.

    Attributes:
        label: name in words, such as KID.
        needs: see `Need`.
        keys: of JSON, in their order; the first one is the value that is written and drawn.
        digits: format of the values.
        usual: whether it is computed when the user names no metrics.
        leads: whether it is printed as the result wherever it is computed; else the first metric is.
    """

    label: ClassVar[str]
    needs: ClassVar[Need]
    keys: ClassVar[tuple[str, ...]]
    digits: ClassVar[str] = ".4g"
    usual: ClassVar[bool] = False
    leads: ClassVar[bool] = False

    @abstractmethod
    def compute(self, items: Set, reference: Set) -> Values:
        """Compares two sets: `FeatureSet`s, or `PointSet`s where points are needed."""

    def pooled(self, found: Sequence[Values]) -> dict[str, float | None]:
        """Every JSON key, from the comparisons of several seeds with one reference, one at least: their means."""
        return {key: mean(found, key) for key in self.keys}

    def warnings(self, items: Set, reference: Set, values: Values) -> list[str]:
        """Sentences that a reader of these values must know."""
        return []

    @property
    def identity(self) -> str:
        """All that its values depend on besides the sets."""
        return f"{type(self).__module__}.{type(self).__qualname__} {sorted(vars(self).items())}"

    def called(self, features: FeaturesId | None) -> str:
        """The label with the features that it is computed in: KID(random)."""
        return self.label if self.needs == "points" else f"{self.label}({features or 'unnamed features'})"

    def text(self, row: Row) -> str:
        """The value as the result writes it, without the label."""
        return cell(row[self.keys[0]], self.digits)

    def beside(self, row: Row) -> list[tuple[str, str]]:
        """Names and texts of lines that go with the value where it is the result."""
        return []

    def details(self, row: Row) -> list[tuple[str, str]]:
        """Names and texts of lines where another metric is the result; none where nothing was computed."""
        return [] if row[self.keys[0]] is None else [(self.label, self.text(row)), *self.beside(row)]

    def columns(self, row: Row, called: str) -> list[Column]:
        """Its part of a table with a row a budget.

        Args:
            row: of the table.
            called: title of the result's column.
        """
        return [Column(key, max(9, len(key)), cell(row[key], self.digits)) for key in self.keys]

    def drawn(self, row: Row) -> tuple[float | None, float]:
        """The value of a plot against the budget, and its standard deviation over seeds (0: unknown)."""
        return row[self.keys[0]], 0.0


def mean(found: Sequence[Values], key: str) -> float | None:
    """The mean of a value over the comparisons that have it; None where none has."""
    values = [value for values in found if (value := values.get(key)) is not None]
    return fmean(values) if values else None


def spread(found: Sequence[Values], key: str) -> float | None:
    """The standard deviation of a value over comparisons; None of fewer than two."""
    values = [value for values in found if (value := values.get(key)) is not None]
    return stdev(values) if len(values) > 1 else None


def cell(value: float | None, digits: str) -> str:
    """A number of a table; nothing where there is none."""
    return "" if value is None else format(value, digits)
