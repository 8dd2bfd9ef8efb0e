"""Needs of metrics: what the sets that they compare must have."""

from typing import Literal

Need = Literal["statistics", "features", "points"]
"""Mean and covariance of features; features of single images; points (N, d) as they are."""
