"""Any linear flow sampled as an oscillation: another time and another scale, the same network."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine.flows.conversions import (
    denoiser_from_hvp,
    hvp_from_denoiser_and_noise,
    noise_from_hvp,
)
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.phase_space import Velocity
from hgfctl.engine.solvers.adams_bashforth import AB2, AB3, AB4
from hgfctl.engine.solvers.adams_moulton import ABM2, ABM3
from hgfctl.engine.solvers.linear import LinearSolver
from hgfctl.engine.solvers.solver import Solver


@dataclass(frozen=True)
class Rotated(LinearSolver):
    """A solver on the oscillation (alpha = 1, s = sd) that has the same denoiser as the flow.

    With theta = atan(sigma / sd) and r = sqrt(a^2 + (b / sd)^2), x / r = cos(theta) x0 + sd sin(theta) z: its velocity
    in theta is -sin(theta) D + sd cos(theta) Z, smooth at both ends. For an oscillation with s = sd nothing changes.

    Args:
        base: the method, for dx/dtheta.
    """

    base: Solver

    @property
    def name(self) -> str:
        return f"angle-{self.base.name}"

    def steps(self, nfe: int) -> int:
        return self.base.steps(nfe)

    def cost(self, steps: int) -> int:
        return self.base.cost(steps)

    def linear_trajectory(self, velocity: Velocity, flow: LinearFlow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        turned = Oscillation(sd=flow.sd)
        a, b, _, _ = flow.path(times)
        scale, angles = torch.hypot(a, b / flow.sd), torch.atan2(b, a.clamp_min(0) * flow.sd)
        places = dict(zip(angles.tolist(), zip(times, scale, strict=True), strict=True))

        def rotating(y: Tensor, angle: Tensor) -> Tensor:
            t, r = places.get(float(angle)) or _place(flow, angle)
            x = r.to(y) * y
            v = velocity(x, t)
            denoised, noise = denoiser_from_hvp(flow, x, t, v), noise_from_hvp(flow, x, t, v)
            return hvp_from_denoiser_and_noise(turned, y, angle, denoised, noise)

        for y, r in zip(self.base.trajectory(rotating, turned, start / scale[0].to(start), angles), scale, strict=True):
            yield r.to(y) * y


def _place(flow: LinearFlow, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Time and scale at an angle between those of the grid."""
    t = flow.time(flow.sd * torch.tan(angle))
    a, b, _, _ = flow.path(t)
    return t, torch.hypot(a, b / flow.sd)


ANGLE_AB2, ANGLE_AB3, ANGLE_AB4 = Rotated(AB2), Rotated(AB3), Rotated(AB4)
ANGLE_ABM2, ANGLE_ABM3 = Rotated(ABM2), Rotated(ABM3)
