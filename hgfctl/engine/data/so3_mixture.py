"""Rotations around some centres."""

import math

import torch
from torch import Generator, Tensor

from hgfctl.engine.data.density import DensityData, KnownDensity
from hgfctl.engine.geometry.rotations import as_matrices, matrix, quaternion, rotation, rotation_vector
from hgfctl.engine.randomness import generator


class RotationMixture(KnownDensity):
    """C_k exp(w^), w ~ N(0, sd^2 I) in R^3, with equally likely centres C_k; items (9,).

    The density relative to the uniform law, with r_j = r + 2 pi j for all whole j, r the angle between R and C_k:

        p_k(R) = 8 pi^2 / (2 pi sd^2)^(3/2) sum_j r_j^2 / (4 sin^2(r / 2)) exp(-r_j^2 / (2 sd^2))

    Args:
        centres: (K, 3, 3), rotations.
        sd: standard deviation, in radians, of a turn about each axis.
    """

    dim = 9

    def __init__(self, centres: Tensor, sd: float) -> None:
        if not 0 < sd < math.inf:
            raise ValueError(f"sd must be positive and finite, not {sd}")
        self.centres, self.sd = centres.double(), sd

    def sample(self, count: int, rng: Generator) -> Tensor:
        centre = self.centres[torch.randint(len(self.centres), (count,), generator=rng)]
        w = self.sd * torch.randn(count, 3, generator=rng, dtype=torch.float64)
        return (centre @ rotation(w)).flatten(1)

    def log_prob(self, x: Tensor) -> Tensor:
        between = self.centres.mT.unsqueeze(0) @ as_matrices(x.double()).unsqueeze(1)
        angle = rotation_vector(quaternion(between.flatten(0, 1))).norm(dim=1).reshape(len(x), -1, 1)
        reach = math.ceil(1 + 2 * self.sd)
        angles = angle + 2 * math.pi * torch.arange(-reach, reach + 1)
        volume = angles.abs().log() - (2 * (angle / 2).sin()).log()
        volume = torch.where(angles == 0, 0.0, volume)
        images = 2 * volume - 0.5 * (angles / self.sd) ** 2
        constant = math.log(8 * math.pi**2) - 1.5 * math.log(2 * math.pi * self.sd**2)
        density: Tensor = images.flatten(1).logsumexp(1) + constant - math.log(len(self.centres))
        return density


def so3_mixture(modes: int = 6, sd: float = 0.15, seed: int = 0) -> DensityData:
    """Data set `so3-mixture`: rotations around centres that are drawn from the uniform law, items (9,).

    Args:
        modes: how many centres.
        sd: standard deviation, in radians, of a turn about each axis.
        seed: draws other centres.
    """
    if modes < 1:
        raise ValueError(f"modes must be 1 or more, not {modes}")
    drawn = torch.randn(modes, 4, generator=generator("so3-mixture", seed), dtype=torch.float64)
    return DensityData(RotationMixture(matrix(drawn), sd))
