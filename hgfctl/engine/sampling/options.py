"""Options of samplers: fields that a solver or a kind of sampler declares, and two that make a solver stochastic.

A class names its fields in `options`; their annotations are the schema and their values the defaults. So a solver with
an option of its own is one file and one line in the registry:

    @dataclass(frozen=True)
    class Ralston(OneStep):
        options = ("alpha",)
        alpha: PositiveFloat = 2 / 3

and `sampler: {name: ralston, alpha: 0.5}` sets it. `Churn` and `Restarts` are options of the solvers of flows, too, and
wrap them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, get_type_hints

from pydantic import ConfigDict, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, ValidationError
from pydantic import create_model as schema_of

from hgfctl.config import AUTO, Component
from hgfctl.engine.sampling import FLOW, SAMPLERS
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.restart import Restart
from hgfctl.engine.solvers.solver import Solver
from hgfctl.engine.solvers.stochastic import ChurnedHeun
from hgfctl.errors import RequestError, unknown
from hgfctl.registry import first_problem

Declared = dict[str, tuple[Any, Any]]
"""Option -> (annotation, default)."""


@dataclass(frozen=True)
class Churn:
    """Options that put noise back in at every step, as EDM does (Karras et al. 2022); heun only.

    Args:
        churn: S_churn; 0 for none.
        churn_levels: S_min and S_max, noise levels between which there is churn, for data of root mean square 0.5.
        churn_noise: S_noise, standard deviation of the noise that churn puts in.
    """

    options: ClassVar[tuple[str, ...]] = ("churn", "churn_levels", "churn_noise")
    solver: ClassVar[str] = "heun"

    churn: NonNegativeFloat = 0.0
    churn_levels: tuple[NonNegativeFloat, PositiveFloat] = (0.0, 1000.0)
    churn_noise: PositiveFloat = 1.0

    def around(self, solver: Solver, name: str) -> Solver:
        """The solver with churn.

        Raises:
            RequestError: it is another one than heun.
        """
        _check_rising("churn_levels", self.churn_levels)
        if not self.churn:
            return solver
        if name != self.solver:
            raise RequestError(f"churn is for {self.solver}, not {name}; `sampler={self.solver}`")
        return ChurnedHeun(churn=self.churn, levels=self.churn_levels, strength=self.churn_noise)


@dataclass(frozen=True)
class Restarts:
    """Options that go back to more noise and down again (Xu et al. 2023); every solver that does not keep a tolerance.

    Args:
        restart: how many times; 0 for none.
        restart_levels: noise levels between which a restart goes, for data of root mean square 0.5.
        restart_steps: steps of the way down again.
    """

    options: ClassVar[tuple[str, ...]] = ("restart", "restart_levels", "restart_steps")

    restart: NonNegativeInt = 0
    restart_levels: tuple[PositiveFloat, PositiveFloat] = (0.06, 0.3)
    restart_steps: PositiveInt = 3

    def around(self, solver: Solver, name: str) -> Solver:
        """The solver with restarts.

        Raises:
            RequestError: it is adaptive.
        """
        _check_rising("restart_levels", self.restart_levels)
        if not self.restart:
            return solver
        if solver.adaptive:
            raise RequestError(f"{name} keeps a tolerance; restart is for the other samplers")
        return Restart(base=solver, repeats=self.restart, levels=self.restart_levels, descent=self.restart_steps)


def configured(chosen: Component, nfe: int, name: str | None = None) -> Solver:
    """A solver with its options.

    Args:
        chosen: as a configuration names it.
        nfe: the budget, for a method that has to know it.
        name: the solver that stands for `auto`, which takes of the options those that it has.

    Raises:
        RequestError: an unknown name, or options that do not fit it.
    """
    name = name or chosen.name
    solver: Solver = SOLVERS[name]
    own = declared(solver)
    values = checked(chosen, own | declared(Churn) | declared(Restarts), name)
    churn = Churn(**{key: values[key] for key in Churn.options})
    restarts = Restarts(**{key: values[key] for key in Restarts.options})
    if churn.churn and restarts.restart:
        raise RequestError("churn and restart both put noise back in; choose one")
    if own:
        solver = replace(solver, **{key: values[key] for key in own})  # type: ignore[type-var]
    return restarts.around(churn.around(solver.within(nfe), name), name)


def declared(component: Any) -> Declared:
    """The options of a solver, or of a class.

    Args:
        component: a dataclass or an instance of one, with `options`.
    """
    if not component.options:
        return {}
    hints = get_type_hints(component if isinstance(component, type) else type(component), include_extras=True)
    known = {field.name for field in fields(component)}
    assert known >= set(component.options), f"{component}: options are fields"
    return {key: (hints[key], getattr(component, key)) for key in component.options}


def checked(chosen: Component, known: Declared, name: str) -> dict[str, Any]:
    """The values of all options of a sampler, those that are given and the defaults of the rest.

    Args:
        chosen: as a configuration names it; of `auto` options for other samplers are left out.
        known: the options that there are.
        name: the sampler.

    Raises:
        RequestError: an unknown option, or a value that its annotation does not admit.
    """
    every = _of_any_sampler() if chosen.name == AUTO and chosen.options else known
    for key in chosen.options:
        if key not in every:
            raise unknown("option", f"sampler.{key}", [f"sampler.{each}" for each in every], f"of {chosen.name}")
    return _validated({key: value for key, value in chosen.options.items() if key in known}, known)


def with_defaults(chosen: Component) -> Component:
    """A sampler with all of its options written out, as plain YAML values; `auto` has those that it was given.

    Raises:
        RequestError: an unknown sampler or option, or a value that its annotation does not admit.
    """
    if chosen.name == AUTO:
        checked(chosen, {key: option for key, option in _of_any_sampler().items() if key in chosen.options}, AUTO)
        return chosen
    if kind_of(chosen.name) != FLOW:
        own = declared(SAMPLERS[chosen.name])
        return Component(name=chosen.name, options=_plain(checked(chosen, own, chosen.name)))
    configured(chosen, 1)
    own = declared(SOLVERS[chosen.name])
    for wrapper in (Churn, Restarts):
        own |= declared(wrapper) if chosen.options.get(wrapper.options[0]) else {}
    given = Component(name=chosen.name, options={key: chosen.options[key] for key in chosen.options if key in own})
    return Component(name=chosen.name, options=_plain(checked(given, own, chosen.name)))


def kind_of(name: str) -> str:
    """The kind of sampler that a name stands for.

    Raises:
        RequestError: unknown.
    """
    if name in SOLVERS:
        return FLOW
    own = [kind for kind in SAMPLERS if kind != FLOW]
    if name not in own:
        raise unknown("sampler", name, [AUTO, *SOLVERS, *own])
    return name


def _of_any_sampler() -> Declared:
    components: Iterable[Any] = (*SOLVERS.values(), *SAMPLERS.values(), Churn, Restarts)
    return {key: option for component in components for key, option in declared(component).items()}


def _validated(given: Mapping[str, Any], known: Declared) -> dict[str, Any]:
    schema = schema_of("options", __config__=ConfigDict(protected_namespaces=()), **known)  # type: ignore[call-overload]
    try:
        found = schema(**given)
    except ValidationError as error:
        raise RequestError(first_problem(error, prefix="sampler.")) from None
    return {key: getattr(found, key) for key in known}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def _check_rising(key: str, levels: tuple[float, float]) -> None:
    low, high = levels
    if not low < high:
        raise RequestError(f"sampler.{key} [{low:g}, {high:g}]: the lower noise level comes first")
