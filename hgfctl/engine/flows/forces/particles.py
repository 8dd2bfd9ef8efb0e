"""N bodies that repel or attract each other."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.forces.conservative import ConservativeForce


@dataclass(frozen=True)
class Particles(ConservativeForce):
    """Coulomb's or Newton's force between bodies of unit mass and charge, softened (Plummer 1911), in a trap.

        F_i = +- strength sum_j r_ij / (|r_ij|^2 + softening^2)^(3/2) - trap x_i,      r_ij = x_i - x_j,
        U = +- strength sum_{i<j} (|r_ij|^2 + softening^2)^(-1/2) + trap |x|^2 / 2

    with + where equal charges repel and - where masses attract. Without a trap the total momentum is kept.

    Args:
        kind: "coulomb" repels, "gravity" attracts.
        dims: of the space that a body moves in; an item is the positions of its bodies, one after the other.
        strength: of the force between two bodies.
        softening: distance below which it no longer grows.
        trap: spring constant of a harmonic trap around 0; 0 for none.
    """

    kind: Literal["coulomb", "gravity"] = "coulomb"
    dims: int = 2
    strength: float = 1.0
    softening: float = 0.1
    trap: float = 0.0

    def __post_init__(self) -> None:
        if self.dims < 1:
            raise ValueError(f"dims must be 1 or more, not {self.dims}")
        require_positive("strength", self.strength)
        require_positive("softening", self.softening)
        if not 0 <= self.trap < math.inf:
            raise ValueError(f"trap must be 0 or more, and finite, not {self.trap}")

    def check(self, shape: tuple[int, ...]) -> None:
        coordinates = math.prod(shape)
        if coordinates % self.dims or coordinates < 2 * self.dims:
            raise ValueError(
                f"items of shape {shape} have {coordinates} coordinates, which are no bodies of {self.dims} each; "
                "dims must divide them into two or more"
            )

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        apart = self._apart(x)
        cubed = (apart.square().sum(-1, keepdim=True) + self.softening**2) ** -1.5
        return self._signed_strength * (apart * cubed).sum(2).reshape(x.shape) - self.trap * x

    def potential(self, x: Tensor) -> Tensor:
        bodies = math.prod(x.shape[1:]) // self.dims
        first, second = torch.triu_indices(bodies, bodies, offset=1)
        apart = self._apart(x)[:, first, second]
        pairs = (apart.square().sum(-1) + self.softening**2) ** -0.5
        return self._signed_strength * pairs.sum(1) + self.trap / 2 * x.flatten(1).square().sum(1)

    @property
    def _signed_strength(self) -> float:
        return self.strength if self.kind == "coulomb" else -self.strength

    def _apart(self, x: Tensor) -> Tensor:
        """r_ij: (B, N, N, dims)."""
        bodies = x.reshape(len(x), -1, self.dims)
        return bodies.unsqueeze(2) - bodies.unsqueeze(1)
