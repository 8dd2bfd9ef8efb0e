"""The U-Net of EDM2 (Karras et al. 2024, arXiv 2312.02696, figure 21), made of layers that preserve magnitudes.

Parts carry the names of its state dict (`enc.64x64_conv`, `dec.8x8_in0`, `emb_noise`, ...), so published weights fit.
"""

import torch
from torch import Tensor, nn

from hgfctl.engine.models.networks.conditioned import Conditioned
from hgfctl.engine.models.networks.levels import Part, decoder, encoder, image_levels
from hgfctl.engine.models.networks.magnitude_layers import UnitBlock, UnitFourier, UnitWeights, blend, join, unit_silu
from hgfctl.engine.provided import ClassCount, ItemShape

HEAD = 64
"""Channels of a head of self-attention."""


class MagnitudeUNet(Conditioned):
    """Encoder and decoder of residual blocks with skip connections, conditioned on noise and class.

    Args:
        shape: (C, H, W); H and W divisible by 2 once for every level but the first.
        classes: number of classes; 0 for none.
        model_channels: unit of channel_mult.
        channel_mult: channels of each level, as multiples of model_channels.
        channel_mult_noise, channel_mult_emb: widths of the embedded noise level and of the conditioning vector, as
            multiples of model_channels; those of the first and of the widest level when left out.
        num_blocks: residual blocks a level.
        attn_resolutions: heights of the levels with self-attention (the decoder's lowest level always has some).
        dropout: probability of dropping an activation.
        label_dropout: probability of hiding the class in training, for guidance.
        label_balance, concat_balance, res_balance, attn_balance: shares of the class, of skip connections, of residuals
            and of attention in what they are added to.
    """

    can_recompute = True

    def __init__(
        self,
        shape: ItemShape,
        classes: ClassCount,
        model_channels: int = 192,
        channel_mult: tuple[int, ...] = (1, 2, 3, 4),
        channel_mult_noise: int | None = None,
        channel_mult_emb: int | None = None,
        num_blocks: int = 3,
        attn_resolutions: tuple[int, ...] = (16, 8),
        dropout: float = 0.0,
        label_dropout: float = 0.0,
        label_balance: float = 0.5,
        concat_balance: float = 0.5,
        res_balance: float = 0.3,
        attn_balance: float = 0.3,
    ) -> None:
        super().__init__()
        levels = image_levels(shape, channel_mult, model_channels)
        noise = model_channels * (channel_mult_noise or channel_mult[0])
        emb = model_channels * (channel_mult_emb or max(channel_mult))
        self.classes, self.label_dropout = classes, label_dropout
        self.label_balance, self.concat_balance = label_balance, concat_balance
        self.out_gain = nn.Parameter(torch.zeros(()))
        self.emb_fourier = UnitFourier(noise)
        self.emb_noise = UnitWeights(noise, emb)
        self.emb_label = UnitWeights(classes, emb) if classes else None

        def block(part: Part, decoding: bool) -> UnitBlock:
            heads = part.c_out // HEAD if part.attends(attn_resolutions) else 0
            balances = res_balance, attn_balance
            return UnitBlock(part.c_in, part.c_out, emb, decoding, heads, part.resample, dropout, *balances)

        first, image = levels[0].channels, shape[0]
        self.enc = nn.ModuleDict({f"{levels[0].name}_conv": UnitWeights(image + 1, first, 3)})
        self.enc.update({part.name: block(part, decoding=False) for part in encoder(levels, first, num_blocks)})
        self.dec = nn.ModuleDict({p.name: block(p, decoding=True) for p in decoder(levels, first, num_blocks)})
        self.out_conv = UnitWeights(first, image, 3)

    def forward(
        self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """x (B, C, H, W), noise (B,), labels (B,) int64 or None (class unknown) -> (B, C, H, W)."""
        if self.recompute and self.training:
            self._normalise()
        emb = self._embed(noise, labels)
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        skips = []
        for part in self.enc.values():
            x = self.run(part, x, emb) if isinstance(part, UnitBlock) else part(x)
            skips.append(x)
        for name, part in self.dec.items():
            if "_block" in name:
                x = join(x, skips.pop(), self.concat_balance)
            x = self.run(part, x, emb)
        y: Tensor = self.out_conv(x, self.out_gain)
        return y

    def _normalise(self) -> None:
        """Brings all weights back to unit magnitude: once, where a backward pass computes blocks again."""
        for part in self.modules():
            if isinstance(part, UnitWeights):
                part.normalised = True
                part.normalise()

    def _embed(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        emb = self.emb_noise(self.emb_fourier(noise))
        if self.emb_label is not None:
            known = self.known_classes(labels, emb).expand(len(emb), -1)
            emb = blend(emb, self.emb_label(known), self.label_balance)
        return unit_silu(emb)
