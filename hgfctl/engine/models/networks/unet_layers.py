"""Parts of U-Nets: convolutions that resample, residual blocks, self-attention, groups for normalisation.

Parameters and buffers carry the names that EDM's published state dicts use.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate, scaled_dot_product_attention, silu

Resample = Literal["", "up", "down"]

BOX = (1, 1)
"""Resampling filter of DDPM++: the mean of 2 x 2 pixels, or each pixel four times."""
BINOMIAL = (1, 3, 3, 1)
"""That of NCSN++ (Zhang 2019, arXiv 1904.11486)."""


class Conv2d(nn.Conv2d):
    """A convolution, zero-padded to keep the size, before or after which the image is resampled by 2.

    Args:
        in_channels, out_channels: of the images in and out.
        kernel: side of the kernel, odd.
        resample: "up" and "down" filter first and convolve then.
        taps: the resampling filter, in one direction; BOX or BINOMIAL.
        merged: with "down": convolve first, over a border that the filter needs, and filter then.
        gain: of the initial weights (Glorot uniform); the bias starts at 0.
    """

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        resample: Resample = "",
        taps: tuple[int, ...] = BOX,
        merged: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2)
        self.resample, self.merged, self._box = resample, merged, taps == BOX
        if resample:
            row = torch.tensor(taps, dtype=torch.float32)
            self.register_buffer("resample_filter", (row.outer(row) / row.sum() ** 2)[None, None])
        initialise(self, gain)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H', W')."""
        if not self.resample:
            return super().forward(x)
        if self.resample == "down":
            if self.merged:
                border = (self.resample_filter.shape[-1] - 1) // 2
                wide = conv2d(x, self.weight, self.bias, padding=self.kernel_size[0] // 2 + border)
                return self._filtered(wide, padding=0)
            return super().forward(self.resampled(x))
        if self.kernel_size == (1, 1):  # a quarter of the work, and the same: filter and 1 x 1 convolution commute
            assert self.bias is not None
            return self.resampled(conv2d(x, self.weight)) + self.bias[:, None, None].to(x.dtype)
        if self._box:
            return conv_transpose2d(x, sub_pixel_kernel(self.weight), self.bias, stride=2, padding=1)
        return super().forward(self.resampled(x))

    def resampled(self, x: Tensor) -> Tensor:
        """The image filtered to half or twice its size."""
        if self._box:
            return avg_pool2d(x, 2) if self.resample == "down" else interpolate(x, scale_factor=2.0, mode="nearest")
        border = (self.resample_filter.shape[-1] - 1) // 2
        if self.resample == "down":
            return self._filtered(x, padding=border)
        kernel = (4 * self.resample_filter).to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return conv_transpose2d(x, kernel, groups=x.shape[1], stride=2, padding=border)

    def _filtered(self, x: Tensor, padding: int) -> Tensor:
        kernel = self.resample_filter.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return conv2d(x, kernel, groups=x.shape[1], stride=2, padding=padding)


def sub_pixel_kernel(weight: Tensor) -> Tensor:
    """The kernel with which one transposed convolution (stride 2, padding 1) does what repeating each pixel 2 x 2 and
    convolving by `weight` does, with 16 products in place of 36 (Shi et al. 2016, arXiv 1609.05158).

    Args:
        weight: (O, I, 3, 3).

    Returns:
        (I, O, 4, 4); along each axis [w2, w1 + w2, w0 + w1, w0].
    """
    for axis in (2, 3):
        w0, w1, w2 = weight.unbind(axis)
        weight = torch.stack([w2, w1 + w2, w0 + w1, w0], axis)
    return weight.transpose(0, 1)


class UNetBlock(nn.Module):
    """Residual block: normalise, convolve, add the conditioning, convolve, add the input; then attention, if any.

    Both sums are scaled by sqrt(1/2), which keeps the variance.

    Args:
        in_channels, out_channels: of the images in and out.
        emb_channels: of the conditioning vector.
        attention: self-attention with one head after the convolutions.
        resample: "down" or "up" by 2 before the first convolution; "" for neither.
        taps: the resampling filter.
        dropout: probability.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        attention: bool = False,
        resample: Resample = "",
        taps: tuple[int, ...] = BOX,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.norm0 = group_norm(in_channels)
        self.conv0 = Conv2d(in_channels, out_channels, 3, resample, taps)
        self.affine = linear(emb_channels, out_channels)
        self.norm1 = group_norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = Conv2d(out_channels, out_channels, 3, gain=1e-5)
        changes = bool(resample) or in_channels != out_channels
        self.skip = Conv2d(in_channels, out_channels, 1, resample, taps) if changes else None
        self.norm2 = group_norm(out_channels) if attention else None
        self.qkv = Conv2d(out_channels, 3 * out_channels, 1, gain=math.sqrt(0.2)) if attention else None
        self.proj = Conv2d(out_channels, out_channels, 1, gain=1e-5) if attention else None

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x (B, in_channels, H, W), emb (B, emb_channels) -> (B, out_channels, H', W')."""
        # In place where no backward pass needs what was there: these passes over memory cost as much as a convolution.
        h: Tensor = self.conv0(silu(self.norm0(x))).add_(self.affine(emb)[..., None, None])
        h = self.conv1(self.dropout(silu(self.norm1(h))))
        h = h.add_(x if self.skip is None else self.skip(x)).mul_(math.sqrt(0.5))
        if self.qkv is not None and self.norm2 is not None and self.proj is not None:
            h = self.proj(attention(self.qkv(self.norm2(h)))).add_(h).mul_(math.sqrt(0.5))
        return h


def attention(qkv: Tensor, heads: int = 1) -> Tensor:
    """Over all pixels. Channels of qkv (B, 3C, H, W) go through the heads, and hold q, k and v interleaved in each, as
    EDM's weights do.
    """
    batch, channels, height, width = qkv.shape
    q, k, v = qkv.reshape(batch, heads, channels // (3 * heads), 3, height * width).permute(3, 0, 1, 4, 2)
    attended = scaled_dot_product_attention(q, k, v)
    return attended.transpose(2, 3).reshape(batch, channels // 3, height, width)


def group_norm(channels: int) -> nn.GroupNorm:
    """At most 32 groups of at least 4 channels, as many as divide them."""
    groups = next(n for n in range(min(32, channels // 4), 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels, eps=1e-6)


def linear(c_in: int, c_out: int, bias: bool = True) -> nn.Linear:
    """A linear layer with Glorot's uniform weights and no bias at the start."""
    layer = nn.Linear(c_in, c_out, bias)
    initialise(layer)
    return layer


def initialise(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> None:
    """Glorot's uniform weights times the gain; the bias 0."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
