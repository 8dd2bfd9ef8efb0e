"""Velocities that know the data: straight lines to noise (flow matching, Lipman et al. 2023, arXiv 2210.02747)."""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.flows.priors.gaussian import GaussianPrior
from hgfctl.engine.flows.velocity_laws.law import InitialMoments, VelocityLaw
from hgfctl.engine.provided import DataScale, Duration


@dataclass(frozen=True)
class CoupledVelocity(VelocityLaw):
    """v0 = (sd z - x0) / T: the straight line that ends at x1 = sd z at time T, where no force acts.

    Args:
        sd: standard deviation of x1, a coordinate.
        duration: T.
    """

    sd: float
    duration: float = 1.0

    def __post_init__(self) -> None:
        if self.sd <= 0:
            raise ValueError(f"s (the standard deviation of where lines end) must be positive, not {self.sd}")

    def __call__(self, x0: Tensor, z: Tensor) -> Tensor:
        return (self.sd * z - x0) / self.duration

    def moments(self, sd: float) -> InitialMoments:
        return InitialMoments(-(sd**2) / self.duration, (self.sd**2 + sd**2) / self.duration**2)

    def end_prior(self, force: LinearForce, duration: float, shape: tuple[int, ...], sd: float) -> GaussianPrior | None:
        """N(0, sd^2 I), where lines are straight."""
        return GaussianPrior(self.sd) if force.free else None


def flow_matching(data_sd: DataScale, duration: Duration, s: float | None = None) -> CoupledVelocity:
    """Straight lines from each item to independent noise.

    Args:
        data_sd: root mean square of the data a coordinate.
        duration: T.
        s: standard deviation of x1; the data's own when left out.
    """
    return CoupledVelocity(data_sd if s is None else s, duration)
