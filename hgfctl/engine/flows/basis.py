"""Orthonormal coordinates in which the parts of an item move by themselves, each with a frequency of its own."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor


class Basis(Protocol):
    """Items (B, *D) seen as modes and back; lengths are kept."""

    def modes(self, x: Tensor) -> Tensor:
        """(B, *D) -> modes, one row an item."""

    def items(self, modes: Tensor) -> Tensor:
        """The inverse of `modes`."""


@dataclass(frozen=True)
class Coordinates:
    """The coordinates themselves."""

    def modes(self, x: Tensor) -> Tensor:
        return x

    def items(self, modes: Tensor) -> Tensor:
        return modes


@dataclass(frozen=True)
class Cosines:
    """The orthonormal cosine transform (DCT-II) of vectors (d,), or of the last two axes of images (C, H, W).

    Mode k of n points is sqrt((2 - [k = 0]) / n) cos(pi (j + 1/2) k / n).
    """

    def modes(self, x: Tensor) -> Tensor:
        for axis in _axes(x):
            x = _along(_cosines(x.shape[axis]), x, axis)
        return x

    def items(self, modes: Tensor) -> Tensor:
        for axis in _axes(modes):
            modes = _along(_cosines(modes.shape[axis]).T, modes, axis)
        return modes

    @staticmethod
    def frequencies(shape: tuple[int, ...]) -> Tensor:
        """How fast each mode varies in space, from 0 (a constant) to 1 (the finest checkerboard): of the given shape.

        sqrt(sum_i (k_i / (n_i - 1))^2 / axes).
        """
        total = torch.zeros(shape, dtype=torch.float64)
        axes = range(-2, 0) if len(shape) == 3 else range(-1, 0)
        for axis in axes:
            n = shape[axis]
            k = torch.arange(n, dtype=torch.float64) / max(n - 1, 1)
            total = total + k.square().reshape(n, *[1] * (-1 - axis))
        return (total / len(axes)).sqrt()


@dataclass(frozen=True)
class Pairs:
    """Coordinates 2 k and 2 k + 1 of flattened items as the complex numbers x_2k + i x_2k+1.

    Args:
        shape: of an item, an even number of coordinates.
    """

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if math.prod(self.shape) % 2:
            raise ValueError(f"pairs of coordinates turn, and items of shape {self.shape} have an odd number of them")

    def modes(self, x: Tensor) -> Tensor:
        return torch.view_as_complex(x.reshape(len(x), -1, 2).contiguous())

    def items(self, modes: Tensor) -> Tensor:
        return torch.view_as_real(modes).reshape(len(modes), *self.shape)


COORDINATES = Coordinates()


def _axes(x: Tensor) -> range:
    """The axes that vary in space: the last one in a batch of vectors, the last two in one of images."""
    return range(-2, 0) if x.ndim == 4 else range(-1, 0)


def _along(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    modes: Tensor = torch.tensordot(x.movedim(axis, -1), matrix.to(x), dims=([-1], [1])).movedim(-1, axis)
    return modes


@lru_cache(maxsize=16)
def _cosines(n: int) -> Tensor:
    """(modes, points), float64, orthogonal."""
    j, k = torch.arange(n, dtype=torch.float64), torch.arange(n, dtype=torch.float64).unsqueeze(1)
    matrix = torch.cos(math.pi * (j + 0.5) * k / n) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix
