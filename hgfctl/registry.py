"""Names for things: a room's registry maps the names of presets and options to the classes behind them.

A room's `__init__.py` holds its registry and imports nothing heavy, so `--help` and error messages can list the
names without loading torch; the class is imported when it is first asked for. A component's parameters are those
of its constructor: their annotations are the schema that a preset is checked against, their defaults the defaults.

A parameter whose annotation carries a `Provided` marker is no option: its value comes from the engine.
"""

import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from hgfctl.errors import RequestError, unknown

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Provided:
    """Marks a constructor's parameter, whatever it is called, as one that the engine fills in:

        def __init__(self, shape: Annotated[tuple[int, ...], ITEM_SHAPE], width: int = 64) -> None: ...

    Args:
        meaning: the value in words, "the shape of an item".
    """

    meaning: str


Values = Mapping[Provided, Any]
"""The values that the engine has for a component."""


class _Parameter(NamedTuple):
    """A parameter of a constructor; `marker` is None for options."""

    annotation: Any
    default: Any
    marker: Provided | None

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


class Registry(Mapping[str, Any]):
    """`name -> class`, where each class is written as "module:attribute" and imported on demand.

    Args:
        kind: the components in one word, as error messages have it.
        entries: name -> "module:attribute" of a class, or of a function that builds a component.
        provides: what the engine has for constructors that ask.
        base: "module:attribute" of the class that components derive from, where there is one.
        by_name: parameters that are provided by their name, without a marker: for code older than the markers.
        ready: whether components are used as they are; one that is written as a class is made without arguments.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, str],
        provides: Iterable[Provided] = (),
        base: str | None = None,
        by_name: Mapping[str, Provided] = MappingProxyType({}),
        ready: bool = False,
    ) -> None:
        self.kind = kind
        self.provides = tuple(provides)
        self._base = base
        self._entries: dict[str, Any] = dict(entries)
        self._by_name = dict(by_name)
        self._ready = ready

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        component = _resolved(self._entries[name])
        return component() if self._ready and inspect.isclass(component) else component

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def register(self, name: str, component: Any) -> None:
        """Adds a component for as long as the process lives.

        Args:
            name: one that is not taken, without colons and spaces.
            component: a class, a function that builds a component, or a finished component without options.

        Raises:
            RequestError: the name is taken, or cannot be one; the component is not finished, does not derive from the
                base class, or its constructor asks for something that components of this kind are not given.
        """
        if not isinstance(name, str) or not name or ":" in name or len(name.split()) != 1:
            raise RequestError(f"{self.kind}: a name is one word without colons, not {name!r}")
        if name in self._entries and _resolved(self._entries[name]) is not component:
            raise RequestError(f"{self.kind} '{name}' is there already; choose another name")
        base = object if self._base is None else _resolved(self._base)
        if not inspect.isfunction(component) and not issubclass(_class(component), base):
            raise RequestError(f"{self.kind} {name}: it must derive from {base.__module__}.{base.__qualname__}")
        if inspect.isabstract(component):
            missing = ", ".join(sorted(component.__abstractmethods__))
            raise RequestError(f"{self.kind} {name}: {component.__name__} is not finished; define {missing}")
        for key, parameter in self._parameters_of(component).items():
            if parameter.marker is not None and parameter.marker not in self.provides:
                raise self._not_provided(name, key, parameter.marker, self.provides)
        self._entries[name] = component

    def name_of(self, component: Any) -> str:
        """The name that a class is registered under; its own name where it is not."""
        written = f"{component.__module__}:{component.__qualname__}"
        for name, entry in self._entries.items():
            if entry is component or entry == written:
                return name
        return str(component.__name__)

    def class_of(self, name: str) -> type[Any]:
        """The class of what is built under a name; for a function, the one that its annotation says it returns."""
        component = self[name]
        if inspect.isfunction(component):
            component = get_type_hints(component).get("return", object)
            component = get_origin(component) or component
        return _class(component)

    def wants(self, name: str, marker: Provided) -> bool:
        """Says whether a component's constructor asks for a value of the engine."""
        return any(parameter.marker == marker for parameter in self._parameters(name).values())

    def has_option(self, name: str, option: str) -> bool:
        """Says whether a component has an option of this name."""
        parameter = self._parameters(name).get(option)
        return parameter is not None and parameter.marker is None

    def options(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """All options of a component, as plain YAML values: those given, checked, and the defaults of the rest.

        Args:
            name: a name of this registry.
            given: option -> value, as a preset holds them.

        Raises:
            RequestError: an unknown option, or a value that its annotation does not admit.
        """
        return self._checked(name, given).model_dump(mode="json")

    def build(self, name: str, given: Mapping[str, Any], provided: Values = MappingProxyType({})) -> Any:
        """The component itself.

        Args:
            name: a name of this registry.
            given: option -> value, as a preset holds them.
            provided: values of the engine; those that the constructor asks for are passed on.

        Raises:
            RequestError: see `options`; also when the component refuses its values (ValueError).
            RequestError: the constructor asks for a value that is not among those provided, and has no default for it.
        """
        options = self._checked(name, given).model_dump()
        values: dict[str, Any] = {}
        for key, parameter in self._parameters(name).items():
            if parameter.marker is None:
                continue
            if parameter.marker in provided:
                values[key] = provided[parameter.marker]
            elif parameter.required:
                raise self._not_provided(name, key, parameter.marker, provided)
        component = self[name]
        if not _is_constructor(component):
            return component
        try:
            return component(**options, **values)
        except ValueError as error:
            raise RequestError(f"{self.kind} {name}: {error}") from None

    def _checked(self, name: str, given: Mapping[str, Any]) -> "BaseModel":
        from pydantic import ConfigDict, ValidationError, create_model

        fields: dict[str, Any] = {
            key: (parameter.annotation, ... if parameter.required else parameter.default)
            for key, parameter in self._parameters(name).items()
            if parameter.marker is None
        }
        for key in given:
            if key not in fields:
                raise unknown("option", f"{self.kind}.{key}", [f"{self.kind}.{f}" for f in fields], f"of {name}")
        schema = create_model(name, __config__=ConfigDict(protected_namespaces=()), **fields)
        try:
            options: BaseModel = schema(**given)
            return options
        except ValidationError as error:
            raise RequestError(first_problem(error, prefix=f"{self.kind}.")) from None

    def _parameters(self, name: str) -> dict[str, _Parameter]:
        return self._parameters_of(self[name])

    def _parameters_of(self, component: Any) -> dict[str, _Parameter]:
        if not _is_constructor(component):
            return {}
        hints = get_type_hints(component.__init__ if inspect.isclass(component) else component, include_extras=True)
        return {
            key: _Parameter(hint := hints.get(key, Any), parameter.default, _marker(hint) or self._by_name.get(key))
            for key, parameter in inspect.signature(component).parameters.items()
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }

    def _not_provided(self, name: str, key: str, marker: Provided, provided: Iterable[Provided]) -> RequestError:
        known = ", ".join(other.meaning for other in provided) or "nothing"
        return RequestError(
            f"{self.kind} {name}: parameter {key} asks for {marker.meaning}, which a {self.kind} is not given here; "
            f"it is given {known}"
        )


def first_problem(error: Any, prefix: str = "") -> str:
    """One line for the first thing that pydantic found wrong: "train.lr: Input should be ..., got 'fast'"."""
    problems = error.errors()
    first = problems[0]
    place = prefix + ".".join(str(part) for part in first["loc"])
    message = first["msg"][0].lower() + first["msg"][1:]
    if first["type"] == "missing":
        return f"{place}: a value is needed"
    if first["type"] == "value_error":
        return f"{place}: {first['ctx']['error']}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}: {message}, not {first['input']!r}{more}"


def _resolved(entry: Any) -> Any:
    """A component, imported where it is written as "module:attribute"."""
    if not isinstance(entry, str):
        return entry
    module, _, attribute = entry.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _class(component: Any) -> type[Any]:
    return component if inspect.isclass(component) else type(component)


def _is_constructor(component: Any) -> bool:
    return inspect.isclass(component) or inspect.isfunction(component)


def _marker(annotation: Any) -> Provided | None:
    """The marker of Annotated[X, marker], or of Annotated[X, marker] | None."""
    if get_origin(annotation) is Annotated:
        return next((extra for extra in annotation.__metadata__ if isinstance(extra, Provided)), None)
    if get_origin(annotation) in (Union, UnionType):
        return next(filter(None, map(_marker, get_args(annotation))), None)
    return None
