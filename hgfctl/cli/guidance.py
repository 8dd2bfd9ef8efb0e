"""`--guidance`, `--guide` and `--guidance-interval`, of every command that samples flows."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.errors import RequestError

if TYPE_CHECKING:
    from hgfctl.engine.models.guided import Guidance

Weight = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        metavar="W",
        min=0,
        help="Away from what a model without classes says, V = V_weak + W (V - V_weak): 1 for no guidance. A guided "
        "call takes two evaluations of the budget.",
    ),
]
Guide = Annotated[
    str | None,
    typer.Option(
        metavar="CKPT",
        help="With --guidance: away from what this checkpoint says, a smaller or less trained one of the same data.",
    ),
]
Interval = Annotated[
    str | None,
    typer.Option(
        "--guidance-interval",
        metavar="LO,HI",
        help="With --guidance: at these noise levels sigma only; elsewhere a call takes one evaluation.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """The three options of guidance, as they are given.

    Args:
        weight, guide, interval: the three options.

    Raises:
        RequestError: an interval that is none, or options without a weight.
    """

    weight: float | None
    guide: str | None
    interval: str | None

    def __post_init__(self) -> None:
        if self.weight is None and (self.guide or self.interval):
            option = "--guide" if self.guide else "--guidance-interval"
            raise RequestError(f"{option} goes with --guidance W, such as --guidance 2")
        if self.weight is not None and not math.isfinite(self.weight):
            raise RequestError(f"--guidance {self.weight}: a finite number, such as 2")
        self.levels()

    def levels(self) -> tuple[float, float] | None:
        """ "0.2,3" -> (0.2, 3.0)."""
        if self.interval is None:
            return None
        try:
            low, high = (float(part) for part in self.interval.split(","))
        except ValueError:
            low, high = 1.0, 0.0
        if not 0 <= low < high < math.inf:
            raise RequestError(f"--guidance-interval {self.interval}: two noise levels, the lower first, such as 0.2,3")
        return low, high

    def of(self, source: object, called: str) -> "Guidance | None":
        """The guidance of a checkpoint; None where none is asked for.

        Args:
            source: the checkpoint, read.
            called: its name in messages.

        Raises:
            RequestError: it is no checkpoint; and see `guided_by`.
        """
        if self.weight is None:
            return None
        from hgfctl.engine.checkpoint import Checkpoint, guided_by, read_checkpoint
        from hgfctl.storage.runs import checkpoint_file

        if not isinstance(source, Checkpoint):
            raise RequestError(f"--guidance is for models, and {called} is none")
        device = next(source.model.parameters()).device
        guide = read_checkpoint(checkpoint_file(Path(self.guide).expanduser()), device) if self.guide else None
        if guide:
            guide.model.to(next(source.model.parameters()).dtype)
        return guided_by(source, self.weight, guide, self.levels())


NONE = Asked(None, None, None)
