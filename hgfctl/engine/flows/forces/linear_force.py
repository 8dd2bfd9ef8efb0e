"""Forces that are linear in (x, v): their motion is known, and never simulated."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from hgfctl.engine.flows.basis import COORDINATES
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.motion import Algebra, Modes, Motion


class LinearForce(Force):
    """F = K x + G v with known motion (x0, v0) -> (x_t, v_t)."""

    free: ClassVar[bool] = False
    """F = 0: lines are straight."""

    @property
    def algebra(self) -> Algebra:
        """How the motion's coefficients act."""
        return Modes(COORDINATES)

    @property
    def natural_duration(self) -> float:
        """A time after which to end, where the force has one of its own."""
        return 1.0

    @abstractmethod
    def motion(self, t: Tensor, shape: tuple[int, ...]) -> Motion:
        """From time 0 to t.

        Args:
            t: () or (B,), float64.
            shape: of an item.
        """


def column(t: Tensor, axes: int) -> Tensor:
    """Times () or (B,) with a leading axis, and `axes` axes of one after it."""
    return t.reshape(-1, *[1] * axes)


def oscillator(k: Tensor | complex, g: Tensor | complex, t: Tensor) -> Motion:
    """The motion of x'' = -k x - g x', for any complex k and g, at critical damping too.

    x_t = exp(-g t/2) [(C + g/2 S) x0 + S v0] with C = cos(w t), S = sin(w t) / w, w^2 = k - g^2/4: even in w.

    Args:
        k, g: numbers, or tensors that broadcast with t.
        t: float64.

    Returns:
        Complex coefficients; real ones where k and g are real.
    """
    k, g = (torch.as_tensor(c, dtype=torch.complex128, device=t.device) for c in (k, g))
    w = (k - g * g / 4).sqrt()
    phase, decay = w * t, torch.exp(-g * t / 2)
    small = phase.abs() < 1e-3
    safe = torch.where(small, 1.0, phase)
    series = 1 - phase**2 / 6 + phase**4 / 120
    cos, sin = torch.cos(phase), t * torch.where(small, series, torch.sin(safe) / safe)
    motion = Motion(
        xx=decay * (cos + g / 2 * sin),
        xv=decay * sin,
        vx=-decay * k * sin,
        vv=decay * (cos - g / 2 * sin),
    )
    real = not bool((k.imag != 0).any() or (g.imag != 0).any())
    return Motion(*(part.real for part in motion)) if real else motion
