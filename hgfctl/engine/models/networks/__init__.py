"""Networks: modules N(x, noise, labels) that know nothing of flows.

x is (B, *D) of unit variance, noise (B,) = ln(sigma)/4, labels (B,) or None -> (B, *D); a network of images may also
take (B, k) numbers that say how they were augmented. `network` says what a network is; `levels` plans U-Nets.
"""

from hgfctl.engine.provided import AUGMENTED_NUMBERS, CLASS_COUNT, ITEM_SHAPE
from hgfctl.registry import Registry

NETWORKS = Registry(
    "network",
    {
        "adm": "hgfctl.engine.models.networks.adm:ADM",
        "dit": "hgfctl.engine.models.networks.dit:DiT",
        "edm2": "hgfctl.engine.models.networks.magnitude_unet:MagnitudeUNet",
        "mlp": "hgfctl.engine.models.networks.mlp:MLP",
        "perceptron": "hgfctl.engine.models.networks.perceptron:Perceptron",
        "unet": "hgfctl.engine.models.networks.unet:UNet",
    },
    provides=[ITEM_SHAPE, CLASS_COUNT, AUGMENTED_NUMBERS],
    base="hgfctl.engine.models.networks.network:Network",
)
