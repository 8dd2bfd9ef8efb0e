"""Harmonic oscillators, with a frequency for each coordinate or each spatial frequency of images."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.basis import COORDINATES, Cosines
from hgfctl.engine.flows.forces.conservative import ConservativeForce, total
from hgfctl.engine.flows.forces.linear_force import LinearForce, column
from hgfctl.engine.flows.motion import Modes, Motion
from hgfctl.engine.provided import ItemShape


@dataclass(frozen=True)
class Harmonic(LinearForce, ConservativeForce):
    """F_k = -alpha_k^2 x_k: x_k(t) = cos(alpha_k t) x_k(0) + sin(alpha_k t) / alpha_k v_k(0).

    Args:
        shape: of an item.
        alpha: angular frequency, radians a unit of time; a list of one for each coordinate of flattened items. 0 is no
            force.
        finest: frequency of the finest cosine mode of images or vectors (`basis.Cosines`); alpha is then that of the
            constant mode, and those between go by their spatial frequency. A bank of oscillators on the coordinates
            themselves when left out.
    """

    shape: ItemShape
    alpha: float | list[float] = 1.0
    finest: float | None = None

    def __post_init__(self) -> None:
        alphas = self.alpha if isinstance(self.alpha, list) else [self.alpha]
        for alpha in [*alphas, *([] if self.finest is None else [self.finest])]:
            if not 0 <= alpha < math.inf:
                raise ValueError(f"alpha and finest are angular frequencies, finite and not negative, not {alpha}")
        if isinstance(self.alpha, list):
            if self.finest is not None:
                raise ValueError("finest goes with one alpha, that of the constant mode, not with a list")
            if len(alphas) != math.prod(self.shape):
                raise ValueError(f"{len(alphas)} frequencies for items of {math.prod(self.shape)} coordinates")

    @property
    def algebra(self) -> Modes:
        return Modes(COORDINATES if self.finest is None else Cosines())

    @property
    def natural_duration(self) -> float:
        """A quarter period of the fastest."""
        fastest = float(self.frequencies.max())
        return math.pi / (2 * fastest) if fastest else 1.0

    @property
    def frequencies(self) -> Tensor:
        """alpha_k, of the shape of an item, float64."""
        if self.finest is not None:
            return self.alpha + (self.finest - self.alpha) * Cosines.frequencies(self.shape)  # type: ignore[operator]
        return torch.as_tensor(self.alpha, dtype=torch.float64).expand(math.prod(self.shape)).reshape(self.shape)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return -self.algebra.act(self.frequencies.square().to(x.device).unsqueeze(0), x)

    def potential(self, x: Tensor) -> Tensor:
        return total((self.frequencies.to(x) * self.algebra.basis.modes(x)).square() / 2)

    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        alpha, t = self.frequencies.to(t.device).unsqueeze(0), column(t, len(self.shape))
        cos, sin = torch.cos(alpha * t), t * torch.sinc(alpha * t / math.pi)
        return Motion(cos, sin, -alpha.square() * sin, cos)
