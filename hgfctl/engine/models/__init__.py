"""Networks, and the models that wrap them: the HVP and the score.

A network is a module N(x, noise, labels): x (B, *D) of unit variance, noise (B,) = ln(sigma)/4, labels (B,) or None ->
(B, *D); one of images may also be told (B, k) how they were augmented. `hvp` turns a network into a Hamiltonian
velocity predictor, `score` into an estimate of grad log pi, `noised-score` into one of the score of noised data;
nothing else needs to know which network it is.
"""

from hgfctl.registry import Registry

NETWORKS = Registry(
    "network",
    {
        "dit": "hgfctl.engine.models.dit:DiT",
        "mlp": "hgfctl.engine.models.mlp:MLP",
        "perceptron": "hgfctl.engine.models.perceptron:Perceptron",
        "unet": "hgfctl.engine.models.unet:UNet",
    },
)

MODELS = Registry(
    "model",
    {
        "hvp": "hgfctl.engine.models.hvp:HVP",
        "score": "hgfctl.engine.models.score:Score",
        "noised-score": "hgfctl.engine.models.noised_score:NoisedScore",
    },
)
