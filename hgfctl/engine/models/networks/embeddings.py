"""Numbers as vectors that a network can use: sines and cosines of many frequencies."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot


class PositionalEmbedding(nn.Module):
    """[cos(f_k c), sin(f_k c)] with frequencies f_k from 1 down to 1e-4 (Vaswani et al. 2017).

    Args:
        channels: length of the embedding, even.
        endpoint: whether 1e-4 itself is one of the frequencies.
    """

    def __init__(self, channels: int, endpoint: bool = True) -> None:
        super().__init__()
        self.channels, self.endpoint = channels, endpoint

    def forward(self, c: Tensor) -> Tensor:
        """(B,) -> (B, channels)."""
        count = self.channels // 2
        exponent = torch.arange(count, dtype=torch.float32, device=c.device) / (count - self.endpoint)
        phase = torch.outer(c, (1e-4**exponent).to(c.dtype))
        return torch.cat([phase.cos(), phase.sin()], dim=1)


class FourierEmbedding(nn.Module):
    """[cos(2 pi f_k c), sin(2 pi f_k c)] with f_k ~ N(0, scale^2), drawn once (Tancik et al. 2020, arXiv 2006.10739).

    Args:
        channels: length of the embedding, even.
        scale: standard deviation of the frequencies.
    """

    freqs: Tensor

    def __init__(self, channels: int, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("freqs", scale * torch.randn(channels // 2))

    def forward(self, c: Tensor) -> Tensor:
        """(B,) -> (B, channels)."""
        exact = torch.float64 if c.device.type != "mps" else torch.float32  # phases are hundreds of radians
        phase = torch.outer(c.to(exact), 2 * math.pi * self.freqs.to(exact))
        return torch.cat([phase.cos(), phase.sin()], dim=1).to(c.dtype)


def class_vectors(labels: Tensor | None, classes: int, like: Tensor, hidden: float = 0.0) -> Tensor:
    """Classes (B,) as vectors (B, classes) of mean square 1; all zeros stands for an unknown class.

    Args:
        labels: int64, 0 ... classes - 1; None for unknown ones, which makes (1, classes).
        classes: how many there are.
        like: a tensor of the type and on the device that the result is to have.
        hidden: probability with which a class is made unknown.
    """
    if labels is None:
        return like.new_zeros(1, classes)
    return shown(one_hot(labels, classes).to(like.dtype) * math.sqrt(classes), hidden)


def shown(known: Tensor, hidden: float) -> Tensor:
    """Rows (B, ...) of what is known, each made all zeros, which stands for unknown, with probability `hidden`."""
    return known * (torch.rand(len(known), 1, device=known.device) >= hidden) if hidden else known


class CoordinateFeatures(nn.Module):
    """x and the harmonics sin(k pi x_i / 2), cos(k pi x_i / 2), k = 1 ... count, of every coordinate.

    A plain MLP learns sharp edges slowly (Tancik et al. 2020, arXiv 2006.10739); harmonics hand them to it.

    Args:
        count: of harmonics.
        periodic: leave x itself out, so that whatever is made of the features has period 4 in every coordinate.
    """

    def __init__(self, count: int, periodic: bool = False) -> None:
        super().__init__()
        self.count, self.periodic = count, periodic

    def width(self, dim: int) -> int:
        """Features for each x of `dim` coordinates."""
        return dim * (2 * self.count + (not self.periodic))

    def forward(self, x: Tensor) -> Tensor:
        """(B, d) -> (B, width(d))."""
        k = torch.arange(1, self.count + 1, dtype=x.dtype, device=x.device)
        phase = (math.pi / 2 * k * x.unsqueeze(-1)).flatten(1)
        return torch.cat([*([] if self.periodic else [x]), phase.sin(), phase.cos()], dim=1)
