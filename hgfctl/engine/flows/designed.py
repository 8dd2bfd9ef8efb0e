"""A flow of a force and a velocity law that the user chooses (HSM24, section 5: "designing force fields")."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.priors.fit import Fit
from hgfctl.engine.flows.priors.mixture import MixturePrior
from hgfctl.engine.flows.priors.prior import Prior
from hgfctl.engine.flows.priors.report import PriorReport, prior_report
from hgfctl.engine.flows.velocity_laws.law import COLLAPSED, VelocityLaw
from hgfctl.engine.randomness import generator
from hgfctl.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Designed(Flow):
    """dx/dt = v, dv/dt = F(x, v, t), v0 by the law.

    Args:
        sd: see `Flow`.
        force_field: F.
        law: of v0.
        duration: T.
        shape: of an item.
        fit: makes a prior of end points x_T, where no formula gives their law.
        found: what was fitted.
        report: how well it fits.
    """

    force_field: Force
    law: VelocityLaw
    duration: float
    shape: tuple[int, ...]
    fit: Fit
    found: MixturePrior | None = field(default=None, repr=False, compare=False)
    report: PriorReport | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive("duration (T)", self.duration)
        self.force_field.check(self.shape)

    @property
    def name(self) -> str:
        return "designed"

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

    @property
    def measures(self) -> bool:
        return self.exact_prior is None

    def measured(self, x0: Tensor) -> Self:
        return self.with_prior(self.state(x0, self.test_noise(x0), torch.tensor(self.T, dtype=torch.float64)).x)

    def with_prior(self, ends: Tensor) -> Self:
        """With a prior that is fitted to half of the end points x_T (N, *D) and tested on the others."""
        ends = ends.double()
        if not float(ends.std(0).max()) > COLLAPSED * self.sd:
            raise RequestError(
                f"under this force x_T shrinks to a point, T = {self.T:g}: nothing can be drawn from that; a shorter "
                "duration"
            )
        half = len(ends) // 2
        try:
            name, found = self.fit(ends[:half])
        except ValueError as error:
            raise RequestError(f"the prior of this flow cannot be fitted: {error}") from None
        return replace(self, found=found, report=prior_report(name, found, ends[half:]))

    @property
    def remark(self) -> str | None:
        return self.report.line if self.report else None

    def test_noise(self, x0: Tensor) -> Tensor:
        """Always the same normal draws, in the shape of the data, dealt out as the law does (among all classes)."""
        z = torch.randn(x0.shape, generator=generator("test flights"), dtype=x0.dtype).to(x0.device)
        return self.law.paired(x0, z, None)

    def tensors(self) -> dict[str, Tensor]:
        if self.found is None:
            return {}
        return {f"prior.{name}": tensor for name, tensor in self.found.tensors().items()}

    def restored(self, tensors: Mapping[str, Tensor]) -> Self:
        own = {name.removeprefix("prior."): part for name, part in tensors.items() if name.startswith("prior.")}
        return replace(self, found=MixturePrior.from_tensors(own)) if own else self
