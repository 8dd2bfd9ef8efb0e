"""Data: an endless, reproducible stream of x0 (and labels), whatever it comes from.

`dataset` says what a data set is; `density` makes one of an analytic law. Images are float in [-1, 1], (C, H, W).
"""

from hgfctl.registry import Registry

AUGMENTATIONS = Registry(
    "augment",
    {
        "flip": "hgfctl.engine.data.augmentation:Flip",
        "geometric": "hgfctl.engine.data.augmentation:Geometric",
    },
)

DATA = Registry(
    "data",
    {
        "array": "hgfctl.engine.data.array:array",
        "checkerboard": "hgfctl.engine.data.checkerboard:checkerboard",
        "cifar10": "hgfctl.engine.data.cifar10:cifar10",
        "digits": "hgfctl.engine.data.digits:digits",
        "folder": "hgfctl.engine.data.images:folder",
        "gmm": "hgfctl.engine.data.mixture:gmm",
        "gmm1": "hgfctl.engine.data.mixture:gmm1",
        "gmm8": "hgfctl.engine.data.mixture:gmm8",
        "gmm64": "hgfctl.engine.data.mixture:gmm64",
        "moons": "hgfctl.engine.data.curves:moons",
        "patches": "hgfctl.engine.data.patches:patches",
        "ring": "hgfctl.engine.data.mixture:ring",
        "so3-mixture": "hgfctl.engine.data.so3_mixture:so3_mixture",
        "sphere-checkerboard": "hgfctl.engine.data.sphere_checkerboard:sphere_checkerboard",
        "torchvision": "hgfctl.engine.data.torchvision_sets:torchvision_set",
        "torus-mixture": "hgfctl.engine.data.torus_mixture:torus_mixture",
        "spirals": "hgfctl.engine.data.curves:spirals",
    },
)
