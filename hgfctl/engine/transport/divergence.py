"""A velocity together with its divergence, by vector-Jacobian products e^T dV/dx (one backward pass each).

    div V = sum_i e_i^T (dV/dx) e_i                     exactly, over the unit vectors: d backward passes
    div V = E[e^T (dV/dx) e],   e_i = +1 or -1          by Hutchinson's probes (1989): unbiased, a backward pass a probe

First derivatives only, so any kernel for attention will do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from hgfctl.engine.randomness import generator

Differentiable = Callable[[Tensor], Tensor]
"""V at one time: (B, *D) -> (B, *D), by operations that autograd follows."""


class Diverging(NamedTuple):
    """V (B, *D), and estimates of its divergence (B, K)."""

    velocity: Tensor
    divergence: Tensor


class Trace(Protocol):
    """How a divergence is found."""

    @property
    def columns(self) -> int:
        """K, the number of estimates that are kept apart."""

    @property
    def passes(self) -> int:
        """Backward passes an evaluation."""

    def __call__(self, velocity: Differentiable, x: Tensor, items: Tensor) -> Diverging:
        """V and its divergence at x (B, *D); `items` (B,) are the numbers of these items in their batch."""


@dataclass(frozen=True)
class ExactTrace:
    """The sum over all d unit vectors.

    Args:
        dim: d.
    """

    dim: int
    columns = 1

    @property
    def passes(self) -> int:
        return self.dim

    def __call__(self, velocity: Differentiable, x: Tensor, items: Tensor) -> Diverging:
        units = torch.eye(self.dim, dtype=x.dtype, device=x.device).reshape(self.dim, 1, *x.shape[1:])
        v, parts = _quadratic_forms(velocity, x, (unit.expand_as(x) for unit in units), self.dim)
        return Diverging(v, parts.sum(1, keepdim=True))


@dataclass(frozen=True)
class Hutchinson:
    """An estimate a probe.

    Args:
        probes: (items, K, *D) of +1 and -1; they stay the same on the whole way of an item (Grathwohl et al. 2019).
    """

    probes: Tensor

    @property
    def columns(self) -> int:
        return self.probes.shape[1]

    @property
    def passes(self) -> int:
        return self.columns

    def __call__(self, velocity: Differentiable, x: Tensor, items: Tensor) -> Diverging:
        return Diverging(*_quadratic_forms(velocity, x, self.probes[items].to(x).unbind(1), self.columns))


def rademacher(seeds: Tensor, count: int, shape: tuple[int, ...]) -> Tensor:
    """`count` probes for each item, by its own seed: (B, count, *shape), int8, +1 or -1 with equal probability."""
    drawn = [torch.randint(2, (count, *shape), generator=generator(seed, "probes")) for seed in seeds.tolist()]
    return (2 * torch.stack(drawn) - 1).to(torch.int8)


def _quadratic_forms(
    velocity: Differentiable, x: Tensor, probes: Iterator[Tensor] | tuple[Tensor, ...], count: int
) -> tuple[Tensor, Tensor]:
    """V (B, *D), and e^T (dV/dx) e for each probe e: (B, count)."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        v = velocity(x)
        forms = []
        for i, probe in enumerate(probes):
            (pulled,) = torch.autograd.grad(v, x, probe, retain_graph=i < count - 1)
            forms.append((pulled * probe).flatten(1).sum(1))
    return v.detach(), torch.stack(forms, 1)
