"""Networks, and the HVP that wraps them.

A network is a module N(x, noise, labels): x (B, *D) of unit variance, noise (B,) = ln(sigma)/4, labels (B,) or None ->
(B, *D). `hvp` turns one into a Hamiltonian velocity predictor; nothing else needs to know which network it is.
"""

from hgfctl.registry import Registry

NETWORKS = Registry(
    "network",
    {
        "mlp": "hgfctl.engine.models.mlp:MLP",
        "unet": "hgfctl.engine.models.unet:UNet",
    },
)
