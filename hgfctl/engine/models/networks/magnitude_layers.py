"""Layers that keep the magnitude of what goes through them (Karras et al. 2024, arXiv 2312.02696, "EDM2").

Every sum, concatenation, nonlinearity and product is scaled so that inputs of unit variance give outputs of unit
variance, whatever the weights are: only their directions count. Parameters and buffers carry the names of EDM2's state
dicts.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, dropout, interpolate, linear, scaled_dot_product_attention, silu

from hgfctl.engine.models.networks.unet_layers import Resample

EPS = 1e-4
LARGEST = 256.0
"""Activations are clipped here after every block."""


def to_unit(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """x / (EPS + its root mean square over the axes)."""
    return x / (EPS + x.square().mean(axes, keepdim=True).sqrt())


def blend(a: Tensor, b: Tensor, t: float) -> Tensor:
    """(1 - t) a + t b at the magnitude of independent a and b."""
    return a.lerp(b, t) / math.hypot(1 - t, t)


def join(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Channels of a and of b, which contribute as 1 - t to t however many they are."""
    total = math.sqrt(a.shape[1] + b.shape[1]) / math.hypot(1 - t, t)
    return torch.cat([a * (total * (1 - t) / math.sqrt(a.shape[1])), b * (total * t / math.sqrt(b.shape[1]))], dim=1)


def unit_silu(x: Tensor) -> Tensor:
    """silu(x), of second moment 1 for standard normal x."""
    return silu(x) / 0.596


class UnitFourier(nn.Module):
    """sqrt(2) cos(f_k c + p_k), with f_k / (2 pi) ~ N(0, 1) and p_k uniform on the circle, both drawn once.

    Args:
        channels: how many.
    """

    freqs: Tensor
    phases: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(channels))
        self.register_buffer("phases", 2 * math.pi * torch.rand(channels))

    def forward(self, c: Tensor) -> Tensor:
        """(B,) -> (B, channels)."""
        return math.sqrt(2) * (c.outer(self.freqs.to(c.dtype)) + self.phases.to(c.dtype)).cos()


class UnitWeights(nn.Module):
    """A linear layer or convolution without bias, whose rows of weights are used at norm 1.

    In training the parameter itself is brought back to unit root mean square before it is used, so that its norm
    cannot grow and slow learning down.

    Args:
        in_channels, out_channels: of what goes in and comes out.
        kernel: side of a convolution's kernel, odd; 0 for a linear layer.
    """

    normalised = False
    """True where the network calls `normalise` itself, since a backward pass calls the layer again."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, *((kernel, kernel) if kernel else ())))

    def forward(self, x: Tensor, gain: float | Tensor = 1.0) -> Tensor:
        """(B, in_channels[, H, W]) -> (B, out_channels[, H, W])."""
        if self.training and not self.normalised:
            self.normalise()
        weight = to_unit(self.weight, tuple(range(1, self.weight.ndim))) * (gain / math.sqrt(self.weight[0].numel()))
        if self.weight.ndim == 2:
            return linear(x, weight.to(x.dtype))
        return conv2d(x, weight.to(x.dtype), padding=self.weight.shape[-1] // 2)

    @torch.no_grad()
    def normalise(self) -> None:
        """Brings the rows of the parameter back to unit root mean square."""
        self.weight.copy_(to_unit(self.weight, tuple(range(1, self.weight.ndim))))


class UnitBlock(nn.Module):
    """Residual block, then attention over normalised queries, keys and values, if any, then a clip.

    Args:
        in_channels, out_channels: of the images in and out.
        emb_channels: of the conditioning vector, which scales channels.
        decoding: whether it is one of the decoder, which does not normalise the pixels of its input.
        heads: of self-attention; 0 for none.
        resample: "down" or "up" by 2 first; "" for neither.
        dropout: probability.
        res_balance, attn_balance: shares of the residual and of the attention in what comes out.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        decoding: bool,
        heads: int,
        resample: Resample,
        dropout: float,
        res_balance: float,
        attn_balance: float,
    ) -> None:
        super().__init__()
        self.decoding, self.heads, self.resample, self.dropout = decoding, heads, resample, dropout
        self.res_balance, self.attn_balance = res_balance, attn_balance
        self.emb_gain = nn.Parameter(torch.zeros(()))
        self.conv_res0 = UnitWeights(in_channels if decoding else out_channels, out_channels, 3)
        self.emb_linear = UnitWeights(emb_channels, out_channels)
        self.conv_res1 = UnitWeights(out_channels, out_channels, 3)
        self.conv_skip = UnitWeights(in_channels, out_channels, 1) if in_channels != out_channels else None
        self.attn_qkv = UnitWeights(out_channels, 3 * out_channels, 1) if heads else None
        self.attn_proj = UnitWeights(out_channels, out_channels, 1) if heads else None

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x (B, in_channels, H, W), emb (B, emb_channels) -> (B, out_channels, H', W')."""
        if self.resample:
            x = avg_pool2d(x, 2) if self.resample == "down" else interpolate(x, scale_factor=2.0, mode="nearest")
        if not self.decoding:
            x = to_unit(x if self.conv_skip is None else self.conv_skip(x), (1,))
        h = self.conv_res0(unit_silu(x))
        h = unit_silu(h * (1 + self.emb_linear(emb, self.emb_gain))[..., None, None].to(h.dtype))
        h = self.conv_res1(dropout(h, self.dropout, self.training))
        if self.decoding and self.conv_skip is not None:
            x = self.conv_skip(x)
        x = blend(x, h, self.res_balance)
        if self.attn_qkv is not None and self.attn_proj is not None:
            x = blend(x, self.attn_proj(self._attended(self.attn_qkv(x))), self.attn_balance)
        return x.clamp(-LARGEST, LARGEST)

    def _attended(self, qkv: Tensor) -> Tensor:
        batch, channels, height, width = qkv.shape
        parts = qkv.reshape(batch, self.heads, channels // (3 * self.heads), 3, height * width)
        q, k, v = to_unit(parts, (2,)).permute(3, 0, 1, 4, 2)
        return scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(batch, channels // 3, height, width)
