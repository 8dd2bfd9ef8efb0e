"""The metrics that a comparison computes: those that a user names, or the usual ones."""

from collections.abc import Collection, Sequence
from typing import Any

from hgfctl.engine.evaluation.metrics import METRICS
from hgfctl.engine.evaluation.metrics.metric import Metric
from hgfctl.engine.evaluation.needs import Need
from hgfctl.errors import RequestError

AnyMetric = Metric[Any]


def chosen(names: Sequence[str] | None, offered: Collection[Need]) -> dict[str, AnyMetric]:
    """name -> metric; one that leads comes first.

    Args:
        names: of the registry; the usual ones when None.
        offered: what the sets have for metrics.

    Raises:
        RequestError: an unknown name, or a metric that needs something else.
    """
    if names is None:
        return {name: metric for name, metric in suitable(offered).items() if metric.usual}
    metrics: dict[str, AnyMetric] = {name: METRICS.build(name, {}) for name in names}
    for name, metric in metrics.items():
        if metric.needs not in offered:
            where = "vectors, which `features=none` compares" if metric.needs == "points" else "images"
            raise RequestError(f"`metrics={name}`: it is for {where}; here are {', '.join(suitable(offered))}")
    return dict(sorted(metrics.items(), key=lambda item: not item[1].leads))


def suitable(offered: Collection[Need]) -> dict[str, AnyMetric]:
    """All registered metrics that such sets have what they need for."""
    return {name: METRICS.build(name, {}) for name in METRICS if METRICS[name].needs in offered}
