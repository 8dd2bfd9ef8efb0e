"""The Hamiltonian velocity predictor: a network, a flow, and the preconditioner between them."""

import copy
from typing import Annotated, NamedTuple, Self

from torch import Tensor, nn

from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.preconditioning import precondition
from hgfctl.engine.phase_space import over
from hgfctl.engine.provided import FLOW, NETWORK

SIGMA_SEEN = (0.002, 80.0)
"""Where the noise level that a network sees ends; ln(sigma) itself diverges at the data and at the prior."""


class Target(NamedTuple):
    """What the network says and what it should say, (B, *D) each, both of unit variance."""

    predicted: Tensor
    wanted: Tensor


class HVP(nn.Module):
    """V(x, t) = c_skip x + c_out N(c_in (x - centre), ln(sigma(t))/4, labels)  (theory: `flows.preconditioning`).

    Coefficients are computed in float64; the network runs in the type of its weights.

    Args:
        network: N, see `hgfctl.engine.models`.
        flow: gives the preconditioner and the clock.
    """

    def __init__(self, network: Annotated[nn.Module, NETWORK], flow: Annotated[Flow, FLOW]) -> None:
        super().__init__()
        self.network = network
        self.flow = flow

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
        said = self._network(basis.items(c_in * modes), t, labels, augmented).to(x.dtype)
        return self.flow.tangent(x, basis.items(c_skip * modes + c_out * basis.modes(said)))

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
        said = self._network(basis.items(c_in * modes), t, labels, augmented).to(x.dtype)
        wanted = basis.items((basis.modes(v) - c_skip * modes) / c_out)
        return Target(self.flow.tangent(x, said), wanted)

    def _modes(self, x: Tensor, t: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x from the flow's centre, in its basis, and the preconditioner there."""
        modes = self.flow.basis.modes(x - self.flow.centre)
        return modes, [over(c, modes).to(modes.dtype) for c in precondition(self.flow, t)]

    def _network(self, x: Tensor, t: Tensor, labels: Tensor | None, augmented: Tensor | None = None) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        noise = self.flow.sigma(t).clamp(*SIGMA_SEEN).log() / 4
        condition = (labels,) if augmented is None else (labels, augmented)
        return self.network(x.to(dtype), noise.to(dtype).expand(len(x)), *condition)


def parameter_count(module: nn.Module) -> int:
    """How many numbers its weights are."""
    return sum(p.numel() for p in module.parameters())
