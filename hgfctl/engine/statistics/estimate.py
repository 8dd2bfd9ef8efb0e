"""Numbers with their standard errors."""

import math
from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """A measured number and its standard error."""

    value: float
    error: float


def mean(values: Tensor) -> Estimate:
    """The mean of (N,) independent numbers."""
    return Estimate(float(values.mean()), float(values.std() / math.sqrt(len(values))))
