"""Networks of the time before EDM, which predict noise (Ho et al. 2020, arXiv 2006.11239), as HVPs."""

from typing import Annotated, Any, ClassVar

from torch import Tensor, nn

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.models import CLOCKS
from hgfctl.engine.models.clocks import Clock
from hgfctl.engine.models.hvp import HVP, SIGMA_SEEN
from hgfctl.engine.phase_space import over
from hgfctl.engine.provided import FLOW, NETWORK


class NoisePredictor(HVP):
    """V from Z(y, sigma) = eps(c_in y, time(sigma)), the noise z in y = x0 + sigma z (Ho et al. 2020).

    With S = sd^2 + sigma^2, what `HVP` asks a network for is N = E[(sd z - sigma x0 / sd) / sqrt(S)] at
    u = y / sqrt(S), whatever the linear flow; and x0 = y - sigma z, so

        N(u, sigma) = (sqrt(S) Z(sqrt(S) u, sigma) - sigma u) / sd .

    Args:
        network: eps(x, time, labels).
        flow: a linear one.
        clock: name and options of the clock, which gives c_in and time.
    """

    linear_only: ClassVar[bool] = True
    exchanges_networks: ClassVar[bool] = False

    def __init__(
        self, network: Annotated[nn.Module, NETWORK], flow: Annotated[Flow, FLOW], clock: dict[str, Any]
    ) -> None:
        if not isinstance(flow, LinearFlow):
            raise ValueError("noise is defined for linear flows: oscillation, diffusion, flow-matching")
        super().__init__(network, flow)
        options = {key: value for key, value in clock.items() if key != "name"}
        self.clock: Clock = CLOCKS.build(clock.get("name", ""), options)

    def _network(self, x: Tensor, t: Tensor, labels: Tensor | None, augmented: Tensor | None = None) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        low, high = self.clock.ends
        sigma = self.flow.sigma(t).clamp(max(low, SIGMA_SEEN[0]), min(high, SIGMA_SEEN[1]))
        size = (self.flow.sd**2 + sigma**2).sqrt()
        scaled, time = over(self.clock.c_in(sigma) * size, x).to(x.dtype) * x, self.clock.time(sigma)
        condition = (labels,) if augmented is None else (labels, augmented)
        z: Tensor = self.network(scaled.to(dtype), time.to(dtype).expand(len(x)), *condition).to(x.dtype)
        return (over(size, x).to(x.dtype) * z - over(sigma, x).to(x.dtype) * x) / self.flow.sd
