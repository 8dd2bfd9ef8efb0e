"""Rotations of space: matrices, rotation vectors (axis times angle), unit quaternions (w, x, y, z)."""

import math

import torch
from torch import Tensor


def as_matrices(x: Tensor) -> Tensor:
    """(B, 9) or (9,), row by row -> (B, 3, 3)."""
    return x.reshape(-1, 3, 3)


def hat(w: Tensor) -> Tensor:
    """The matrix w^ with w^ u = w x u: (B, 3) -> (B, 3, 3)."""
    x, y, z = w.unbind(-1)
    nought = torch.zeros_like(x)
    return torch.stack([nought, -z, y, z, nought, -x, -y, x, nought], -1).reshape(*w.shape[:-1], 3, 3)


def rotation(w: Tensor) -> Tensor:
    """exp(w^) by way of the unit quaternion (cos a, sin a w / |w|), a = |w| / 2; no division by the angle.

    w is (B, 3); the result (B, 3, 3).
    """
    half = w.norm(dim=-1, keepdim=True) / 2
    return matrix(torch.cat([half.cos(), torch.sinc(half / math.pi) * w / 2], -1))


def matrix(q: Tensor) -> Tensor:
    """The rotation of quaternions, divided by their length: (B, 4) -> (B, 3, 3)."""
    w, x, y, z = (q / q.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        *(1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    ]
    return torch.stack(rows, -1).reshape(-1, 3, 3)


def quaternion(R: Tensor) -> Tensor:
    """A unit quaternion of rotations, one of the two: (B, 3, 3) -> (B, 4).

    Each row of 4 q q^T = (1 + trace, ...) is a multiple of q; the longest is the most exact (Shepperd 1978).
    """
    a, b, c, d, e, f, g, h, i = R.flatten(1).unbind(1)
    rows = [
        torch.stack([1 + a + e + i, h - f, c - g, d - b], -1),
        torch.stack([h - f, 1 + a - e - i, b + d, c + g], -1),
        torch.stack([c - g, b + d, 1 - a + e - i, f + h], -1),
        torch.stack([d - b, c + g, f + h, 1 - a - e + i], -1),
    ]
    candidates = torch.stack(rows, 1)
    lengths = candidates.norm(dim=-1)
    longest = candidates[torch.arange(len(R), device=R.device), lengths.argmax(1)]
    unit: Tensor = longest / longest.norm(dim=-1, keepdim=True)
    return unit


def rotation_vector(q: Tensor) -> Tensor:
    """Axis times angle, 0 to pi, of the rotation of a quaternion of any length but 0: (B, 4) -> (B, 3)."""
    q = torch.where(q[:, :1] < 0, -q, q)
    sine = q[:, 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, q[:, :1])
    return torch.where(sine > 0, angle / sine, 0.0) * q[:, 1:]


def nearest_rotation(x: Tensor) -> Tensor:
    """The rotation nearest to matrices (B, 3, 3), by their singular values; of the least turn where they mirror."""
    U: Tensor
    Vh: Tensor
    U, _, Vh = torch.linalg.svd(x)
    mirrored = torch.where(torch.linalg.det(U @ Vh) < 0, -1.0, 1.0).to(x)
    return torch.cat([U[:, :, :2], U[:, :, 2:] * mirrored.reshape(-1, 1, 1)], -1) @ Vh
