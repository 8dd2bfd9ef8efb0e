"""TensorBoard, for those who watch trainings there: the rows of the log and the sample grids."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hgfctl.errors import RequestError


def writer() -> type:
    """torch's SummaryWriter.

    Raises:
        RequestError: the package is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RequestError("train.tensorboard needs the package tensorboard: pip install tensorboard") from None
    return SummaryWriter


class Board:
    """Event files in a run folder.

    Args:
        folder: of the run.

    Raises:
        RequestError: the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = writer()(str(folder / "tensorboard"))

    def write(self, row: Mapping[str, float]) -> None:
        """A row of the log, over the images seen."""
        for name, value in row.items():
            if name not in ("step", "images"):
                self._writer.add_scalar(name, value, row["images"])
        self._writer.flush()

    def show(self, picture: Path, images: int) -> None:
        """A sample grid."""
        from PIL import Image

        with Image.open(picture) as image:
            self._writer.add_image("samples", np.asarray(image.convert("RGB")), images, dataformats="HWC")
        self._writer.flush()
