"""How well a prior fits: what is drawn from it against fresh trajectories."""

from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.two_sample import two_sample

MISFIT = 0.01
"""p-value below which a prior is said not to fit; one that does is said not to in 1 of 100 cases."""
SMALL = 0.05
"""Shift, in standard deviations a coordinate, below which a difference that is sure matters little: in thousands of
dimensions the test sees the mean of thousands of end points miss by 1 / sqrt(N)."""
MOST = 1000
"""Trajectories that are compared, at most: the test's work grows with their square."""

_INSTEAD = {
    "gaussian": "flow.prior=mixture or bank may",
    "mixture": "more components or flow.prior=bank may",
    "bank": "more points may, or a smaller bandwidth",
}


@dataclass(frozen=True)
class PriorReport:
    """A measured fit.

    Args:
        prior: its name.
        p: of the two-sample test: how often a prior that is right seems as wrong.
        distance: the energy distance.
        shift: the same, as a shift in standard deviations a coordinate; see `TwoSample`.
        count: trajectories, and draws from the prior, that were compared.
    """

    prior: str
    p: float
    distance: float
    shift: float
    count: int

    @property
    def fits(self) -> bool:
        """True where nothing speaks against it."""
        return self.p >= MISFIT

    @property
    def nearly(self) -> bool:
        """True where it fits or misses by little."""
        return self.fits or self.shift < SMALL

    @property
    def line(self) -> str:
        """The verdict, for people."""
        measured = (
            f"prior {self.prior} (measured): energy distance {self.distance:.2g}, as far as a shift by "
            f"{self.shift:.2g} sd, p = {self.p:.3f} against {self.count:,} fresh trajectories"
        )
        if self.fits:
            return f"{measured}: it fits"
        if self.nearly:
            return f"{measured}: it does not fit exactly, but misses by little"
        return f"{measured}: it does not fit; {_INSTEAD.get(self.prior, 'flow.prior=auto may')}"


def prior_report(name: str, prior: Prior, fresh: Tensor) -> PriorReport:
    """Compares end points of trajectories that the prior was not fitted to, (N, *D), N > 1, with as many draws."""
    fresh = fresh[:MOST].detach().cpu().double()
    drawn = prior.sample(tuple(fresh.shape), generator("prior against trajectories", len(fresh)))
    found = two_sample(fresh, drawn)
    return PriorReport(name, found.p, found.distance, found.shift, len(fresh))
