"""Features: a fixed map from images to vectors, in whose space sets of images are compared."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FeaturesId:
    """Which features numbers are made of; figures from two different ones cannot be compared.

    Args:
        name: of the registry.
        variant: what else decides their values: how images are resized, which weights.
    """

    name: str
    variant: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.variant}".strip()

    @property
    def figure(self) -> str:
        """Name of a Frechet distance of these features: FID for the published Inception alone."""
        return "FID" if self.name == "inception" and self.variant in RESIZINGS else f"FID({self})"


RESIZINGS = ("legacy-tensorflow", "clean")
"""How images come to Inception's 299 x 299: bilinear without anti-aliasing as in TensorFlow 1, which EDM's figures are
made with; or PIL's bicubic (Parmar et al. 2022, arXiv 2104.11222)."""


class Features(ABC):
    """A feature extractor on one device."""

    id: FeaturesId

    def dim(self, shape: tuple[int, ...]) -> int:
        """How many features an image of this shape (C, H, W) has."""
        return self(torch.zeros(1, *shape, dtype=torch.uint8)).shape[1]

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, d), float32, of images (B, C, H, W), uint8, C 1 or 3, on any device."""


def to_rgb(images: Tensor) -> Tensor:
    """(B, 1 or 3, H, W) -> (B, 3, H, W)."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def resized(images: Tensor, side: int) -> Tensor:
    """(B, C, H, W), float, to (B, C, side, side): bicubic with anti-aliasing, as PIL's, clamped to [0, 255]."""
    if images.shape[-2:] == (side, side):
        return images
    return torch.nn.functional.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(0, 255)
