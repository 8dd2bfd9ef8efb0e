"""Grids made for one model, in a sidecar beside its checkpoint: <checkpoint>.grids.json."""

import json
import math
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.solvers import SOLVERS
from hgfctl.errors import HgfctlError
from hgfctl.storage import tensor_files
from hgfctl.storage.atomic import replacing

OPTIMIZED = "optimized"
FORMAT = 1


@dataclass(frozen=True)
class OptimizedGrid:
    """Times for a model, a solver and a budget.

    Args:
        flow: that the times are of, as it writes itself.
        sampler: the solver's name.
        nfe: the budget.
        times: from T down to 0.
        error: distance to the converged samples on held-out seeds, median of the RMS per coordinate.
        error_before: the same of what `auto` would have taken.
        grid_before: that grid's name.
    """

    flow: str
    sampler: str
    nfe: int
    times: tuple[float, ...]
    error: float
    error_before: float
    grid_before: str

    @property
    def is_better(self) -> bool:
        """True where the search was worth it."""
        return self.error < self.error_before

    def tensor(self) -> Tensor:
        """The times, float64."""
        return torch.tensor(self.times, dtype=torch.float64)


def sidecar(checkpoint: Path) -> Path:
    """Where the grids of a checkpoint lie."""
    return checkpoint.with_name(f"{checkpoint.name}.grids.json")


def read(checkpoint: Path, flow: Flow) -> list[OptimizedGrid]:
    """The grids for a checkpoint and a flow; none where there is no sidecar, or one of another checkpoint's.

    Raises:
        HgfctlError: the sidecar is damaged.
    """
    fitting = [one for one in _entries(checkpoint) if one.flow == repr(flow)]
    if not all(_usable(one, flow) for one in fitting):
        raise _damaged(checkpoint)
    return fitting


def add(checkpoint: Path, grid: OptimizedGrid) -> Path:
    """Writes a grid beside the checkpoint; of two for the same flow, solver and budget the better one stays.

    Raises:
        HgfctlError: the sidecar is damaged, or cannot be written.
    """
    entries = _entries(checkpoint)
    kept = [one for one in entries if _key(one) != _key(grid)]
    grid = min([grid, *(one for one in entries if _key(one) == _key(grid))], key=lambda one: one.error)
    content = {
        "format": FORMAT,
        "checkpoint": tensor_files.checksum(checkpoint),
        "grids": [asdict(one) for one in (*kept, grid)],
    }
    path = sidecar(checkpoint)
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _entries(checkpoint: Path) -> list[OptimizedGrid]:
    """All grids of a checkpoint, for whatever flow."""
    try:
        content = json.loads(sidecar(checkpoint).read_text(encoding="utf-8"))
        if content["format"] != FORMAT or content["checkpoint"] != tensor_files.checksum(checkpoint):
            return []
        return [OptimizedGrid(**{**entry, "times": tuple(entry["times"])}) for entry in content["grids"]]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        raise _damaged(checkpoint) from None


def _key(grid: OptimizedGrid) -> tuple[str, str, int]:
    return grid.flow, grid.sampler, grid.nfe


def _damaged(checkpoint: Path) -> HgfctlError:
    return HgfctlError(f"{sidecar(checkpoint)} is damaged; remove it, and make its grids anew with `optimize_grid`")


def _usable(grid: OptimizedGrid, flow: Flow) -> bool:
    """True for a grid such as `add` is given: falling from T to 0, and within its budget."""
    try:
        numbers = (*grid.times, grid.error, grid.error_before)
        falling = all(later < earlier for earlier, later in pairwise(grid.times))
        ends = (grid.times[0], grid.times[-1]) == (flow.T, 0.0)
        within = grid.sampler in SOLVERS and SOLVERS[grid.sampler].cost(len(grid.times) - 1) <= grid.nfe
        return falling and ends and within and all(math.isfinite(number) for number in numbers)
    except (TypeError, IndexError, OverflowError):
        return False
