"""The U-Net of Dhariwal and Nichol 2021 (arXiv 2105.05233), "ADM", in the form and with the names that EDM gave it."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from hgfctl.engine.models.networks.conditioned import Conditioned
from hgfctl.engine.models.networks.embeddings import PositionalEmbedding
from hgfctl.engine.models.networks.levels import decoder, encoder, image_levels
from hgfctl.engine.models.networks.unet_layers import Conv2d, Resample, attention
from hgfctl.engine.provided import AugmentedNumbers, ClassCount, ItemShape

HEAD = 64
"""Channels of a head of self-attention."""


class ADM(Conditioned):
    """Residual blocks that the conditioning scales and shifts, with attention of several heads wherever a level has it.

    Args:
        shape: (C, H, W); H and W divisible by 2 once for every level but the first.
        classes: number of classes; 0 for none.
        augment_dim: numbers that say how an image was augmented; 0 for none.
        model_channels: unit of channel_mult, and width of the embedded noise level.
        channel_mult: channels of each level, as multiples of model_channels.
        channel_mult_emb: width of the conditioning vector, as a multiple of model_channels.
        num_blocks: residual blocks a level.
        attn_resolutions: heights of the levels with self-attention.
        dropout: probability of dropping an activation.
        label_dropout: probability of hiding the class in training, for guidance.
    """

    can_recompute = True

    def __init__(
        self,
        shape: ItemShape,
        classes: ClassCount,
        augment_dim: AugmentedNumbers = 0,
        model_channels: int = 192,
        channel_mult: tuple[int, ...] = (1, 2, 3, 4),
        channel_mult_emb: int = 4,
        num_blocks: int = 3,
        attn_resolutions: tuple[int, ...] = (32, 16, 8),
        dropout: float = 0.1,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        levels = image_levels(shape, channel_mult, model_channels)
        if model_channels % 4:
            raise ValueError(f"model_channels must be divisible by 4, and {model_channels} is not")
        emb = model_channels * channel_mult_emb
        self.classes, self.label_dropout = classes, label_dropout
        self.map_noise = PositionalEmbedding(model_channels, endpoint=False)
        self.map_augment = nn.Linear(augment_dim, model_channels, bias=False) if augment_dim else None
        self.map_layer0 = nn.Linear(model_channels, emb)
        self.map_layer1 = nn.Linear(emb, emb)
        self.map_label = nn.Linear(classes, emb, bias=False) if classes else None

        def block(c_in: int, c_out: int, attention: bool = False, resample: Resample = "") -> ADMBlock:
            return ADMBlock(c_in, c_out, emb, attention, resample, dropout)

        first, image = levels[0].channels, shape[0]
        self.enc = nn.ModuleDict({f"{levels[0].name}_conv": Conv2d(image, first, 3)})
        for part in encoder(levels, first, num_blocks):
            self.enc[part.name] = block(part.c_in, part.c_out, part.attends(attn_resolutions), part.resample)
        self.dec = nn.ModuleDict()
        for part in decoder(levels, first, num_blocks):
            self.dec[part.name] = block(part.c_in, part.c_out, part.attends(attn_resolutions), part.resample)
        self.out_norm = adm_norm(first)
        self.out_conv = Conv2d(first, image, 3, gain=1e-5)

    def forward(
        self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """x (B, C, H, W), noise (B,), labels (B,) int64 or None (class unknown), augmented (B, augment_dim) or None
        (as it was) -> (B, C, H, W).
        """
        emb = self._embed(noise, labels, augmented)
        skips = []
        for part in self.enc.values():
            x = self.run(part, x, emb) if isinstance(part, ADMBlock) else part(x)
            skips.append(x)
        for part in self.dec.values():
            if part.in_channels != x.shape[1]:
                x = torch.cat([x, skips.pop()], dim=1)
            x = self.run(part, x, emb)
        y: Tensor = self.out_conv(silu(self.out_norm(x)))
        return y

    def _embed(self, noise: Tensor, labels: Tensor | None, augmented: Tensor | None) -> Tensor:
        emb = self.with_augmentation(self.map_noise(noise), augmented)
        emb = self.map_layer1(silu(self.map_layer0(emb)))
        if self.map_label is not None and labels is not None:
            emb = emb + self.map_label(self.known_classes(labels, emb) / math.sqrt(self.classes))
        return silu(emb)


class ADMBlock(nn.Module):
    """h = conv1(silu(shift + (1 + scale) norm1(conv0(silu(norm0(x)))))) + x; then attention, if any.

    Args:
        in_channels, out_channels: of the images in and out.
        emb_channels: of the conditioning vector.
        attention: whether there is self-attention, with a head for each 64 channels.
        resample: "down" or "up" by 2 before the first convolution; "" for neither.
        dropout: probability.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        emb_channels: int,
        attention: bool = False,
        resample: Resample = "",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.resample = in_channels, out_channels, resample
        self.heads = out_channels // HEAD if attention else 0
        self.norm0 = adm_norm(in_channels)
        self.conv0 = Conv2d(in_channels, out_channels, 3, resample)
        self.affine = nn.Linear(emb_channels, 2 * out_channels)
        self.norm1 = adm_norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv1 = Conv2d(out_channels, out_channels, 3, gain=1e-5)
        self.skip = Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None
        self.norm2 = adm_norm(out_channels) if self.heads else None
        self.qkv = Conv2d(out_channels, 3 * out_channels, 1) if self.heads else None
        self.proj = Conv2d(out_channels, out_channels, 1, gain=1e-5) if self.heads else None

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """x (B, in_channels, H, W), emb (B, emb_channels) -> (B, out_channels, H', W')."""
        h: Tensor = self.conv0(silu(self.norm0(x)))
        scale, shift = self.affine(emb)[..., None, None].chunk(2, dim=1)
        h = self.conv1(self.dropout(silu(torch.addcmul(shift, self.norm1(h), scale + 1))))
        plain = self.conv0.resampled(x) if self.resample else x
        h = h + (plain if self.skip is None else self.skip(x))
        if self.qkv is not None and self.norm2 is not None and self.proj is not None:
            h = h + self.proj(attention(self.qkv(self.norm2(h)), self.heads))
        return h


def adm_norm(channels: int) -> nn.GroupNorm:
    """At most 32 groups of at least 4 channels."""
    return nn.GroupNorm(min(32, channels // 4), channels, eps=1e-5)
