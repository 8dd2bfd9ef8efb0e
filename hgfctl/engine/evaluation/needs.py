"""What metrics need of the sets that they compare."""

from typing import Literal

Need = Literal["statistics", "features", "points"]
"""Mean and covariance of features; features of single images; points (N, d) as they are."""
