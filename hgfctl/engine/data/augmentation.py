"""Augmentation of images, so that small data sets are learned by heart later.

`Geometric` does not leak into samples: the network is told what was done to each image; in sampling, that nothing was.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor
from torch.nn.functional import grid_sample

SHRINK = 2**0.2
"""Scale and anisotropy are powers of this, of normal exponents (Karras et al. 2022, table 6)."""
SHIFT = 1 / 8
"""Standard deviation of the translation, as a share of the side."""
TAPS = 12
"""Coefficients of the filter that doubles and halves the resolution."""


class Augmented(NamedTuple):
    """Images (B, C, H, W), and the numbers (B, labels) that say what was done to them, or None."""

    x: Tensor
    labels: Tensor | None


class Augmentation(Protocol):
    """Changes images at random."""

    labels: int
    """Numbers that the network is told about each image; 0 where it is not told."""

    def draw(self, count: int, rng: Generator) -> Tensor:
        """(count, k), float64, on the CPU: what will be done to each image. rng is a generator on the CPU."""

    def apply(self, x: Tensor, drawn: Tensor) -> Augmented:
        """Does it: x (B, C, H, W) in [-1, 1], drawn (B, k)."""


@dataclass(frozen=True)
class Flip:
    """Augmentation `flip`: left and right exchanged in half of the images; the network is not told."""

    labels = 0

    def draw(self, count: int, rng: Generator) -> Tensor:
        return (torch.rand(count, 1, generator=rng, dtype=torch.float64) < 0.5).double()

    def apply(self, x: Tensor, drawn: Tensor) -> Augmented:
        flipped = drawn[:, 0, None, None, None].to(x.device) > 0
        return Augmented(torch.where(flipped, x.flip(3), x), None)


@dataclass(frozen=True)
class Geometric:
    """Augmentation `geometric`: flips, scaling, rotation, anisotropy, translation (Karras et al. 2022, app. F.2).

    Each but the x-flip, which is drawn always, happens with probability p. The 9 labels are x-flip, y-flip, exponent of
    the scale, cos - 1 and sin of the angle, two of the anisotropy, two of the translation; 0 where nothing happened.

    Args:
        p: probability; 0.12 to 0.15 for 50,000 to 70,000 photographs.
    """

    p: float = 0.12
    labels = 9

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"p is a probability, from 0 to 1, and not {self.p}")

    def draw(self, count: int, rng: Generator) -> Tensor:
        """Labels (count, 9), float64: what will be done to each image."""

        def normal() -> Tensor:
            return torch.randn(count, generator=rng, dtype=torch.float64)

        def uniform() -> Tensor:
            return torch.rand(count, generator=rng, dtype=torch.float64)

        def angle() -> Tensor:
            return math.pi * (2 * uniform() - 1)

        def happens() -> Tensor:
            return uniform() < self.p

        flip_x = uniform() < 0.5
        flip_y = happens() & (uniform() < 0.5)
        scale = happens() * normal()
        turn = happens() * angle()
        axis, stretch = angle(), happens() * normal()
        shifted = happens()
        columns = [flip_x, flip_y, scale, turn.cos() - 1, turn.sin(), stretch * axis.cos(), stretch * axis.sin()]
        return torch.stack([c.double() for c in [*columns, shifted * normal(), shifted * normal()]], 1)

    def apply(self, x: Tensor, drawn: Tensor) -> Augmented:
        flip_x, flip_y = (drawn[:, i, None, None, None].to(x.device) > 0 for i in (0, 1))
        x = torch.where(flip_x, x.flip(3), x)
        x = torch.where(flip_y, x.flip(2), x)
        moved = drawn[:, 2:].any(1).nonzero().squeeze(1)
        if len(moved):
            here = moved.to(x.device)
            inverse = torch.linalg.inv(transform(drawn[moved], *x.shape[2:])).to(x.device, x.dtype)
            x = x.index_copy(0, here, warped(x[here], inverse))
        return Augmented(x, drawn.to(x.device, x.dtype))


def transform(labels: Tensor, height: int, width: int) -> Tensor:
    """The moves that labels (B, 9) name, without the flips: matrices (B, 3, 3).

    They move points (right, down, 1) from the middle of an image, in units of half its larger side.

    Scaling first, then rotation, anisotropy, translation.
    """
    _, _, scale, cos, sin, along, across, right, down = labels.unbind(1)
    size = SHRINK**scale
    turn = _matrix(cos + 1, -sin, sin, cos + 1)
    stretch, axis = torch.hypot(along, across), torch.atan2(across, along)
    basis = _matrix(axis.cos(), -axis.sin(), axis.sin(), axis.cos())
    widen = _matrix(SHRINK**stretch, 0 * stretch, 0 * stretch, SHRINK**-stretch)
    linear = basis @ widen @ basis.mT @ turn * size[:, None, None]
    result = torch.eye(3, dtype=labels.dtype).repeat(len(labels), 1, 1)
    result[:, :2, :2] = linear
    side = max(height, width)
    result[:, :2, 2] = 2 * SHIFT * torch.stack([right * width / side, down * height / side], 1)
    return result


def warped(x: Tensor, inverse: Tensor) -> Tensor:
    """Images resampled: the point q of the result is the point `inverse` q of x, mirrored at the borders.

    Points are those of `transform`.

    Looked up bilinearly at twice the resolution, between two filters that double and halve it, so that neither the
    look-up blurs nor a smaller picture aliases.

    Args:
        x: (B, C, H, W).
        inverse: (B, 3, 3).
    """
    height, width = x.shape[2:]
    wide = doubling(height).to(x) @ x @ doubling(width).to(x).mT
    y, u = (_centres(2 * side, x) for side in (height, width))
    points = torch.stack([*torch.meshgrid(u, y, indexing="xy"), torch.ones(2 * height, 2 * width).to(x)], -1)
    side = max(height, width)
    to_pixels = x.new_tensor([width / side, height / side, 1.0])
    source = ((points * to_pixels) @ inverse.mT[:, None] / to_pixels)[..., :2]
    looked_up = grid_sample(wide, source, mode="bilinear", padding_mode="reflection", align_corners=False)
    return halving(height).to(x) @ looked_up @ halving(width).to(x).mT


def low_pass() -> Tensor:
    """Half-band filter (TAPS,) of even length, sum 1: a sinc in a Kaiser window."""
    n = torch.arange(TAPS, dtype=torch.float64) - (TAPS - 1) / 2
    taps = torch.sinc(n / 2) * torch.kaiser_window(TAPS, periodic=False, beta=5.0, dtype=torch.float64)
    return taps / taps.sum()


def doubling(side: int) -> Tensor:
    """The matrix (2 side, side) that doubles a row of pixels; new ones lie a quarter of a pixel left and right of the
    old ones, and the row is mirrored at its ends.
    """
    return 2 * halving(side).mT


def halving(side: int) -> Tensor:
    """The matrix (side, 2 side) that halves a row of pixels; undoes `doubling`, but for the finest detail."""
    at = 2 * torch.arange(side)[:, None] + torch.arange(TAPS) - (TAPS // 2 - 1)
    mirrored = at % (4 * side)
    mirrored = torch.minimum(mirrored, 4 * side - 1 - mirrored)
    return torch.zeros(side, 2 * side, dtype=torch.float64).scatter_add_(1, mirrored, low_pass().expand(side, -1))


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)


def _centres(count: int, like: Tensor) -> Tensor:
    return ((2 * torch.arange(count, device=like.device) + 1) / count - 1).to(like.dtype)
