"""How a trained model is sampled: by which method, and guided by what."""

from collections.abc import Sequence
from typing import Any

from hgfctl.engine.models.guided import Guidance, Guided
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.noised_score import NoisedScore, ScoreHVP
from hgfctl.engine.models.score import Score
from hgfctl.engine.sampling.consistency import ConsistencySampler
from hgfctl.engine.sampling.hmc import HMCSampler
from hgfctl.engine.sampling.langevin import LangevinSampler
from hgfctl.engine.sampling.optimized_grids import OptimizedGrid
from hgfctl.engine.sampling.plan import Plan, plan
from hgfctl.engine.sampling.sampler import FlowSampler, Sampler
from hgfctl.errors import RequestError
from hgfctl.presets import SampleSection


def sampler_of(
    model: HVP | Score | NoisedScore,
    shape: tuple[int, ...],
    classes: int,
    default: SampleSection,
    nfe: int | None = None,
    sampler: str | None = None,
    grid: str | None = None,
    guidance: Guidance | None = None,
    searched: Sequence[OptimizedGrid] = (),
) -> Sampler:
    """How a model is sampled.

    Args:
        model: in evaluation mode.
        shape, classes: of the items.
        default: the preset's choices, taken where the others are None.
        nfe, sampler, grid: budget, method and grid.
        guidance: see `guided_by`.
        searched: grids made for this model.

    Raises:
        RequestError: an unknown or unfit method or grid, or too small a budget.
    """
    nfe, sampler, grid = nfe or default.nfe, sampler or default.sampler, grid or default.grid
    if default.sampler == "consistency":
        if sampler not in ("auto", "consistency"):
            raise RequestError(f"sampler '{sampler}' follows a flow, and this is a consistency model; leave it out")
        sampler = "consistency"
    own = "" if isinstance(model, HVP) else {Score: "hmc", NoisedScore: "langevin"}[type(model)]
    if sampler in ("hmc", "langevin") and sampler != own:
        raise RequestError(f"sampler '{sampler}' is not for this model; {own or 'auto'} is")
    if sampler == "consistency" and isinstance(model, HVP):
        if guidance is not None:
            raise RequestError("--guidance is for solvers of flows, such as --sampler ab4; consistency takes none")
        if default.churn or default.restart:
            raise RequestError("churn and restart are for solvers of flows; consistency puts noise in by itself")
        return ConsistencySampler(shape, classes, model, nfe, **({} if grid == "auto" else {"grid": grid}))
    how: dict[str, Any] = {"nfe": nfe, "sampler": sampler, "grid": grid, "shape": shape, "options": default}
    how["searched"] = searched
    if isinstance(model, HVP):
        return FlowSampler(shape, classes, *_planned(model, guidance, **how))
    if isinstance(model, Score) and sampler not in ("auto", own):
        raise RequestError(f"sampler '{sampler}' is for HVPs; a score is sampled by hmc")
    if isinstance(model, NoisedScore) and sampler not in ("auto", own):
        return FlowSampler(shape, classes, *_planned(ScoreHVP(model), guidance, **how))
    if guidance is not None:
        raise RequestError(f"--guidance is for solvers of flows, such as --sampler ab4; {own} takes none")
    if grid != "auto":
        raise RequestError(f"grid '{grid}' is for HVPs; {own}, which samples this model, takes none")
    if default.churn or default.restart:
        raise RequestError(f"churn and restart are for HVPs; {own}, which samples this model, takes neither")
    chosen = {} if default.step is None else {"step": default.step}
    if isinstance(model, Score):
        return HMCSampler(shape, classes, model, nfe, flight=default.flight, **chosen)
    return LangevinSampler(shape, classes, model, nfe, friction=default.friction, **chosen)


def _planned(hvp: HVP, guidance: Guidance | None, **how: Any) -> tuple[HVP, Plan]:
    """A predictor, guided or not, and the plan by which it is sampled; `how` are arguments of `plan`."""
    if guidance is None:
        return hvp, plan(hvp.flow, **how)
    guided = Guided(hvp, guidance)
    chosen = plan(hvp.flow, **how, price=guided.evaluations)
    if guidance.interval and guidance.weight not in (0, 1) and not chosen.extra:
        raise RequestError(
            f"{guidance}: of {chosen.nfe} calls by {chosen.solver.name} on {chosen.grid} none lies there; "
            "a wider --guidance-interval or a larger --nfe"
        )
    return guided, chosen
