"""Checks of numbers that constructors share; the registry turns their ValueErrors into sentences for users."""

import math


def require_positive(name: str, value: float) -> None:
    """Raises ValueError unless 0 < value < infinity."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be positive and finite, not {value}")


def require_finite(**values: float) -> None:
    """Raises ValueError naming the first that is not finite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, not {value}")
