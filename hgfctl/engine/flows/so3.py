"""Constant rotations turn rotations into the uniform law."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.flows.manifold import Manifold, Sizes
from hgfctl.engine.flows.priors.rotations import RotationPrior
from hgfctl.engine.flows.velocity_laws.law import InitialMoments, VelocityLaw
from hgfctl.engine.geometry.rotations import as_matrices, hat, nearest_rotation, rotation, rotation_vector
from hgfctl.engine.phase_space import State, over


@dataclass(frozen=True)
class RotationLogarithm(VelocityLaw):
    """v0 = log_{R0}(R1) / T with R1 uniform: R0 w^ / T, exp(w^) = R0^T R1 uniform for every R0.

    A uniform rotation is a uniform unit quaternion, here four of the nine normal numbers of an item. Its angle |w|, at
    most pi, has the density (1 - cos) / pi.

    Args:
        duration: T.
    """

    duration: float

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        w = rotation_vector(z[:, :4])
        return (as_matrices(x0) @ hat(w / self.duration)).reshape(x0.shape)

    def moments(self, sd: float) -> InitialMoments:
        """E |w^|^2 = 2 E angle^2 = 2 (pi^2 / 3 + 2), over nine coordinates."""
        return InitialMoments(0.0, 2 * (math.pi**2 / 3 + 2) / 9 / self.duration**2)


@dataclass(frozen=True)
class SO3(Manifold):
    """Rotations R, items of shape (9,), the 3 x 3 matrix row by row.

        R_t = R0 exp(t w^),    V_t = R_t w^,    F(R, V) = V R^T V, which keeps R a rotation

    with w the angular velocity in the frame of the body, w^ its cross product as a matrix. Lengths are those of R^9, so
    a turn by an angle is sqrt(2) times as long as the angle.
    """

    tuned_as: ClassVar[str] = "so3"

    @property
    def domain(self) -> str:
        return "the rotation matrices"

    @property
    def size(self) -> float:
        return math.sqrt(3)

    @property
    def velocity_law(self) -> RotationLogarithm:
        return RotationLogarithm(self.duration)

    @property
    def prior(self) -> RotationPrior:
        return RotationPrior()

    @property
    def sizes(self) -> Sizes:
        return Sizes(1 / 3, self.velocity_law.moments(self.sd).vv)

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        R, V = as_matrices(x), as_matrices(v)
        return (V @ R.mT @ V).reshape(x.shape)

    def geodesic(self, x0: Tensor, v0: Tensor, t: Tensor) -> State:
        R0 = as_matrices(x0)
        turning = R0.mT @ as_matrices(v0)
        w = torch.stack([turning[:, i, j] - turning[:, j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1) / 2
        R = R0 @ rotation(over(t.to(x0.dtype), w) * w)
        return State(R.reshape(x0.shape), (R @ hat(w)).reshape(x0.shape))

    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        """(V - R V^T R) / 2."""
        R, V = as_matrices(x), as_matrices(v)
        return ((V - R @ V.mT @ R) / 2).reshape(x.shape)

    def confine(self, x: Tensor) -> Tensor:
        """The nearest rotation: the polar factor of the matrix."""
        return nearest_rotation(as_matrices(x)).reshape(x.shape)

    def near(self, x: Tensor) -> Tensor:
        """R (3 I - R^T R) / 2: a Newton step towards the orthogonal matrices."""
        R = as_matrices(x)
        return ((3 * R - R @ R.mT @ R) / 2).reshape(x.shape)

    def check(self, shape: tuple[int, ...]) -> None:
        if shape != (9,):
            raise ValueError(f"rotations are items of shape (9,), a 3 x 3 matrix row by row, not of shape {shape}")
