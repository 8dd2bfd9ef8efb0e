"""Any linear force, by its matrices."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.flows.motion import Matrices, Motion
from hgfctl.engine.provided import ItemShape

Rows = list[list[float]]


@dataclass(frozen=True)
class LinearByMatrices(LinearForce):
    """F = K x + G v: the motion is exp(t [[0, I], [K, G]]) (matrix exponential).

    Args:
        shape: of an item.
        position: the rows of K, over the coordinates of flattened items; 0 when left out.
        velocity: the rows of G; 0 when left out.
    """

    shape: ItemShape
    position: Rows | None = None
    velocity: Rows | None = None

    def __post_init__(self) -> None:
        d = math.prod(self.shape)
        for name, rows in (("position", self.position), ("velocity", self.velocity)):
            if rows is None:
                continue
            if len(rows) != d or any(len(row) != d for row in rows):
                raise ValueError(f"{name} must be {d} rows of {d} numbers, for items of shape {self.shape}")
            if not all(math.isfinite(entry) for row in rows for entry in row):
                raise ValueError(f"{name} must hold finite numbers")

    @property
    def depends_on_velocity(self) -> bool:  # type: ignore[override]
        return self.velocity is not None

    @property
    def algebra(self) -> Matrices:
        return Matrices()

    @cached_property
    def _matrices(self) -> tuple[Tensor, Tensor]:
        d = math.prod(self.shape)
        zero = [[0.0] * d] * d
        k, g = (torch.tensor(rows or zero, dtype=torch.float64) for rows in (self.position, self.velocity))
        return k, g

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        k, g = (matrix.to(x) for matrix in self._matrices)
        return (x.flatten(1) @ k.T + v.flatten(1) @ g.T).reshape(x.shape)

    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        k, g = (matrix.to(t.device) for matrix in self._matrices)
        d = len(k)
        generator = torch.cat([torch.cat([torch.zeros_like(k), torch.eye(d).to(k)], 1), torch.cat([k, g], 1)])
        flow = torch.linalg.matrix_exp(t.reshape(-1, 1, 1) * generator)
        return Motion(flow[:, :d, :d], flow[:, :d, d:], flow[:, d:, :d], flow[:, d:, d:])
