"""Score models: F(x), an estimate of grad log pi(x), from any network of the room."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from hgfctl.engine.models.model import Field as Field
from hgfctl.engine.models.model import Model
from hgfctl.engine.provided import NETWORK
from hgfctl.errors import RequestError


class Score(Model):
    """A free vector field, or the gradient of an energy.

        free            F(x) = N(u) / sd,                                  u = x / sd
        conservative    F(x) = -grad_x E(u),    E(u) = |u - N(u)|^2 / 2    (Salimans and Ho 2021, EBLR workshop)

    The second is a gradient whatever the weights are, and costs a backward pass through N for every evaluation.

    Args:
        network: N(x, noise, labels), see `hgfctl.engine.models`; noise is 0, there is none.
        sd: root mean square of the data per coordinate; measured before training when a preset leaves it out.
        conservative: True for the second.
    """

    described: ClassVar[str] = "a score"
    samplers: ClassVar[tuple[str, ...]] = ("hmc",)

    def __init__(self, network: Annotated[nn.Module, NETWORK], sd: float = 0.5, conservative: bool = False) -> None:
        super().__init__()
        self.network = network
        self.sd: float = sd
        self.conservative = conservative

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """x (B, *D), labels (B,) or None -> (B, *D) in the type of x; differentiable in x and in the weights."""
        if not self.conservative:
            return self._network(x, labels) / self.sd
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            here = x if x.requires_grad else x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.energy(here, labels).sum(), here, create_graph=differentiable)
        return -gradient

    def loss_scale(self, numbers: int) -> float:
        return numbers / self.sd**2

    @property
    def root_mean_square(self) -> float:
        return self.sd

    def score_field(self, sigma: float | None = None) -> Field:
        if sigma is not None:
            raise RequestError("`noise`: this is the score of the data themselves; leave it out")
        return self

    def energy(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """E(x) up to a constant, in nats: (B, *D) -> (B,); conservative models only.

        Raises:
            ValueError: the field is free, and has no energy.
        """
        if not self.conservative:
            raise ValueError("a free vector field has no energy")
        return 0.5 * (x / self.sd - self._network(x, labels)).square().flatten(1).sum(1)

    def _network(self, x: Tensor, labels: Tensor | None) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        u = (x / self.sd).to(dtype)
        output: Tensor = self.network(u, u.new_zeros(len(u)), labels)
        return output.to(x.dtype)
