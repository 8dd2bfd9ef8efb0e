"""Events: the things that a training tells whoever watches it, each a value."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PriorMeasured:
    """The flow's prior has no formula, and was fitted to flights of the data.

    Args:
        line: how well it fits.
    """

    line: str


@dataclass(frozen=True)
class Skipped:
    """Images of the data were left out.

    Args:
        files: each with the reason, a line each.
        total: how many images there would be with them.
    """

    files: tuple[str, ...]
    total: int


@dataclass(frozen=True)
class DamagePassed:
    """A damaged file is passed over, and the training goes on from the one before it.

    Args:
        reason: names the file.
    """

    reason: str


@dataclass(frozen=True)
class Resuming:
    """A run goes on.

    Args:
        folder: its folder.
        step: the step that it goes on from.
    """

    folder: Path
    step: int


@dataclass(frozen=True)
class Stepped:
    """A step was made.

    Args:
        step: its number, from 1.
        loss: mean since the last row of the log.
        images_per_second: pace of this session.
    """

    step: int
    loss: float
    images_per_second: float


@dataclass(frozen=True)
class Saved:
    """A checkpoint and its state were written.

    Args:
        checkpoint: its file.
    """

    checkpoint: Path


@dataclass(frozen=True)
class Drawn:
    """A sample grid was written.

    Args:
        picture: its file.
    """

    picture: Path


Event = PriorMeasured | Skipped | DamagePassed | Resuming | Stepped | Saved | Drawn
Listener = Callable[[Event], object]
"""Called with each event as it happens; what it returns is of no account."""


def ignore(event: Event) -> None:
    """The listener that listens to nothing."""
