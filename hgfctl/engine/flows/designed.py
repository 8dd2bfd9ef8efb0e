"""A flow of a force and a velocity law that the user chooses (HSM24, section 5: "designing force fields")."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from hgfctl.engine.flows.flow import Flow, require_positive
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.priors import Prior, PriorReport, fitted, restored
from hgfctl.engine.flows.velocity_laws import VelocityLaw
from hgfctl.engine.randomness import generator


@dataclass(frozen=True, kw_only=True)
class Designed(Flow):
    """dx/dt = v, dv/dt = F(x, v, t), v0 by the law.

    Args:
        sd: see `Flow`.
        force_field: F.
        law: of v0.
        duration: T.
        shape: of an item.
        prior_kind: what is fitted to x_T where the prior has no formula, see `priors.fitted`.
        found: what was fitted.
        report: how well it fits.
    """

    force_field: Force
    law: VelocityLaw
    duration: float
    shape: tuple[int, ...]
    prior_kind: str = "auto"
    found: Prior | None = field(default=None, repr=False, compare=False)
    report: PriorReport | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("duration (T)", self.duration)
        self.force_field.check(self.shape)

    @property
    def T(self) -> float:
        return self.duration

    @property
    def velocity_law(self) -> VelocityLaw:
        return self.law

    @property
    @abstractmethod
    def exact_prior(self) -> Prior | None:
        """The law of x_T, where a formula gives it."""

    @property
    def prior(self) -> Prior:
        known = self.exact_prior or self.found
        if known is None:
            raise RuntimeError("the prior of this flow has to be measured first, on data: Flow.measured")
        return known

    def force(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return self.force_field(x, v, t)

    def measured(self, x0: Tensor) -> Self:
        """Flies half of the data to fit a prior, and the other half to test it."""
        if self.exact_prior is not None:
            return self
        ends = self.state(x0, self.test_noise(x0), torch.tensor(self.T, dtype=torch.float64)).x.double()
        half = len(ends) // 2
        found, report = fitted(self.prior_kind, ends[:half], ends[half:])
        return replace(self, found=found, report=report)

    def test_noise(self, x0: Tensor) -> Tensor:
        """Always the same normal draws, in the shape of the data."""
        return torch.randn(x0.shape, generator=generator("test flights"), dtype=x0.dtype).to(x0.device)

    def tensors(self) -> dict[str, Tensor]:
        if self.found is None:
            return {}
        return {f"prior.{name}": tensor for name, tensor in self.found.tensors().items()}

    def restored(self, tensors: Mapping[str, Tensor]) -> Self:
        own = {name.removeprefix("prior."): part for name, part in tensors.items() if name.startswith("prior.")}
        return replace(self, found=restored(own)) if own else self
