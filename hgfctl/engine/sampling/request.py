"""A request to sample a model: the method, its budget and options, whoever asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from hgfctl.config import AUTO, Component, SampleSection
from hgfctl.engine.models.guided import Guidance
from hgfctl.engine.sampling.optimized_grids import OptimizedGrid
from hgfctl.errors import RequestError


@dataclass(frozen=True)
class SamplingRequest:
    """A method on a budget.

    Args:
        nfe: budget of network evaluations an item.
        sampler: the method with its options; `auto` is what suits the model.
        grid: the times; `auto` is what suits the method.
        guidance: see `guided_by`.
        searched: grids that were made for the model.
    """

    nfe: int
    sampler: Component
    grid: str = AUTO
    guidance: Guidance | None = None
    searched: Sequence[OptimizedGrid] = ()

    @classmethod
    def of(
        cls,
        section: SampleSection,
        nfe: int | None = None,
        sampler: str | Component | None = None,
        grid: str | None = None,
        guidance: Guidance | None = None,
        searched: Sequence[OptimizedGrid] = (),
    ) -> Self:
        """A request by a configuration's section, with other choices where they are not None."""
        section = section.changed(nfe=nfe, sampler=sampler, grid=grid)
        return cls(section.nfe, section.sampler, section.grid, guidance, searched)

    @property
    def puts_noise_in(self) -> bool:
        """True where a solver is to be stochastic, by churn or restarts."""
        return bool(self.sampler.options.get("churn") or self.sampler.options.get("restart"))

    def refuse_guidance(self, method: str) -> None:
        """Raises RequestError if there is guidance, for a method that takes none."""
        if self.guidance is not None:
            raise RequestError(f"`guidance` is for solvers of flows, such as `sampler=ab4`; {method} takes none")

    def refuse_what_flows_take(self, method: str) -> None:
        """Raises RequestError if there is guidance, a grid, churn or restarts, for a method that takes none of them."""
        self.refuse_guidance(method)
        if self.grid != AUTO:
            raise RequestError(f"grid '{self.grid}' is for HVPs; {method}, which samples this model, takes none")
        if self.puts_noise_in:
            raise RequestError(f"churn and restart are for HVPs; {method}, which samples this model, takes neither")
