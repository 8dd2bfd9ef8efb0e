"""The linear family: x_t = a(t) x0 + b(t) z, v_t = a'(t) x0 + b'(t) z, z ~ N(0, I).

Diffusion, flow matching and oscillation differ in a and b alone; states, moments, clock and prior follow here.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.moments import Moments
from hgfctl.engine.flows.priors.gaussian import GaussianPrior
from hgfctl.engine.phase_space import State, over


class Path(NamedTuple):
    """a(t), b(t) and their time derivatives; each of the shape of t."""

    a: Tensor
    b: Tensor
    da: Tensor
    db: Tensor

    def over(self, x: Tensor) -> "Path":
        """The same, shaped to multiply x of shape (B, *D)."""
        return Path(*(over(part, x) for part in self))

    @property
    def wronskian(self) -> Tensor:
        """a b' - a' b, constant in time and never 0 for every flow here: (x, V) <-> (denoiser, noise) is regular."""
        return self.a * self.db - self.da * self.b


@dataclass(frozen=True)
class LinearFlow(Flow):
    """A flow whose state is linear in (x0, z). A subclass gives `path`, `force`, `velocity_law`, `time` and T."""

    linear: ClassVar[bool] = True
    kind: ClassVar[str] = "a linear flow"
    tuned_as: ClassVar[str] = "oscillation"

    @abstractmethod
    def path(self, t: Tensor) -> Path:
        """a, b, a' and b' at time t."""

    @property
    def prior(self) -> GaussianPrior:
        """N(0, b(T)^2 I): exact where a(T) = 0, as in flow matching and oscillation."""
        return GaussianPrior(self.prior_sd)

    @property
    @abstractmethod
    def prior_sd(self) -> float:
        """b(T)."""

    def state(self, x0: Tensor, z: Tensor, t: Tensor) -> State:
        a, b, da, db = Path(*(part.to(x0.dtype) for part in self.path(t))).over(x0)
        return State(a * x0 + b * z, da * x0 + db * z)

    def moments(self, t: Tensor) -> Moments:
        """The residual is (sd w)^2 / xx, w the Wronskian: sd^2 w^2 is the determinant of the moments' matrix."""
        path = self.path(t)
        a, b, da, db = path
        xx = a**2 * self.sd**2 + b**2
        return Moments(
            xx=xx,
            xv=a * da * self.sd**2 + b * db,
            vv=da**2 * self.sd**2 + db**2,
            residual=(self.sd * path.wronskian) ** 2 / xx,
        )

    def sigma(self, t: Tensor) -> Tensor:
        a, b, _, _ = self.path(t)
        return b / a.clamp_min(1e-30)
