"""The uniform law of rotations."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hgfctl.engine.geometry.rotations import matrix


@dataclass(frozen=True)
class RotationPrior:
    """Uniform on the rotations, items (9,); densities are relative to this law (the normalised Haar measure)."""

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        q = torch.randn(shape[0], 4, generator=generator, dtype=torch.float64, device=generator.device)
        return matrix(q).reshape(shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """0: relative to itself."""
        return x.new_zeros(len(x))
