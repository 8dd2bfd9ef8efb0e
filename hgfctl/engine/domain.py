"""Are the data where their flow can carry them: in the box, on the sphere, among the rotations?"""

import math

import torch
from torch import Tensor

from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.randomness import generator
from hgfctl.errors import RequestError

LOOKED_AT = 10_000
"""Items, at most, of those that are chosen at random."""
NUMBERS = 2**24
"""Coordinates of all of them together, at most."""


def check_inside(flow: Flow, data: DataSet) -> None:
    """Looks at some of the data.

    Raises:
        RequestError: items that lie outside the flow's domain: how many, and the worst or the first of them.
    """
    if flow.domain is None:
        return
    x = _some(data)
    try:
        outside = flow.outside(x).flatten(1)
    except ValueError as error:
        raise RequestError(f"data: {error}") from None
    bad = outside.any(1)
    if not bad.any():
        return
    told = f"{int(bad.sum()):,} of {len(x):,} items of the data that were looked at lie outside {flow.domain}"
    if flow.walls is None:
        first = x[bad][0].flatten()
        numbers = ", ".join(f"{value:.4g}" for value in first[:9].tolist()) + (", ..." if len(first) > 9 else "")
        raise RequestError(f"{told},\nthe first of them at [{numbers}], of length {float(first.norm()):.4g}")
    beyond = torch.maximum(flow.walls[0] - x, x - flow.walls[1])
    place = int(beyond.argmax())
    where = torch.unravel_index(torch.tensor(place), x.shape)[1:]
    coordinate = ", ".join(str(int(axis)) for axis in where)
    raise RequestError(
        f"{told},\nfarthest in coordinate {coordinate} (from 0 on), which is {float(x.flatten()[place]):.6g}; "
        "set flow.lo and flow.hi, or scale the data"
    )


def _some(data: DataSet) -> Tensor:
    """(N, *shape), always the same ones."""
    count = max(1, min(LOOKED_AT, NUMBERS // math.prod(data.shape)))
    if not isinstance(data, Finite):
        return data.batch(0, count, 0).x
    return data.at(torch.randperm(len(data), generator=generator("inside"))[:count].sort().values).x
