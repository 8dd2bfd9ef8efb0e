"""Networks, and the models that wrap them: the HVP and the score.

A network is a module N(x, noise, labels): x (B, *D) of unit variance, noise (B,) = ln(sigma)/4, labels (B,) or None ->
(B, *D); one of images may also be told (B, k) how they were augmented. `hvp` turns a network into a Hamiltonian
velocity predictor, `score` into an estimate of grad log pi, `noised-score` into one of the score of noised data;
nothing else needs to know which network it is. `consistency` is an HVP that jumps to the data, and `noise-predictor`
makes an HVP of networks with the older conventions of `clocks`. Each model says how it is sampled (`model.Model`).
"""

from hgfctl.engine.provided import FLOW, NETWORK
from hgfctl.registry import Registry

MODELS = Registry(
    "model",
    {
        "hvp": "hgfctl.engine.models.hvp:HVP",
        "consistency": "hgfctl.engine.models.consistency:ConsistencyModel",
        "noise-predictor": "hgfctl.engine.models.noise_predictor:NoisePredictor",
        "score": "hgfctl.engine.models.score:Score",
        "noised-score": "hgfctl.engine.models.noised_score:NoisedScore",
    },
    provides=[NETWORK, FLOW],
    base="hgfctl.engine.models.model:Model",
)


def needs_flow(name: str) -> bool:
    """Says whether a model of this name is one of a flow: its constructor asks for one.

    Raises:
        RequestError: no model is called so.
    """
    return MODELS.wants(name, FLOW)


CLOCKS = Registry(
    "clock",
    {
        "vp": "hgfctl.engine.models.clocks:VariancePreserving",
        "ve": "hgfctl.engine.models.clocks:VarianceExploding",
        "iddpm": "hgfctl.engine.models.clocks:CosineSteps",
    },
)
"""Ways of telling a noise predictor the noise level."""
