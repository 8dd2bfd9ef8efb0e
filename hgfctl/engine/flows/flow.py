"""A Hamiltonian generative flow: a force, a velocity law, a closed-form state and a prior (HSM24, section 3)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.basis import COORDINATES, Basis
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.flows.velocity_laws.law import VelocityLaw
from hgfctl.engine.phase_space import State


@dataclass(frozen=True)
class Flow(ABC):
    """A force field with a velocity law, from which (x_t, v_t) can be drawn, and the prior that x_T follows.

    Args:
        sd: root mean square of the data per coordinate (its standard deviation, where its mean is 0).
    """

    sd: float = 0.5

    linear: ClassVar[bool] = False
    """x_t = a(t) x0 + b(t) z, which solvers of linear flows use."""
    simulated: ClassVar[bool] = False
    """States come from an integrator, not from a formula."""
    separable: ClassVar[bool] = True
    """Any coordinates of an item may be changed without the others."""
    kind: ClassVar[str] = "a flow"
    """The family, in words, for messages."""
    tuned_as: ClassVar[str] = "any"
    """The flow of the table `sampling/best.json` whose solver and grid suit this one."""
    images_tuned_as: ClassVar[str | None] = None
    """The same for images, where another flow's suit them better; None where they do not."""
    natural_grid: ClassVar[str] = "cosine"
    """A time grid that goes with any solver of V."""

    def __post_init__(self) -> None:
        require_positive("sd (the data's root mean square)", self.sd)

    @property
    def name(self) -> str:
        """The name in presets; that of the class where it is not registered."""
        return FLOWS.name_of(type(self))

    @property
    @abstractmethod
    def T(self) -> float:
        """The time at which x_T follows the prior."""

    @property
    @abstractmethod
    def velocity_law(self) -> VelocityLaw:
        """The law of v0 given x0."""

    @property
    @abstractmethod
    def prior(self) -> Prior:
        """The law of x_T."""

    @property
    def centre(self) -> float:
        """The point that coordinates are measured from before they enter a network."""
        return 0.0

    @property
    def walls(self) -> tuple[float, float] | None:
        """(lo, hi) of the box [lo, hi]^d that positions are confined to; None without."""
        return None

    @property
    def domain(self) -> str | None:
        """The set that positions are confined to, in words; None where they may be anywhere."""
        return None

    @property
    def basis(self) -> Basis:
        """The coordinates in which the parts of x move by themselves: those of `moments`."""
        return COORDINATES

    @abstractmethod
    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """F(x, v, t): (B, *D) twice, times -> (B, *D); most forces do not depend on v."""

    @abstractmethod
    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        """(x_t, v_t): in closed form, where there is one.

        Args:
            x0: data (B, *D).
            z: standard normal noise (B, *D), which drives the velocity law.
            t: times, a scalar or (B,).
        """

    @abstractmethod
    def moments(self, t: Tensor) -> Moments:
        """Second moments of (x_t, v_t) per coordinate, for data of root mean square `sd`."""

    def sigma(self, t: Tensor) -> Tensor:
        """The common clock: the noise-to-signal ratio at time t, from 0 (data) to infinity (noise).

        A flow without one of its own goes by that of the oscillation that takes as long: sd tan(pi t / (2 T)).
        """
        return self.sd * torch.tan(math.pi / 2 * (t / self.T)).abs()

    def time(self, sigma: Tensor) -> Tensor:
        """The time at which the clock reads sigma, at most T."""
        return self.T * torch.atan(sigma / self.sd) / (math.pi / 2)

    def confine(self, x: Tensor) -> Tensor:
        """Brings back a position that a finite step carried out of the flow's domain; the identity without walls."""
        return x

    def tangent(self, x: Tensor, v: Tensor) -> Tensor:
        """The part of v that is a velocity at x; all of it where x may go anywhere."""
        return v

    def unfolded(self, velocity: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """V at one time, (B, *D) -> (B, *D), in coordinates in which the domain has no end; V itself without walls.

        `confine` brings a position in these coordinates back.
        """
        return velocity

    def outside(self, x: Tensor) -> Tensor:
        """Where positions (B, *D) leave the flow's domain: a truth value for each coordinate, (B, *D)."""
        return torch.zeros_like(x, dtype=torch.bool)

    @property
    def measures(self) -> bool:
        """True where the flow has to learn something from data before it can be used."""
        return False

    def measured(self, x0: Tensor) -> Self:
        """The flow with what it has to learn from data (N, *D), such as a prior without a closed form."""
        return self

    @property
    def remark(self) -> str | None:
        """A line about how well it was `measured`; None where there is nothing to say."""
        return None

    def tensors(self) -> dict[str, Tensor]:
        """The things that `measured` has learned, for a checkpoint."""
        return {}

    def restored(self, tensors: Mapping[str, Tensor]) -> Self:
        """The flow with what a checkpoint holds, see `tensors`."""
        return self
