"""The figures at one budget, over all sets of seeds."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hgfctl.engine.evaluation.comparison import Comparison
from hgfctl.engine.evaluation.metrics.choose import AnyMetric
from hgfctl.engine.features.features import FeaturesId
from hgfctl.engine.flows import flow_name
from hgfctl.engine.models.guided import as_json
from hgfctl.engine.sampling.sampler import Sampler


@dataclass(frozen=True)
class Measurement:
    """The figures at one budget.

    Args:
        comparisons: one for each set of seeds.
        metrics: those computed, name -> metric; those printed as the result first.
        others: those that could have been, whose JSON keys are null.
        about: facts of the set for JSON: its features, its number of items.
        id: of the features; None where no file says it, or of points.
        sampler: that made the items, if one did.
        seeds: of their first items.
        kept: files that hold the comparisons until they are printed.
        warns: whether JSON has the warnings.
    """

    comparisons: tuple[Comparison, ...]
    metrics: Mapping[str, AnyMetric]
    others: Mapping[str, AnyMetric]
    about: Mapping[str, Any]
    id: FeaturesId | None = None
    sampler: Sampler | None = None
    seeds: tuple[int, ...] = ()
    kept: tuple[Path, ...] = ()
    warns: bool = True

    @property
    def leading(self) -> list[AnyMetric]:
        """The metrics that are printed as the result: those that lead, else the first one."""
        return [metric for metric in self.metrics.values() if metric.leads] or [next(iter(self.metrics.values()))]

    @property
    def beside(self) -> list[AnyMetric]:
        """The metrics that are printed beside the result."""
        leading = self.leading
        return [metric for metric in self.metrics.values() if metric not in leading]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the first set; the others' are alike."""
        return self.comparisons[0].warnings

    @cached_property
    def row(self) -> dict[str, Any]:
        """Plain values for JSON; figures are pooled over seeds."""
        figures = {name: self._pooled(name, metric) for name, metric in self.metrics.items()}
        first = {key: value for name, metric in self.metrics.items() if metric in self.leading
                 for key, value in figures[name].items()}  # fmt: skip
        rest = {key: value for values in figures.values() for key, value in values.items()}
        sampler = self.sampler
        return {
            **first,
            **self.about,
            "nfe": sampler.nfe if sampler else None,
            "sampler": sampler.method if sampler else None,
            "grid": sampler.grid if sampler else None,
            "flow": flow_name(sampler.flow) if sampler else None,
            **as_json(sampler.guidance if sampler else None),
            "seeds": list(self.seeds),
            **{key: None for metric in self.others.values() for key in metric.keys},
            **{key: value for key, value in rest.items() if key not in first},
            **({"warnings": list(self.warnings)} if self.warns else {}),
        }

    def _pooled(self, name: str, metric: AnyMetric) -> dict[str, float | None]:
        values = [found for one in self.comparisons if (found := one.values.get(name)) is not None]
        return metric.pooled(values) if values else dict.fromkeys(metric.keys)
