"""What is minimised, and at which times.

A loss is called as loss(hvp, x0, labels, rng) and gives one number an item, (B,).
"""

from hgfctl.registry import Registry

LOSSES = Registry("loss", {"hvp": "hgfctl.engine.losses.hvp_regression:HVPRegression"})

TIMES = Registry(
    "times",
    {
        "log-normal": "hgfctl.engine.losses.times:LogNormalTimes",
        "uniform": "hgfctl.engine.losses.times:UniformTimes",
    },
)
