"""The choices of `auto`: the solver and the grid that measured best for a flow and a budget, from a table."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import unknown

TABLE = Path(__file__).parent / "best.json"
"""Name (`Flow.tuned_as`) -> kind of item -> rows, each with a sampler and a grid.

Rows with "nfe", written by tests/benchmarks/solvers.py: the nearest budget decides. Rows with "most", measured on
trained networks by tests/benchmarks/checkerboard.py, manifolds.py and designed.py: the first whose largest budget (null
for none) is not exceeded decides.
"""

VECTOR, IMAGE, ANY = "vector", "image", "any"
"""Kinds of items; and the rows for either kind, and for a flow without rows of its own."""
LONG = 16
"""Coordinates from which a vector is treated as an image is."""


class Choice(NamedTuple):
    """A sampler and a grid, by name."""

    sampler: str
    grid: str


def best(flow: Flow, nfe: int, shape: tuple[int, ...] | None = None) -> Choice:
    """The choice for the budget of the table that is nearest, as a ratio; the smaller of two.

    Args:
        flow: of the model; it says which flow of the table it goes by. A choice that it does not admit is not taken.
        nfe: evaluations.
        shape: of an item: fewer than 16 coordinates are a vector, more (or None) an image.
    """
    kind = VECTOR if shape is not None and math.prod(shape) < LONG else IMAGE
    tuned_as = (flow.images_tuned_as if kind == IMAGE else None) or flow.tuned_as
    choice = _row(tuned_as, kind, nfe)
    solver: Solver = SOLVERS[choice.sampler]
    return choice if solver.admits(flow) else _row(ANY, kind, nfe)


def _row(tuned_as: str, kind: str, nfe: int) -> Choice:
    table = _table()
    if tuned_as not in table:
        raise unknown("flow", tuned_as, table, "to tune a solver as")
    kinds = table[tuned_as]
    if ANY in kinds:
        row = next(row for row in kinds[ANY] if row["most"] is None or nfe <= row["most"])
    else:
        row = min(kinds[kind], key=lambda row: (abs(math.log(row["nfe"] / nfe)), row["nfe"]))
    return Choice(row["sampler"], row["grid"])


@cache
def _table() -> dict[str, dict[str, list[dict[str, Any]]]]:
    table: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table
