"""The DDPM++ U-Net (Song et al. 2021, arXiv 2011.13456, as trained by Karras et al. 2022), for images of any size.

Parts carry the names of EDM's state dict (`enc.32x32_conv`, `enc.32x32_block0`, `dec.8x8_in0`, ..., `map_layer0`), so
published weights will fit. It runs in channels-last memory order, which CPU and GPU convolutions prefer.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, one_hot, scaled_dot_product_attention, silu

from hgfctl.engine.models.embeddings import PositionalEmbedding


class UNet(nn.Module):
    """Encoder and decoder of residual blocks with skip connections, conditioned on noise level and class.

    Args:
        shape: (C, H, W); H = W, divisible by 2 once for every level but the first.
        classes: number of classes; 0 for none.
        model_channels: channels after the first convolution, and the unit of channel_mult.
        channel_mult: channels of each level, as multiples of model_channels; one level a factor of 2 in resolution.
        channel_mult_emb: width of the conditioning vector, as a multiple of model_channels.
        num_blocks: residual blocks a level.
        attn_resolutions: resolutions with self-attention.
        dropout: probability of dropping an activation.
        label_dropout: probability of hiding the class in training, for guidance.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        model_channels: int = 64,
        channel_mult: tuple[int, ...] = (1, 2),
        channel_mult_emb: int = 4,
        num_blocks: int = 2,
        attn_resolutions: tuple[int, ...] = (),
        dropout: float = 0.0,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels, resolution = _image_shape(shape, len(channel_mult))
        if model_channels % 4:
            raise ValueError(f"model_channels must be divisible by 4, and {model_channels} is not")
        self.classes, self.label_dropout = classes, label_dropout
        emb = model_channels * channel_mult_emb

        self.map_noise = PositionalEmbedding(model_channels)
        self.map_label = _linear(classes, model_channels) if classes else None
        self.map_layer0 = _linear(model_channels, emb)
        self.map_layer1 = _linear(emb, emb)

        def block(c_in: int, c_out: int, attention: bool = False, resample: str = "") -> "UNetBlock":
            return UNetBlock(c_in, c_out, emb, attention=attention, resample=resample, dropout=dropout)

        levels = [(resolution >> i, model_channels * mult) for i, mult in enumerate(channel_mult)]
        self.enc = nn.ModuleDict()
        skips, width = [], channels
        for level, (size, out) in enumerate(levels):
            if level == 0:
                self.enc[f"{size}x{size}_conv"] = _conv(width, model_channels, 3)
                width = model_channels
            else:
                self.enc[f"{size}x{size}_down"] = block(width, width, resample="down")
            skips.append(width)
            for i in range(num_blocks):
                self.enc[f"{size}x{size}_block{i}"] = block(width, out, attention=size in attn_resolutions)
                width = out
                skips.append(width)

        self.dec = nn.ModuleDict()
        for level, (size, out) in reversed(list(enumerate(levels))):
            if level == len(levels) - 1:
                self.dec[f"{size}x{size}_in0"] = block(width, width, attention=True)
                self.dec[f"{size}x{size}_in1"] = block(width, width)
            else:
                self.dec[f"{size}x{size}_up"] = block(width, width, resample="up")
            for i in range(num_blocks + 1):
                attention = i == num_blocks and size in attn_resolutions
                self.dec[f"{size}x{size}_block{i}"] = block(width + skips.pop(), out, attention=attention)
                width = out
        self.dec[f"{resolution}x{resolution}_aux_norm"] = _norm(width)
        self.dec[f"{resolution}x{resolution}_aux_conv"] = _conv(width, channels, 3, gain=1e-5)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), noise (B,), labels (B,) int64 or None (class unknown) -> (B, C, H, W)."""
        emb = self._embed(noise, labels)
        x = x.contiguous(memory_format=torch.channels_last)
        skips = []
        for part in self.enc.values():
            x = part(x, emb) if isinstance(part, UNetBlock) else part(x)
            skips.append(x)
        for part in self.dec.values():
            if isinstance(part, UNetBlock):
                if part.in_channels != x.shape[1]:
                    x = torch.cat([x, skips.pop()], dim=1)
                x = part(x, emb)
            else:
                x = part(silu(x)) if isinstance(part, nn.Conv2d) else part(x)
        return x

    def _embed(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        cos, sin = self.map_noise(noise).chunk(2, dim=1)
        emb = torch.cat([sin, cos], dim=1)
        if self.map_label is not None and labels is not None:
            known = one_hot(labels, self.classes).to(emb.dtype)
            if self.training and self.label_dropout:
                known = known * (torch.rand(len(known), 1, device=known.device) >= self.label_dropout)
            emb = emb + self.map_label(known * math.sqrt(self.classes))
        return silu(self.map_layer1(silu(self.map_layer0(emb))))


class UNetBlock(nn.Module):
    """Residual block: normalise, convolve, add the conditioning, convolve, add the input; then attention, if any.

    Both sums are scaled by sqrt(1/2), which keeps the variance.

    Args:
        in_channels, out_channels: of the images in and out.
        emb_channels: of the conditioning vector.
        attention: self-attention with one head after the convolutions.
        resample: "down" or "up" by 2 before the first convolution; "" for neither.
        dropout: probability.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        attention: bool = False,
        resample: str = "",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.resample = in_channels, resample
        self.norm0 = _norm(in_channels)
        self.conv0 = _conv(in_channels, out_channels, 3)
        self.affine = _linear(emb_channels, out_channels)
        self.norm1 = _norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = _conv(out_channels, out_channels, 3, gain=1e-5)
        self.skip = _conv(in_channels, out_channels, 1) if resample or in_channels != out_channels else None
        self.norm2 = _norm(out_channels) if attention else None
        self.qkv = _conv(out_channels, 3 * out_channels, 1, gain=math.sqrt(0.2)) if attention else None
        self.proj = _conv(out_channels, out_channels, 1, gain=1e-5) if attention else None

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x (B, in_channels, H, W), emb (B, emb_channels) -> (B, out_channels, H', W')."""
        h = self.conv0(self._resampled(silu(self.norm0(x))))
        h = h + self.affine(emb)[..., None, None]
        h = self.conv1(self.dropout(silu(self.norm1(h))))
        x = self._resampled(x)
        h = (h + (x if self.skip is None else self.skip(x))) * math.sqrt(0.5)
        if self.qkv is not None and self.norm2 is not None and self.proj is not None:
            h = (h + self.proj(_attention(self.qkv(self.norm2(h))))) * math.sqrt(0.5)
        return h

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample == "down":
            return avg_pool2d(x, 2)
        if self.resample == "up":
            return interpolate(x, scale_factor=2.0, mode="nearest")
        return x


def _attention(qkv: Tensor) -> Tensor:
    """One head over all pixels. Channels of qkv (B, 3C, H, W) hold q, k and v interleaved, as EDM's weights do."""
    batch, channels, height, width = qkv.shape
    q, k, v = qkv.reshape(batch, channels // 3, 3, height * width).permute(2, 0, 3, 1)
    attended = scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)).squeeze(1)
    return attended.transpose(1, 2).reshape(batch, channels // 3, height, width)


def _norm(channels: int) -> nn.GroupNorm:
    """At most 32 groups of at least 4 channels, as many as divide them."""
    groups = next(n for n in range(min(32, channels // 4), 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels, eps=1e-6)


def _conv(c_in: int, c_out: int, kernel: int, gain: float = 1.0) -> nn.Conv2d:
    layer = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2)
    _initialise(layer, gain)
    return layer


def _linear(c_in: int, c_out: int) -> nn.Linear:
    layer = nn.Linear(c_in, c_out)
    _initialise(layer)
    return layer


def _initialise(layer: nn.Conv2d | nn.Linear, gain: float = 1.0) -> None:
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _image_shape(shape: Sequence[int], levels: int) -> tuple[int, int]:
    if len(shape) != 3 or shape[1] != shape[2]:
        raise ValueError(f"it takes square images (C, H, H), and the data's items have shape {tuple(shape)}")
    if shape[1] % 2 ** (levels - 1):
        raise ValueError(f"{levels} levels need a resolution divisible by {2 ** (levels - 1)}, not {shape[1]}")
    return shape[0], shape[1]
