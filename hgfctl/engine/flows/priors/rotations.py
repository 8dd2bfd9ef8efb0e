"""The uniform law of rotations."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.geometry.rotations import as_matrices, matrix, quaternion


@dataclass(frozen=True)
class RotationPrior(Prior):
    """Uniform on the rotations, items (9,); densities are relative to this law (the normalised Haar measure)."""

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        q = torch.randn(shape[0], 4, generator=generator, dtype=torch.float64, device=generator.device)
        return matrix(q).reshape(shape)

    def log_prob(self, x: Tensor) -> Tensor:
        """0: relative to itself."""
        return x.new_zeros(len(x))

    def to_normal(self, x: Tensor) -> Tensor:
        """Unit quaternions, normal but for the length; an arc of them is a turn about one axis."""
        return quaternion(as_matrices(x))

    def from_normal(self, u: Tensor) -> Tensor:
        return matrix(u.flatten(0, 1)).reshape(*u.shape[:2], 9)

    def nearest(self, u: Tensor, v: Tensor) -> Tensor:
        """v or -v, which are the same rotation."""
        return torch.where((u * v).sum(1, keepdim=True) < 0, -v, v)
