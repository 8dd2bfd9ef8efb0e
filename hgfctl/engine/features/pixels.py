"""Pixels as they are: for small images, and for figures that anyone can check."""

from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from hgfctl.engine.features.features import Features, FeaturesId
from hgfctl.engine.provided import DEVICE

SIDE = 32
"""Larger images are averaged down to this, or the covariance would be too large to keep."""


class Pixels(Features):
    """Features `pixels`: (B, C * H * W), in [-1, 1]; at most 32 x 32 pixels.

    Args:
        device: where to compute.
    """

    id = FeaturesId("pixels")

    def __init__(self, device: Annotated[torch.device, DEVICE]) -> None:
        self.device = device

    def __call__(self, images: Tensor) -> Tensor:
        x = images.to(self.device).float() / 127.5 - 1
        height, width = (min(SIDE, side) for side in x.shape[-2:])
        return functional.adaptive_avg_pool2d(x, (height, width)).flatten(1)
