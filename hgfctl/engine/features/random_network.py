"""A convolutional network that was never trained (Naeem et al. 2020, arXiv 2002.09797, section 3.2): features that need
no file and no network, and that do not take every image for a photograph.
"""

import math
from itertools import pairwise
from typing import Annotated

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hgfctl.engine.features.features import Features, FeaturesId, resized, to_rgb
from hgfctl.engine.provided import DEVICE

SEED = 20241111
SIDE = 64
WIDTHS = (3, 32, 64, 128, 256)
DIM = 256


class RandomNetwork(Features):
    """Features `random`: (B, 256). Four times a 3 x 3 convolution, a leaky ReLU and an average over 2 x 2, at 64 x 64
    pixels, then a linear map. The weights are the same on every machine.

    Args:
        device: where to compute.
    """

    id = FeaturesId("random")

    def __init__(self, device: Annotated[torch.device, DEVICE]) -> None:
        self.device = device
        draws = _Draws()
        self.filters = [draws.weights(out, width, 3, 3).to(device) for width, out in pairwise(WIDTHS)]
        self.linear = draws.weights(DIM, WIDTHS[-1] * (SIDE >> len(self.filters)) ** 2).to(device)

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        x = resized(images.to(self.device).float(), SIDE) / 127.5 - 1
        x = to_rgb(x).contiguous(memory_format=torch.channels_last)
        for filters in self.filters:
            x = functional.leaky_relu(functional.conv2d(x, filters, padding=1), 0.2)
            x = functional.avg_pool2d(x, 2)
        return functional.linear(x.flatten(1), self.linear)


class _Draws:
    """Uniform weights, exactly reproducible: from the raw bits of a generator whose stream NumPy guarantees."""

    def __init__(self) -> None:
        self.bits = np.random.PCG64(SEED)

    def weights(self, *shape: int) -> Tensor:
        """Weights of variance 2 / fan-in (He et al. 2015), float32."""
        raw = self.bits.random_raw(math.prod(shape)) >> np.uint64(40)  # 24 bits: exact in float32
        uniform = (raw.astype(np.float64) + 0.5) / 2**23 - 1
        bound = math.sqrt(6 / math.prod(shape[1:]))
        return torch.from_numpy((uniform * bound).astype(np.float32)).reshape(shape)
