"""Noise as a direction and a length, for laws that change the one and keep the other."""

from typing import NamedTuple

import torch
from torch import Tensor


class Polar(NamedTuple):
    """z = length * unit, lengths (B, 1, ...) that multiply items (B, *D)."""

    unit: Tensor
    length: Tensor


def polar(z: Tensor) -> Polar:
    """Direction and length of each item, without overflow; the direction of 0 is that of (1, ..., 1)."""
    axes = tuple(range(1, z.ndim))
    largest = z.abs().amax(axes, keepdim=True)
    scaled = torch.where(largest > 0, z / largest, torch.ones_like(z))
    norm = torch.linalg.vector_norm(scaled, dim=axes, keepdim=True)
    return Polar(scaled / norm, largest * norm)
