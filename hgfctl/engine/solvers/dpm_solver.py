"""DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095): the linear part of the ODE exactly, the denoiser by a polynomial.

For x_t = a x0 + b z and a denoiser D held constant from t to s, the solution is

    x_s = (b_s / b_t) x_t + (a_s - (b_s / b_t) a_t) D        (first order: DDIM)

which holds at both ends (a_T = 0; b_0 = 0 gives x_0 = D) and depends on the flow through sigma = b/a alone: on the same
sigma grid all linear flows give the same samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from hgfctl.engine.flows.conversions import denoiser_from_hvp
from hgfctl.engine.flows.flow import Flow, Velocity
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.solvers.solver import Solver
from hgfctl.errors import RequestError


@dataclass(frozen=True)
class DPMSolver(Solver):
    """DDIM (order 1) or DPM-Solver++(2M) (order 2); for linear flows.

    The second order extrapolates D in lambda = -ln sigma, D* = D + (h / 2 h_before)(D - D_before), except into t = 0,
    where h is infinite, and out of a T where sigma is infinite.
    """

    order: int

    @property
    def name(self) -> str:
        return "ddim" if self.order == 1 else "dpm++2m"

    def check(self, flow: Flow) -> None:
        if not isinstance(flow, LinearFlow):
            raise RequestError(f"{self.name} needs a linear flow; use euler, heun, rk4 or ab2-ab4 for this one")

    def steps(self, nfe: int) -> int:
        return nfe

    def cost(self, steps: int) -> int:
        return steps

    def trajectory(self, velocity: Velocity, flow: Flow, start: Tensor, times: Tensor) -> Iterator[Tensor]:
        assert isinstance(flow, LinearFlow)
        a, b, _, _ = flow.path(times)
        log_snr = (a.clamp_min(0) / b).log()
        x, before = start, None
        yield x
        for i, t in enumerate(times[:-1]):
            denoised = denoiser_from_hvp(flow, x, t, velocity(x, t))
            guess = denoised
            if self.order == 2 and before is not None and times[i + 1] != 0:
                ratio = (log_snr[i + 1] - log_snr[i]) / (log_snr[i] - log_snr[i - 1])
                guess = denoised + (ratio / 2).to(x) * (denoised - before)
            shrink = b[i + 1] / b[i]
            x = shrink.to(x) * x + (a[i + 1] - shrink * a[i]).to(x) * guess
            before = denoised
            yield x


DDIM = DPMSolver(1)
DPM_SOLVER_2M = DPMSolver(2)
