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

from hgfctl.engine.models.networks.embeddings import FourierEmbedding, PositionalEmbedding, class_vectors
from hgfctl.engine.models.networks.network import Network
from hgfctl.engine.models.networks.unet_layers import BINOMIAL, BOX, Conv2d, Resample, UNetBlock, group_norm, linear
from hgfctl.engine.provided import AugmentedNumbers, ClassCount, ItemShape


class UNet(Network):
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
        channels, height, width = _image_shape(shape, len(channel_mult))
        if model_channels % 4:
            raise ValueError(f"model_channels must be divisible by 4, and {model_channels} is not")
        levels = [(height >> i, width >> i, model_channels * mult) for i, mult in enumerate(channel_mult)]
        _refuse_unmet(attn_resolutions, [level[0] for level in levels])
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

        self.enc = nn.ModuleDict()
        skips, image, c = [], channels, channels
        for level, (rows, columns, out) in enumerate(levels):
            name = f"{rows}x{columns}"
            if level == 0:
                self.enc[f"{name}_conv"] = Conv2d(c, model_channels, 3)
                c = model_channels
            else:
                self.enc[f"{name}_down"] = block(c, c, resample="down")
                if not plain:
                    self.enc[f"{name}_aux_residual"] = Conv2d(image, c, 3, "down", taps, merged=True)
                    image = c
            skips.append(c)
            for i in range(num_blocks):
                self.enc[f"{name}_block{i}"] = block(c, out, attention=rows in attn_resolutions)
                c = out
                skips.append(c)

        self.dec = nn.ModuleDict()
        for level, (rows, columns, out) in reversed(list(enumerate(levels))):
            name = f"{rows}x{columns}"
            if level == len(levels) - 1:
                self.dec[f"{name}_in0"] = block(c, c, attention=True)
                self.dec[f"{name}_in1"] = block(c, c)
            else:
                self.dec[f"{name}_up"] = block(c, c, resample="up")
            for i in range(num_blocks + 1):
                attention = i == num_blocks and rows in attn_resolutions
                self.dec[f"{name}_block{i}"] = block(c + skips.pop(), out, attention)
                c = out
        self.dec[f"{height}x{width}_aux_norm"] = group_norm(c)
        self.dec[f"{height}x{width}_aux_conv"] = Conv2d(c, channels, 3, gain=1e-5)
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
            hidden = self.label_dropout if self.training else 0.0
            emb = emb + self.map_label(class_vectors(labels, self.classes, emb, hidden))
        if self.map_augment is not None and augmented is not None:
            emb = emb + self.map_augment(augmented.to(emb.dtype))
        return silu(self.map_layer1(silu(self.map_layer0(emb))))


def _image_shape(shape: Sequence[int], levels: int) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ValueError(f"it takes images (C, H, W), and the data's items have shape {tuple(shape)}")
    channels, height, width = shape
    factor = 2 ** (levels - 1)
    if height % factor or width % factor:
        raise ValueError(f"{levels} levels need height and width divisible by {factor}, not {height} x {width}")
    return channels, height, width


def _refuse_unmet(resolutions: Sequence[int], heights: Sequence[int]) -> None:
    for resolution in resolutions:
        if resolution not in heights:
            raise ValueError(
                f"attn_resolutions: no level is {resolution} pixels high; they are {', '.join(map(str, heights))}"
            )
