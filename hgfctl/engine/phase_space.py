"""Points of phase space and times: what integrators, flows and solvers have in common."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]
"""A velocity field V(x, t): x of shape (B, *D), t a scalar or (B,) tensor of times -> (B, *D)."""


class State(NamedTuple):
    """A point of phase space: position x and velocity v, both (B, *D)."""

    x: Tensor
    v: Tensor


def over(t: Tensor, x: Tensor) -> Tensor:
    """A quantity that depends on time, () or (B,), shaped so that it multiplies x of shape (B, *D)."""
    return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)) if t.ndim else t


def as_times(t: float | Tensor, like: Tensor) -> Tensor:
    """Times as a float64 tensor on the device of `like` (float32 where the device has no float64)."""
    dtype = torch.float32 if like.device.type == "mps" else torch.float64
    return torch.as_tensor(t, dtype=dtype, device=like.device)
