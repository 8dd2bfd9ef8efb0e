"""U-Nets of EDM's shape, DDPM++ and NCSN++ (Song et al. 2021, arXiv 2011.13456, as trained by Karras et al. 2022).

Parts carry the names of EDM's state dict (`enc.32x32_conv`, `enc.32x32_block0`, `dec.8x8_in0`, ..., `map_layer0`), so
published weights fit.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from hgfctl.engine.models.networks.conditioned import Conditioned
from hgfctl.engine.models.networks.embeddings import FourierEmbedding, PositionalEmbedding
from hgfctl.engine.models.networks.levels import decoder, encoder, image_levels
from hgfctl.engine.models.networks.unet_layers import BINOMIAL, BOX, Conv2d, Resample, UNetBlock, group_norm, linear
from hgfctl.engine.provided import AugmentedNumbers, ClassCount, ItemShape


class UNet(Conditioned):
    """Encoder and decoder of residual blocks with skip connections, conditioned on noise, class and augmentation.

    Args:
        shape: (C, H, W); H and W divisible by 2 once for every level but the first.
        classes: number of classes; 0 for none.
        augment_dim: numbers that say how an image was augmented; 0 for none.
        architecture: ddpm++ (sines of the noise level, box filter, plain encoder) or ncsn++ (random Fourier features of
            the noise level, binomial filter, an encoder into which the image enters again at every level).
        model_channels: channels after the first convolution, and the unit of channel_mult.
        channel_mult: channels of each level, as multiples of model_channels; one level a factor of 2 in resolution.
        channel_mult_emb: width of the conditioning vector, as a multiple of model_channels.
        num_blocks: residual blocks a level.
        attn_resolutions: heights of the levels with self-attention (the decoder's lowest level always has some).
        dropout: probability of dropping an activation.
        label_dropout: probability of hiding the class in training, for guidance.
    """

    can_recompute = True

    def __init__(
        self,
        shape: ItemShape,
        classes: ClassCount,
        augment_dim: AugmentedNumbers = 0,
        architecture: Literal["ddpm++", "ncsn++"] = "ddpm++",
        model_channels: int = 64,
        channel_mult: tuple[int, ...] = (1, 2),
        channel_mult_emb: int = 4,
        num_blocks: int = 2,
        attn_resolutions: tuple[int, ...] = (),
        dropout: float = 0.0,
        label_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        levels = image_levels(shape, channel_mult, model_channels)
        if model_channels % 4:
            raise ValueError(f"model_channels must be divisible by 4, and {model_channels} is not")
        _refuse_unmet(attn_resolutions, [level.height for level in levels])
        self.classes, self.label_dropout = classes, label_dropout
        plain = architecture == "ddpm++"
        taps = BOX if plain else BINOMIAL
        noise, emb = model_channels * (1 if plain else 2), model_channels * channel_mult_emb

        self.map_noise = PositionalEmbedding(noise) if plain else FourierEmbedding(noise)
        self.map_label = linear(classes, noise) if classes else None
        self.map_augment = linear(augment_dim, noise, bias=False) if augment_dim else None
        self.map_layer0 = linear(noise, emb)
        self.map_layer1 = linear(emb, emb)

        def block(c_in: int, c_out: int, attention: bool = False, resample: Resample = "") -> UNetBlock:
            return UNetBlock(c_in, c_out, emb, attention, resample, taps, dropout)

        image = channels = shape[0]
        self.enc = nn.ModuleDict({f"{levels[0].name}_conv": Conv2d(channels, model_channels, 3)})
        for part in encoder(levels, model_channels, num_blocks):
            self.enc[part.name] = block(part.c_in, part.c_out, part.attends(attn_resolutions), part.resample)
            if part.resample and not plain:
                self.enc[f"{part.level.name}_aux_residual"] = Conv2d(image, part.c_out, 3, "down", taps, merged=True)
                image = part.c_out
        self.dec = nn.ModuleDict()
        for part in decoder(levels, model_channels, num_blocks):
            attention = part.attends(attn_resolutions if part.number == num_blocks else ())
            self.dec[part.name] = block(part.c_in, part.c_out, attention, part.resample)
        self.dec[f"{levels[0].name}_aux_norm"] = group_norm(levels[0].channels)
        self.dec[f"{levels[0].name}_aux_conv"] = Conv2d(levels[0].channels, channels, 3, gain=1e-5)
        self.train()

    def train(self, mode: bool = True) -> "UNet":
        """Training mode, or evaluation. Convolutions are laid out for speed, channels last, but on the CPU in
        evaluation for digits: there the channels-last kernels add up one long sum, and err three times as much.
        """
        super().train(mode)
        exact = not mode and all(p.device.type == "cpu" for p in self.parameters())
        self._layout = torch.contiguous_format if exact else torch.channels_last
        return self.to(memory_format=self._layout)

    def forward(
        self, x: Tensor, noise: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Tensor:
        """x (B, C, H, W), noise (B,), labels (B,) int64 or None (class unknown), augmented (B, augment_dim) or None
        (as it was) -> (B, C, H, W).
        """
        emb = self._embed(noise, labels, augmented)
        fast = torch.is_autocast_enabled(x.device.type)
        x = image = x.contiguous(memory_format=torch.channels_last if fast else self._layout)
        skips = []
        for part in self.enc.values():
            if isinstance(part, UNetBlock):
                skips.append(x := self.run(part, x, emb))
            elif part.resample:  # NCSN++: the image itself, once more
                skips[-1] = x = image = (x + part(image)) * math.sqrt(0.5)
            else:
                skips.append(x := part(x))
        for part in self.dec.values():
            if isinstance(part, UNetBlock):
                if part.in_channels != x.shape[1]:
                    x = torch.cat([x, skips.pop()], dim=1)
                x = self.run(part, x, emb)
            else:
                x = part(silu(x)) if isinstance(part, nn.Conv2d) else part(x)
        return x

    def _embed(self, noise: Tensor, labels: Tensor | None, augmented: Tensor | None) -> Tensor:
        cos, sin = self.map_noise(noise).chunk(2, dim=1)
        emb = torch.cat([sin, cos], dim=1)
        if self.map_label is not None:
            emb = emb + self.map_label(self.known_classes(labels, emb))
        emb = self.with_augmentation(emb, augmented)
        return silu(self.map_layer1(silu(self.map_layer0(emb))))


def _refuse_unmet(resolutions: Sequence[int], heights: Sequence[int]) -> None:
    for resolution in resolutions:
        if resolution not in heights:
            raise ValueError(
                f"attn_resolutions: no level is {resolution} pixels high; they are {', '.join(map(str, heights))}"
            )
