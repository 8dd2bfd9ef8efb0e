"""The U-Net of EDM2 (Karras et al. 2024, arXiv 2312.02696, figure 21), made of layers that preserve magnitudes.

Parts carry the names of its state dict (`enc.64x64_conv`, `dec.8x8_in0`, `emb_noise`, ...), so published weights fit.
"""

import torch
from torch import Tensor, nn

from hgfctl.engine.models.networks.embeddings import class_vectors
from hgfctl.engine.models.networks.magnitude_layers import UnitBlock, UnitFourier, UnitWeights, blend, join, unit_silu
from hgfctl.engine.models.networks.network import Network
from hgfctl.engine.models.networks.unet_layers import Resample
from hgfctl.engine.provided import ClassCount, ItemShape

HEAD = 64
"""Channels of a head of self-attention."""


class MagnitudeUNet(Network):
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
        factor = 2 ** (len(channel_mult) - 1)
        if len(shape) != 3 or shape[1] % factor or shape[2] % factor:
            raise ValueError(f"it takes images (C, H, W) with sides divisible by {factor}, not {tuple(shape)}")
        image, height, width = shape
        levels = [(height >> i, width >> i, model_channels * mult) for i, mult in enumerate(channel_mult)]
        noise = model_channels * (channel_mult_noise or channel_mult[0])
        emb = model_channels * (channel_mult_emb or max(channel_mult))
        self.classes, self.label_dropout = classes, label_dropout
        self.label_balance, self.concat_balance = label_balance, concat_balance
        self.out_gain = nn.Parameter(torch.zeros(()))
        self.emb_fourier = UnitFourier(noise)
        self.emb_noise = UnitWeights(noise, emb)
        self.emb_label = UnitWeights(classes, emb) if classes else None

        def block(c_in: int, c_out: int, decoding: bool, attention: bool = False, resample: Resample = "") -> UnitBlock:
            heads = c_out // HEAD if attention else 0
            return UnitBlock(c_in, c_out, emb, decoding, heads, resample, dropout, res_balance, attn_balance)

        self.enc = nn.ModuleDict()
        skips, c = [], image + 1
        for level, (rows, columns, out) in enumerate(levels):
            name = f"{rows}x{columns}"
            if level == 0:
                self.enc[f"{name}_conv"] = UnitWeights(c, out, 3)
                c = out
            else:
                self.enc[f"{name}_down"] = block(c, c, decoding=False, resample="down")
            skips.append(c)
            for i in range(num_blocks):
                self.enc[f"{name}_block{i}"] = block(c, out, decoding=False, attention=rows in attn_resolutions)
                c = out
                skips.append(c)
        self.dec = nn.ModuleDict()
        for level, (rows, columns, out) in reversed(list(enumerate(levels))):
            name = f"{rows}x{columns}"
            if level == len(levels) - 1:
                self.dec[f"{name}_in0"] = block(c, c, decoding=True, attention=True)
                self.dec[f"{name}_in1"] = block(c, c, decoding=True)
            else:
                self.dec[f"{name}_up"] = block(c, c, decoding=True, resample="up")
            for i in range(num_blocks + 1):
                attention = rows in attn_resolutions
                self.dec[f"{name}_block{i}"] = block(c + skips.pop(), out, decoding=True, attention=attention)
                c = out
        self.out_conv = UnitWeights(c, image, 3)

    def forward(
        self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """x (B, C, H, W), noise (B,), labels (B,) int64 or None (class unknown) -> (B, C, H, W)."""
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
        return self.out_conv(x, self.out_gain)

    def _embed(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        emb = self.emb_noise(self.emb_fourier(noise))
        if self.emb_label is not None:
            hidden = self.label_dropout if self.training else 0.0
            if labels is None:
                known = emb.new_zeros(len(emb), self.classes)
            else:
                known = class_vectors(labels, self.classes, emb, hidden)
            emb = blend(emb, self.emb_label(known), self.label_balance)
        return unit_silu(emb)
