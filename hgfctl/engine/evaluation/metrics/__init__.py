"""Metrics: ways to compare a set of images, or of points, with a reference. A metric is one file and one line here."""

from hgfctl.registry import Registry

METRICS = Registry(
    "metric",
    {
        "frechet": "hgfctl.engine.evaluation.metrics.frechet:Frechet",
        "kid": "hgfctl.engine.evaluation.metrics.kid:KID",
        "prdc": "hgfctl.engine.evaluation.metrics.prdc:PRDC",
        "sliced-wasserstein": "hgfctl.engine.evaluation.metrics.sliced_wasserstein:SlicedWasserstein",
        "mmd": "hgfctl.engine.evaluation.metrics.mmd:MMD",
    },
    base="hgfctl.engine.evaluation.metrics.metric:Metric",
)
