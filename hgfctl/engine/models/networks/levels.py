"""The plan of a U-Net: which blocks there are, in the order in which they are made and called.

Every level has half the resolution of the one before. The encoder goes down through them, the decoder up again; each
block of the decoder takes what a part of the encoder has said besides what comes from below. Names are those of EDM's
state dicts: `32x32_conv`, `32x32_block0`, `16x16_down`, ..., `8x8_in0`, `16x16_up`.
"""

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from hgfctl.engine.models.networks.unet_layers import Resample


class Level(NamedTuple):
    """One resolution: its name "HxW", its height in pixels, and the channels that its blocks have."""

    name: str
    height: int
    channels: int


class Part(NamedTuple):
    """A residual block of the encoder or decoder.

    Args:
        name: in the encoder's or decoder's dictionary.
        level: where it stands; for one that resamples, where it leads.
        c_in, c_out: channels of what goes in, a skip connection included, and of what comes out.
        resample: "down" or "up" where it leads to another level.
        number: of the level's own blocks, from 0; None for those that resample, and for the two at the bottom.
        bottom: True for the first block of the decoder, which always has self-attention.
    """

    name: str
    level: Level
    c_in: int
    c_out: int
    resample: Resample = ""
    number: int | None = None
    bottom: bool = False

    def attends(self, heights: Container[int]) -> bool:
        """Says whether it has self-attention, if the blocks of levels of these heights have."""
        return self.bottom or (self.number is not None and self.level.height in heights)


def image_levels(shape: Sequence[int], channel_mult: Sequence[int], model_channels: int) -> list[Level]:
    """The levels of a U-Net for images.

    Args:
        shape: (C, H, W).
        channel_mult: channels of each level, as multiples of model_channels.
        model_channels: the unit of these.

    Raises:
        ValueError: the items are no images, or cannot be halved so often.
    """
    if len(shape) != 3:
        raise ValueError(f"it takes images (C, H, W), and the data's items have shape {tuple(shape)}")
    _, height, width = shape
    factor = 2 ** (len(channel_mult) - 1)
    if height % factor or width % factor:
        raise ValueError(
            f"{len(channel_mult)} levels need height and width divisible by {factor}, not {height} x {width}"
        )
    return [
        Level(f"{height >> i}x{width >> i}", height >> i, model_channels * mult) for i, mult in enumerate(channel_mult)
    ]


def encoder(levels: Sequence[Level], first: int, num_blocks: int) -> Iterator[Part]:
    """The encoder's residual blocks, after a first convolution.

    Args:
        levels: from the highest resolution to the lowest.
        first: channels after the first convolution.
        num_blocks: blocks a level.
    """
    c = first
    for place, level in enumerate(levels):
        if place:
            yield Part(f"{level.name}_down", level, c, c, "down")
        for i in range(num_blocks):
            yield Part(f"{level.name}_block{i}", level, c, level.channels, number=i)
            c = level.channels


def decoder(levels: Sequence[Level], first: int, num_blocks: int) -> Iterator[Part]:
    """The decoder's residual blocks: one more a level, each with a skip connection; see `encoder`."""
    skips = [first, *(part.c_out for part in encoder(levels, first, num_blocks))]
    c = skips[-1]
    for level in reversed(levels):
        if level is levels[-1]:
            yield Part(f"{level.name}_in0", level, c, c, bottom=True)
            yield Part(f"{level.name}_in1", level, c, c)
        else:
            yield Part(f"{level.name}_up", level, c, c, "up")
        for i in range(num_blocks + 1):
            yield Part(f"{level.name}_block{i}", level, c + skips.pop(), level.channels, number=i)
            c = level.channels
