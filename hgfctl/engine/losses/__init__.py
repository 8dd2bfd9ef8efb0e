"""Losses, and the times at which they look.

A loss is called as loss(model, x0, labels, rng) and gives one number an item, (B,); it says which models it trains.
One that is a module brings a state of its own: weights, which are trained along (the critic of HSM's game), or buffers.
"""

from hgfctl.engine.models import MODELS
from hgfctl.engine.provided import AUGMENTATION, CRITIC, DATA_SCALE, DENSITY, TEACHER, TIMES_LAW
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
    provides=[TIMES_LAW, AUGMENTATION, CRITIC, DATA_SCALE, DENSITY, TEACHER],
    base="hgfctl.engine.losses.loss:Loss",
)

TIMES = Registry(
    "times",
    {
        "log-normal": "hgfctl.engine.losses.times:LogNormalTimes",
        "uniform": "hgfctl.engine.losses.times:UniformTimes",
    },
)


def losses_for(model: str) -> list[str]:
    """The names of the losses that train models of this name.

    Raises:
        RequestError: no model is called so.
    """
    kind = MODELS.class_of(model)
    return [name for name in LOSSES if LOSSES.class_of(name).fits(kind)]
