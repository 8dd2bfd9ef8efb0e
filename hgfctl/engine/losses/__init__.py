"""What is minimised, and at which times.

A loss is called as loss(model, x0, labels, rng) and gives one number an item, (B,). `hvp` trains an HVP, the others a
score. A loss that is a module (the game of HSM) brings weights of its own, which are trained along.
"""

from hgfctl.registry import Registry

LOSSES = Registry(
    "loss",
    {
        "hvp": "hgfctl.engine.losses.hvp_regression:HVPRegression",
        "hsm": "hgfctl.engine.losses.hamiltonian:HSMMinMax",
        "hsm-galerkin": "hgfctl.engine.losses.hamiltonian:HSMGalerkin",
        "dsm": "hgfctl.engine.losses.score_matching:DSM",
        "dsm-antithetic": "hgfctl.engine.losses.score_matching:dsm_antithetic",
        "ssm": "hgfctl.engine.losses.score_matching:SSM",
        "ssm-vr": "hgfctl.engine.losses.score_matching:SSMVR",
        "ism": "hgfctl.engine.losses.score_matching:ISM",
        "esm": "hgfctl.engine.losses.score_matching:ESM",
    },
)

TIMES = Registry(
    "times",
    {
        "log-normal": "hgfctl.engine.losses.times:LogNormalTimes",
        "uniform": "hgfctl.engine.losses.times:UniformTimes",
    },
)
