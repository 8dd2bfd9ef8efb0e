"""Names for things: a room's registry maps the names of presets and options to the classes behind them.

A room's `__init__.py` holds its registry and imports nothing heavy, so `--help` and error messages can list the
names without loading torch; the class is imported when it is first asked for. A component's parameters are those
of its constructor: their annotations are the schema that a preset is checked against, their defaults the defaults.
"""

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

from hgfctl.errors import RequestError, unknown

if TYPE_CHECKING:
    from pydantic import BaseModel


class Registry(Mapping[str, Any]):
    """`name -> class`, where each class is written as "module:attribute" and imported on demand."""

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        module, _, attribute = self._entries[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def name_of(self, component: type) -> str:
        """What a class is registered as; its own name where it is not."""
        written = f"{component.__module__}:{component.__qualname__}"
        return next((name for name, entry in self._entries.items() if entry == written), component.__name__)

    def asks_for(self, name: str, parameter: str) -> bool:
        """Whether a component's constructor has this parameter."""
        return parameter in inspect.signature(self[name]).parameters

    def options(self, name: str, given: Mapping[str, Any], supplied: tuple[str, ...] = ()) -> dict[str, Any]:
        """All options of a component, as plain YAML values: those given, checked, and the defaults of the rest.

        Args:
            name: a name of this registry.
            given: option -> value, as a preset holds them.
            supplied: constructor parameters that the engine fills in itself (a shape, a flow) where the component has
                them; not options.

        Raises:
            RequestError: an unknown option, or a value that its annotation does not admit.
        """
        return self._checked(name, given, supplied).model_dump(mode="json")

    def _checked(self, name: str, given: Mapping[str, Any], supplied: tuple[str, ...]) -> "BaseModel":
        from pydantic import ConfigDict, ValidationError, create_model

        component = self[name]
        hints = get_type_hints(component if inspect.isfunction(component) else component.__init__)
        parameters = {
            key: parameter for key, parameter in inspect.signature(component).parameters.items() if key not in supplied
        }
        fields: dict[str, Any] = {
            key: (hints.get(key, Any), ... if parameter.default is parameter.empty else parameter.default)
            for key, parameter in parameters.items()
        }
        for key in given:
            if key not in fields:
                raise unknown("option", f"{self.kind}.{key}", [f"{self.kind}.{f}" for f in fields], f"of {name}")
        schema = create_model(name, __config__=ConfigDict(protected_namespaces=()), **fields)
        try:
            return schema(**given)
        except ValidationError as error:
            raise RequestError(first_problem(error, prefix=f"{self.kind}.")) from None

    def build(self, name: str, given: Mapping[str, Any], **supplied: Any) -> Any:
        """The component itself, from a preset's options and from what its constructor asks of what the engine supplies.

        Raises:
            RequestError: see `options`; also when the component refuses its values (ValueError).
        """
        options = self._checked(name, given, tuple(supplied)).model_dump()
        asked = {key: value for key, value in supplied.items() if self.asks_for(name, key)}
        try:
            return self[name](**options, **asked)
        except ValueError as error:
            raise RequestError(f"{self.kind} {name}: {error}") from None


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
