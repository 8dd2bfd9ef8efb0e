"""What a solver may be told besides its name: churn, restarts, a tolerance."""

from dataclasses import replace

from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.adaptive import DormandPrince
from hgfctl.engine.solvers.restart import Restart
from hgfctl.engine.solvers.solver import Solver
from hgfctl.engine.solvers.stochastic import ChurnedHeun
from hgfctl.errors import RequestError
from hgfctl.presets import SampleSection

NONE = SampleSection()


def configured(sampler: str, nfe: int, options: SampleSection = NONE) -> Solver:
    """A solver by its name, with what the options add to it.

    Args:
        sampler: a name of the registry.
        nfe: the budget, for a method that has to know it.
        options: `churn` is for heun, `tolerance` for dopri5, `restart` for all others.

    Raises:
        RequestError: an unknown name, or options that do not fit it.
    """
    solver: Solver = SOLVERS[sampler]
    if options.churn and options.restart:
        raise RequestError("churn and restart both put noise back in; choose one")
    if options.churn:
        if sampler != "heun":
            raise RequestError(f"churn is for heun, not {sampler}; --sampler heun")
        levels = options.churn_levels
        return ChurnedHeun(churn=options.churn, levels=levels, strength=options.churn_noise)
    if isinstance(solver, DormandPrince):
        if options.restart:
            raise RequestError("dopri5 keeps a tolerance; restart is for the other samplers")
        return replace(solver, tolerance=options.tolerance, budget=nfe)
    if options.restart:
        return Restart(
            base=solver, repeats=options.restart, levels=options.restart_levels, descent=options.restart_steps
        )
    return solver
