"""Inner products and noise, which score losses share."""

import torch
from torch import Generator, Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each item: (B, *D), (B, *D) -> (B,)."""
    return (a * b).flatten(1).sum(1)


def noise_like(x: Tensor, rng: Generator) -> Tensor:
    """Standard normal noise of the shape, type and device of x; drawn on the CPU, so it is the same on every device."""
    dtype = x.dtype if x.dtype == torch.float64 else torch.float32
    return torch.randn(x.shape, generator=rng, dtype=dtype).to(x)
