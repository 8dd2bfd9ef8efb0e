"""What `auto` chooses: what measured best, from the table that tests/benchmarks/solvers.py writes."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear_motion import LinearMotion

TABLE = Path(__file__).parent / "best.json"
"""Flow -> kind of item -> [{nfe, sampler, grid, measured}]."""

VECTOR, IMAGE = "vector", "image"
LONG = 16
"""Coordinates from which a vector is treated as an image is."""

MOST = 10**9
OWN = {
    "Reflection": ((15, "ab4", "sigmoid"), (30, "heun", "quadratic"), (MOST, "heun", "cosine")),
    "Torus": ((15, "ab4", "power:1.5"), (30, "abm3", "power:1.5"), (MOST, "ab4", "cosine")),
    "Sphere": ((15, "ab4", "power:1.5"), (30, "ab3", "trimmed-cosine"), (MOST, "ab4", "cosine")),
    "SO3": ((15, "ab4", "power:1.5"), (30, "abm3", "power:1.5"), (MOST, "ab4", "cosine")),
    "Simulated": (
        *((6, "ab4", "power:3"), (12, "ab2", "quadratic"), (17, "ab4", "quadratic")),
        *((27, "ab2", "sigmoid:1,2"), (45, "abm3", "sigmoid:1.5,1.5"), (MOST, "ab4", "cosine")),
    ),
    "LinearMotion": (
        *((9, "abm2", "power:3"), (12, "abm2", "power:1.5"), (17, "abm2", "quadratic")),
        (MOST, "abm3", "sigmoid:1,2"),
    ),
}
"""Flows in boxes, on manifolds, of designed forces -> (largest budget, sampler, grid), measured on trained networks by
tests/benchmarks/checkerboard.py, manifolds.py and designed.py. Images under a linear force go by the oscillation's."""


class Choice(NamedTuple):
    """A sampler and a grid, by name."""

    sampler: str
    grid: str


def best(flow: Flow, nfe: int, shape: tuple[int, ...] | None = None) -> Choice:
    """The choice for the budget of the table that is nearest, as a ratio; the smaller of two.

    Args:
        flow: of the model; one that is not in the table goes by the oscillation's.
        nfe: evaluations.
        shape: of an item: fewer than 16 coordinates are a vector, more (or None) an image.
    """
    kind = VECTOR if shape is not None and math.prod(shape) < LONG else IMAGE
    own = OWN.get(type(flow).__name__)
    if own and not (kind == IMAGE and isinstance(flow, LinearMotion)):
        return next(Choice(sampler, grid) for most, sampler, grid in own if nfe <= most)
    flows = _table()
    choices = flows.get(type(flow).__name__, flows["Oscillation"])[kind]
    nearest = min(choices, key=lambda choice: (abs(math.log(choice["nfe"] / nfe)), choice["nfe"]))
    return Choice(nearest["sampler"], nearest["grid"])


@cache
def _table() -> dict[str, dict[str, list[dict[str, Any]]]]:
    table: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(TABLE.read_text(encoding="utf-8"))
    return table
