"""Features: what images are turned into before sets of them are compared. A figure means nothing without their name."""

from hgfctl.engine.provided import DEVICE
from hgfctl.registry import Registry

FEATURES = Registry(
    "features",
    {
        "dinov2": "hgfctl.engine.features.dinov2:DINOv2",
        "inception": "hgfctl.engine.features.inception:Inception",
        "pixels": "hgfctl.engine.features.pixels:Pixels",
        "random": "hgfctl.engine.features.random_network:RandomNetwork",
    },
    provides=[DEVICE],
)
