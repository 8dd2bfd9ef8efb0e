"""What is minimised, and at which times.

A loss is called as loss(model, x0, labels, rng) and gives one number an item, (B,). `TRAINS` says which
trains which model. A loss that is a module brings a state of its own: weights, which are trained along (the critic of
HSM's game), or buffers.
"""

from hgfctl.registry import Registry

LOSSES = Registry(
    "loss",
    {
        "hvp": "hgfctl.engine.losses.hvp_regression:HVPRegression",
        "consistency": "hgfctl.engine.losses.consistency:Consistency",
        "hsm": "hgfctl.engine.losses.hamiltonian:HSMMinMax",
        "hsm-galerkin": "hgfctl.engine.losses.hamiltonian:HSMGalerkin",
        "dsm": "hgfctl.engine.losses.score_matching:DSM",
        "dsm-antithetic": "hgfctl.engine.losses.score_matching:dsm_antithetic",
        "ssm": "hgfctl.engine.losses.score_matching:SSM",
        "ssm-vr": "hgfctl.engine.losses.score_matching:SSMVR",
        "ism": "hgfctl.engine.losses.score_matching:ISM",
        "esm": "hgfctl.engine.losses.score_matching:ESM",
        "denoising-hsm": "hgfctl.engine.losses.denoising:DenoisingHSM",
        "denoising-dsm": "hgfctl.engine.losses.denoising:denoising_dsm",
    },
)

TRAINS = {
    "hvp": ("hvp", "consistency"),
    "consistency": ("consistency",),
    "noise-predictor": ("hvp",),
    "score": ("hsm", "hsm-galerkin", "dsm", "dsm-antithetic", "ssm", "ssm-vr", "ism", "esm"),
    "noised-score": ("denoising-hsm", "denoising-dsm"),
}
"""Model -> the losses that train it."""

TIMES = Registry(
    "times",
    {
        "log-normal": "hgfctl.engine.losses.times:LogNormalTimes",
        "uniform": "hgfctl.engine.losses.times:UniformTimes",
    },
)
