"""Flow `designed`: a force, a velocity law and a prior of the user's choice."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from hgfctl.engine.checks import require_positive
from hgfctl.engine.flows.designed import Designed
from hgfctl.engine.flows.forces.absent import AbsentForce, lies_elsewhere
from hgfctl.engine.flows.forces.affine import affine, rows
from hgfctl.engine.flows.forces.checked import checked
from hgfctl.engine.flows.forces.choose import ForceContext, Written, chosen
from hgfctl.engine.flows.forces.damped import Proportional
from hgfctl.engine.flows.forces.expression import ExpressionForce
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.forces.linear_force import LinearForce
from hgfctl.engine.flows.forces.matrices import LinearByMatrices
from hgfctl.engine.flows.linear_motion import LinearMotion
from hgfctl.engine.flows.priors import PRIORS
from hgfctl.engine.flows.simulated import Simulated
from hgfctl.engine.flows.velocity_laws import VELOCITY_LAWS
from hgfctl.engine.provided import DATA_SCALE, DURATION, FORCE, FORCE_CONTEXT, ITEM_SHAPE
from hgfctl.registry import Registry, Values


def designed(
    context: Annotated[ForceContext, FORCE_CONTEXT],
    sd: float = 0.5,
    force: Written = "none",
    velocity: str | dict[str, Any] | None = None,
    prior: str | dict[str, Any] = "auto",
    duration: float | None = None,
    steps: int = 64,
    integrator: Literal["leapfrog", "yoshida", "rk4"] | None = None,
    replay: int = 8,
) -> Designed:
    """In closed form where the force is linear in (x, v), else simulated.

    Args:
        context: the shape of items, and what may be read or run.
        sd: see `Flow`.
        force: a name, a formula such as "-x + 0.1*sin(x)", or module:attr; or a mapping of one of these with options.
        velocity: a velocity law; aimed at the prior for linear forces when left out, else gaussian.
        prior: what is fitted to x_T where no formula gives its law.
        duration: T; one that suits the force when left out.
        steps: of the integrator over T, where there is one.
        integrator: leapfrog when left out, or rk4 for forces that depend on v; yoshida is symplectic, too.
        replay: states that training takes of each simulated flight.
    """
    if duration is not None:
        require_positive("duration (T)", duration)
        context = replace(context, duration=duration)
    if context.restoring and lies_elsewhere(force):
        field: Force = AbsentForce(str(force))
    else:
        field = _closed(chosen(force, context), context.shape)
    if lies_elsewhere(force):
        field = checked(field)  # also where it is linear: a checkpoint does not hold its motion
    T = field.natural_duration if isinstance(field, LinearForce) and duration is None else context.duration
    law = _built(
        VELOCITY_LAWS,
        velocity or ("aimed" if isinstance(field, LinearForce) else "gaussian"),
        {DATA_SCALE: sd, ITEM_SHAPE: context.shape, DURATION: T, FORCE: field},
    )
    fit = _built(PRIORS, prior, {})
    common: dict[str, Any] = {"sd": sd, "law": law, "duration": T, "shape": context.shape, "fit": fit}
    if isinstance(field, LinearForce):
        return LinearMotion(force_field=field, **common)
    method = integrator or ("rk4" if field.depends_on_velocity else "leapfrog")
    return Simulated(force_field=checked(field), steps=steps, integrator=method, replay=replay, **common)


def _closed(force: Force, shape: tuple[int, ...]) -> Force:
    """A formula as the linear force that it is, if it is one."""
    if not isinstance(force, ExpressionForce):
        return force
    found = affine(force)
    if found is not None and found.c == 0:
        return Proportional(found.kx, found.kv)
    matrices = rows(force)
    return force if matrices is None else LinearByMatrices(shape, *matrices)


def _built(registry: Registry, written: str | Mapping[str, Any], provided: Values) -> Any:
    options = {"name": written} if isinstance(written, str) else dict(written)
    if "name" not in options:
        raise ValueError(f"{registry.kind}: a name is needed; known: {', '.join(registry)}")
    return registry.build(options.pop("name"), options, provided)
