"""Pictures, as figures return them: they are saved whole or not at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hgfctl.storage.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image


@dataclass(frozen=True)
class Picture:
    """A still or moving picture.

    Args:
        write: writes it to a path, in the format of the path's ending.
    """

    write: Callable[[Path], None]

    def save(self, path: Path) -> None:
        """Raises HgfctlError where it cannot be written."""
        with replacing(path) as partial:
            self.write(partial)


def from_image(image: "Image") -> Picture:
    """A picture of a PIL image."""
    return Picture(lambda path: image.save(path))


def from_figure(figure: "Figure", dpi: int = 150) -> Picture:
    """A picture of a matplotlib figure."""
    return Picture(lambda path: figure.savefig(path, dpi=dpi))


def from_frames(frames: Sequence["Image"], milliseconds: Sequence[int]) -> Picture:
    """An endless animation of PIL images (GIF), each shown for so long."""

    def write(path: Path) -> None:
        first, *rest = frames
        first.save(path, save_all=True, append_images=rest, duration=list(milliseconds), loop=0)

    return Picture(write)
