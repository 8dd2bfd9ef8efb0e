"""Classical score matching: what Hamiltonian score matching is measured against.

All but ESM estimate one functional of the field F without knowing the score s = grad log pi (Hyvärinen 2005),

    J(F) = E |F|^2 + 2 E div F = E |F - s|^2 - E |s|^2,

so their values can be compared with each other; constants that do not depend on F are left out.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Generator, Tensor

from hgfctl.engine.data.density import ExactDensity
from hgfctl.engine.losses.loss import Loss
from hgfctl.engine.losses.score_loss import dot, noise_like
from hgfctl.engine.models.score import Field, Score
from hgfctl.engine.provided import DENSITY


@dataclass(frozen=True)
class DSM(Loss):
    """Denoising score matching (Vincent 2011): E |F(x + sigma z) + z / sigma|^2 - d / sigma^2, the J of noised data.

    Its gradient's variance grows as 1/sigma^2. With antithetic pairs +-z the 1/sigma cancels, and it does not.

    Args:
        sigma: of the noise; what is learned is the score of pi * N(0, sigma^2 I).
        antithetic: look at x + sigma z and x - sigma z, at twice the cost.
    """

    trains: ClassVar = (Score,)
    sigma: float = 0.05
    antithetic: bool = False

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"sigma must be positive, not {self.sigma}")

    def __call__(self, field: Field, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        z = noise_like(x0, rng)
        loss = self._one_side(field, x0, labels, z)
        return 0.5 * (loss + self._one_side(field, x0, labels, -z)) if self.antithetic else loss

    def _one_side(self, field: Field, x0: Tensor, labels: Tensor | None, z: Tensor) -> Tensor:
        guess = field(x0 + self.sigma * z, labels)
        return dot(guess, guess) + 2 / self.sigma * dot(guess, z)


def dsm_antithetic(sigma: float = 0.03) -> DSM:
    """DSM with antithetic pairs; without the 1/sigma in its noise a smaller sigma serves.

    Args:
        sigma: see `DSM`.
    """
    return DSM(sigma, antithetic=True)


@dataclass(frozen=True)
class SSM(Loss):
    """Sliced score matching (Song et al. 2019, arXiv 1905.07088): the divergence by one Gaussian probe v an item.

    E (v . F)^2 + 2 E v^T grad(v . F).
    """

    trains: ClassVar = (Score,)

    def __call__(self, field: Field, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        _, along, curvature = _sliced(field, x0, labels, rng)
        return along**2 + 2 * curvature


@dataclass(frozen=True)
class SSMVR(Loss):
    """SSM with the variance of its first term removed: E |F|^2 + 2 E v^T grad(v . F)."""

    trains: ClassVar = (Score,)

    def __call__(self, field: Field, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        guess, _, curvature = _sliced(field, x0, labels, rng)
        return dot(guess, guess) + 2 * curvature


def _sliced(field: Field, x0: Tensor, labels: Tensor | None, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """F, v . F and v^T grad(v . F) for a probe v."""
    v = noise_like(x0, rng)
    x = x0.detach().requires_grad_()
    guess = field(x, labels)
    along = dot(guess, v)
    (slope,) = torch.autograd.grad(along.sum(), x, create_graph=True)
    return guess, along, dot(slope, v)


@dataclass(frozen=True)
class ISM(Loss):
    """Implicit score matching (Hyvärinen 2005): E |F|^2 + 2 E div F, the trace by a backward pass a coordinate."""

    trains: ClassVar = (Score,)

    def __call__(self, field: Field, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        x = x0.detach().requires_grad_()
        guess = field(x, labels)
        divergence = guess.new_zeros(len(guess))
        for i in range(guess[0].numel()):
            (slope,) = torch.autograd.grad(guess.flatten(1)[:, i].sum(), x, create_graph=True)
            divergence = divergence + slope.flatten(1)[:, i]
        return dot(guess, guess) + 2 * divergence


@dataclass(frozen=True)
class ESM(Loss):
    """Explicit score matching, E |F - s|^2: the oracle, where the score is known.

    Args:
        density: with the exact score.
    """

    trains: ClassVar = (Score,)
    density: Annotated[ExactDensity, DENSITY]

    def __call__(self, field: Field, x0: Tensor, labels: Tensor | None, rng: Generator) -> Tensor:
        miss = field(x0, labels) - self.density.score(x0.double()).to(x0)
        return dot(miss, miss)
