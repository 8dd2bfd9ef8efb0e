"""The Hamiltonian velocity predictor: a network, a flow, and the preconditioner between them."""

import copy
from typing import Annotated, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from hgfctl.engine.flows import flow_name
from hgfctl.engine.flows.conversions import noise_from_hvp
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.flows.preconditioning import precondition
from hgfctl.engine.models.model import Field, Model, require_noise_level
from hgfctl.engine.phase_space import over
from hgfctl.engine.provided import FLOW, NETWORK
from hgfctl.errors import RequestError

SIGMA_SEEN = (0.002, 80.0)
"""Where the noise level that a network sees ends; ln(sigma) itself diverges at the data and at the prior."""


class Target(NamedTuple):
    """The network's output and the output that it should have, (B, *D) each, both of unit variance."""

    predicted: Tensor
    wanted: Tensor


class HVP(Model):
    """V(x, t) = c_skip x + c_out N(c_in (x - centre), ln(sigma(t))/4, labels)  (theory: `flows.preconditioning`).

    Coefficients are computed in float64; the network runs in the type of its weights.

    Args:
        network: N, see `hgfctl.engine.models`.
        flow: gives the preconditioner and the clock.
    """

    described: ClassVar[str] = "an HVP"
    samplers: ClassVar[tuple[str, ...]] = ("flow", "consistency")
    exchanges_networks: ClassVar[bool] = True
    flow: Flow

    def __init__(self, network: Annotated[nn.Module, NETWORK], flow: Annotated[Flow, FLOW]) -> None:
        super().__init__()
        self.network = network
        self.flow = flow

    @property
    def root_mean_square(self) -> float:
        return self.flow.sd

    def as_hvp(self) -> "HVP":
        return self

    def score_field(self, sigma: float | None = None) -> Field:
        """The score of data with noise sigma; see `score_of_hvp`."""
        return score_of_hvp(self, require_noise_level(sigma))

    def under(self, flow: Flow) -> Self:
        """The same network as the predictor of another linear flow of the same data, exactly.

        N is asked for (v - c_skip x) / c_out. With (x, v) = (a x0 + b z, a' x0 + b' z) and S = sd^2 + sigma^2 this is
        (sd z - sigma x0 / sd) / sqrt(S), seen from c_in x = (x0 + sigma z) / sqrt(S): nothing but sigma = b/a is left
        of the flow, whatever its prior is. The weights are shared, not copied.
        """
        other = copy.copy(self)
        other.flow = flow
        return other

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None) -> Tensor:
        """V(x, t): x (B, *D), t () or (B,), labels (B,) or None -> (B, *D) in the type of x.

        augmented: see `target`.
        """
        basis = self.flow.basis
        modes, (c_in, c_skip, c_out) = self._modes(x, t)
        output = self._network(basis.items(c_in * modes), t, labels, augmented).to(x.dtype)
        return self.flow.tangent(x, basis.items(c_skip * modes + c_out * basis.modes(output)))

    def target(
        self, x: Tensor, v: Tensor, t: Tensor, labels: Tensor | None = None, augmented: Tensor | None = None
    ) -> Target:
        """The regression problem that training solves: N against (v - c_skip x) / c_out.

        Args:
            x, v: (B, *D), of the flow at times t.
            t: () or (B,).
            labels: (B,) or None.
            augmented: (B, numbers) that say how the data were augmented; None where they were not.
        """
        basis = self.flow.basis
        modes, (c_in, c_skip, c_out) = self._modes(x, t)
        output = self._network(basis.items(c_in * modes), t, labels, augmented).to(x.dtype)
        wanted = basis.items((basis.modes(v) - c_skip * modes) / c_out)
        return Target(self.flow.tangent(x, output), wanted)

    def _modes(self, x: Tensor, t: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x from the flow's centre, in its basis, and the preconditioner there."""
        modes = self.flow.basis.modes(x - self.flow.centre)
        return modes, [over(c, modes).to(modes.dtype) for c in precondition(self.flow, t)]

    def _network(self, x: Tensor, t: Tensor, labels: Tensor | None, augmented: Tensor | None = None) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        noise = self.flow.sigma(t).clamp(*SIGMA_SEEN).log() / 4
        condition = (labels,) if augmented is None else (labels, augmented)
        output: Tensor = self.network(x.to(dtype), noise.to(dtype).expand(len(x)), *condition)
        return output


def score_of_hvp(hvp: HVP, sigma: float) -> Field:
    """The score of data with noise sigma, from a flow's predictor: F(y) = -Z / sigma at x_t = a y, where b = a sigma.

    Args:
        hvp: of a linear flow.
        sigma: the noise level, which the clock of the flow must reach.

    Raises:
        RequestError: the flow is not linear, or its clock ends before sigma.
    """
    flow = hvp.flow
    if not isinstance(flow, LinearFlow):
        raise RequestError(
            f"a flow of {flow_name(flow)} predicts no score; those of diffusion, flow-matching and oscillation do"
        )
    t = flow.time(torch.tensor(sigma, dtype=torch.float64))
    reached = float(flow.sigma(t))
    if not abs(reached - sigma) <= 1e-6 * sigma:
        raise RequestError(f"this flow's noise ends at sigma {reached:g}, and {sigma:g} lies beyond")
    a = flow.path(t).a

    def field(y: Tensor, labels: Tensor | None) -> Tensor:
        when = t.to(y.device, torch.float32 if y.device.type == "mps" else torch.float64)
        x = a.to(y) * y
        return -noise_from_hvp(flow, x, when, hvp(x, when, labels)) / sigma

    return field


def parameter_count(module: nn.Module) -> int:
    """How many numbers its weights are."""
    return sum(p.numel() for p in module.parameters())
