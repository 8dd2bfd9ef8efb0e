"""Derivatives of a force: whether it is a gradient, what it does to volume, how stiff it is.

With J = dF/dx and G = dF/dv at points of phase space, of size |.| (Frobenius):

    curl         |J - J^T| / (2 |J|)    0 of gradients, 1 of a pure turn; the root of the ratio of means of squares
    divergence   tr G                   d/dt of the logarithm of a volume of phase space (Liouville)
    stiffness    largest |J u|, |u| = 1
    damping      largest |G u|, |u| = 1

Up to EXACT coordinates the matrices are made, row by row; beyond, products with random probes stand for them: with
u, w ~ N(0, I), E (w^T J u - u^T J w)^2 = |J - J^T|^2, E (w^T J u)^2 = |J|^2 and E w^T G w = tr G (Hutchinson).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.metrics.stiffness import curvature
from hgfctl.engine.randomness import generator
from hgfctl.errors import RequestError

FieldOfForce = Callable[[Tensor, Tensor, Tensor], Tensor]
"""F(x, v, t): (B, *D) twice, times -> (B, *D)."""

EXACT = 16
"""Coordinates of an item."""
PROBES = 16
"""Pairs, beyond."""


class Derivatives(NamedTuple):
    """Over a batch of points.

    Args:
        curl: see above.
        divergence: its mean over the points.
        stiffness: its maximum; a lower bound, close where the force is nearly a gradient, beyond EXACT coordinates.
        damping: its maximum; of the probes, beyond EXACT coordinates.
        exact: whether the matrices were made.
    """

    curl: float
    divergence: float
    stiffness: float
    damping: float
    exact: bool


def derivatives(force: FieldOfForce, x: Tensor, v: Tensor, t: Tensor) -> Derivatives:
    """At points (x, v), (B, *D) each, and times t, () or (B,).

    Raises:
        RequestError: the force is not made of operations that torch can differentiate.
    """
    if x[0].numel() <= EXACT:
        return _exact(force, x, v, t)
    squares, asymmetry, trace, damping = 0.0, 0.0, 0.0, 0.0
    rng = generator("force probes")
    for _ in range(PROBES):
        u, w = (torch.randn(x.shape, generator=rng, dtype=x.dtype).to(x) for _ in range(2))
        (wj, wg), (uj, _) = _products(force, x, v, t, [w, u])
        one, other = (wj * u).flatten(1).sum(1), (uj * w).flatten(1).sum(1)
        squares += float(one.square().sum() + other.square().sum()) / 2
        asymmetry += float((one - other).square().sum())
        trace += float((wg * w).flatten(1).sum(1).mean())
        damping = max(damping, float((wg.flatten(1).norm(dim=1) / w.flatten(1).norm(dim=1)).max()))
    size = curvature(lambda here, labels: force(here, v, t), x).size
    return Derivatives(_ratio(asymmetry, squares), trace / PROBES, size, damping, exact=False)


def _exact(force: FieldOfForce, x: Tensor, v: Tensor, t: Tensor) -> Derivatives:
    count = x[0].numel()
    units = torch.eye(count, dtype=x.dtype, device=x.device).reshape(count, *x.shape[1:])
    rows = _products(force, x, v, t, [unit.expand(x.shape) for unit in units])
    j = torch.stack([row.flatten(1) for row, _ in rows], 1)
    g = torch.stack([row.flatten(1) for _, row in rows], 1)
    return Derivatives(
        curl=_ratio(float((j - j.mT).square().sum()), float(j.square().sum())),
        divergence=float(g.diagonal(dim1=1, dim2=2).sum(1).mean()),
        stiffness=float(torch.linalg.matrix_norm(j, 2).max()),
        damping=float(torch.linalg.matrix_norm(g, 2).max()),
        exact=True,
    )


def _ratio(asymmetry: float, squares: float) -> float:
    return (asymmetry / squares) ** 0.5 / 2 if squares else 0.0


def _products(force: FieldOfForce, x: Tensor, v: Tensor, t: Tensor, lefts: list[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """w^T J and w^T G of each w, (B, *D)."""
    with torch.enable_grad():
        x, v = x.detach().requires_grad_(), v.detach().requires_grad_()
        values = force(x, v, t)
        if not values.requires_grad:
            _refuse_hidden_dependence(force, x.detach(), v.detach(), t)
            return [(torch.zeros_like(x), torch.zeros_like(v)) for _ in lefts]
        found = []
        for left in lefts:
            slopes = torch.autograd.grad(values, (x, v), left, retain_graph=True, allow_unused=True)
            by_x, by_v = (torch.zeros_like(x) if slope is None else slope for slope in slopes)
            found.append((by_x, by_v))
        return found


def _refuse_hidden_dependence(force: FieldOfForce, x: Tensor, v: Tensor, t: Tensor) -> None:
    if not torch.equal(force(x, v, t), force(x + 1e-3, v + 1e-3, t)):
        raise RequestError(
            "the force cannot be differentiated: make it of torch's operations, without detach or no_grad"
        )
