"""Numbers as vectors that a network can use: sines and cosines of many frequencies."""

import math

import torch
from torch import Tensor, nn


class PositionalEmbedding(nn.Module):
    """[cos(f_k c), sin(f_k c)] with frequencies f_k from 1 down to 1e-4 (Vaswani et al. 2017).

    Args:
        channels: length of the embedding, even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, c: Tensor) -> Tensor:
        """(B,) -> (B, channels)."""
        count = self.channels // 2
        exponent = torch.arange(count, dtype=torch.float32, device=c.device) / (count - 1)
        phase = torch.outer(c, (1e-4**exponent).to(c.dtype))
        return torch.cat([phase.cos(), phase.sin()], dim=1)


class CoordinateFeatures(nn.Module):
    """x and the harmonics sin(k pi x_i / 2), cos(k pi x_i / 2), k = 1 ... count, of every coordinate.

    A plain MLP learns sharp edges slowly (Tancik et al. 2020, arXiv 2006.10739); harmonics hand them to it.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def width(self, dim: int) -> int:
        """Features for each x of `dim` coordinates."""
        return dim * (1 + 2 * self.count)

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) -> (B, width(d))."""
        k = torch.arange(1, self.count + 1, dtype=x.dtype, device=x.device)
        phase = (math.pi / 2 * k * x.unsqueeze(-1)).flatten(1)
        return torch.cat([x, phase.sin(), phase.cos()], dim=1)
