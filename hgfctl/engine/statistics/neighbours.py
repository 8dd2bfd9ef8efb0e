"""How two sets of features cover each other, by nearest neighbours: fidelity and diversity apart."""

from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 1024
"""Rows of a distance matrix that are in memory at a time."""


class Coverage(NamedTuple):
    """Precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991), k = 3; density and coverage (Naeem et al.
    2020, arXiv 2002.09797), k = 5.

    Args:
        precision: share of generated items that lie in the ball of some real one (to its k-th nearest real neighbour).
        recall: share of real items that lie in the ball of some generated one.
        density: balls of real items that a generated item lies in, over k; may exceed 1.
        coverage: share of real items whose ball holds a generated one.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def coverage(generated: Tensor, real: Tensor, k: int = 3, k_density: int = 5) -> Coverage:
    """Compares features (N, d) and (M, d), more items each than neighbours asked for."""
    # Distances are differences of large numbers unless the features are centred.
    centre = real.double().mean(0)
    generated, real = generated.double() - centre, real.double() - centre
    real_radii = _radii(real, (k, k_density))
    generated_radii = _radii(generated, (k,))
    inside = torch.zeros(len(generated), dtype=torch.bool)
    balls = torch.zeros(len(generated), dtype=torch.int64)
    recalled = torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for first in range(0, len(generated), BLOCK):
        part = slice(first, first + BLOCK)
        distances = _distances(generated[part], real)
        inside[part] = (distances <= real_radii[0]).any(1)
        within = distances <= real_radii[1]
        balls[part] = within.sum(1)
        covered |= within.any(0)
        recalled |= (distances <= generated_radii[0, part].unsqueeze(1)).any(0)
    return Coverage(
        precision=float(inside.double().mean()),
        recall=float(recalled.double().mean()),
        density=float(balls.double().mean()) / k_density,
        coverage=float(covered.double().mean()),
    )


def _radii(x: Tensor, ks: tuple[int, ...]) -> Tensor:
    """(len(ks), N): from each item to its k-th nearest other one."""
    found = []
    for first in range(0, len(x), BLOCK):
        distances = _distances(x[first : first + BLOCK], x)
        nearest = distances.topk(max(ks) + 1, largest=False).values  # itself is the nearest
        found.append(nearest[:, list(ks)])
    return torch.cat(found).T.contiguous()


def _distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist")
