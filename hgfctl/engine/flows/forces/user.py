"""Forces that are a user's own code, "module:attr": imported only where `allow_code` says so."""

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from hgfctl.engine.flows.forces import FORCES
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.provided import ITEM_SHAPE
from hgfctl.errors import RequestError
from hgfctl.registry import Registry, Values

SPELLING = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class FunctionForce(Force):
    """A plain function as a force.

    Args:
        function: F(x, t), or F(x, v, t) of a force that depends on v.
        takes_velocity: which.
    """

    def __init__(self, function: Callable[..., Tensor], takes_velocity: bool) -> None:
        self._function = function
        self._takes_velocity = takes_velocity

    @property
    def depends_on_velocity(self) -> bool:  # type: ignore[override]
        return self._takes_velocity

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        return self._function(x, v, t) if self._takes_velocity else self._function(x, t)


OLDER = {"shape": ITEM_SHAPE}
"""Parameters that a user's own force is given by their name, as before there were markers."""


def is_code(text: str) -> bool:
    """True for a text that is spelled as module:attr."""
    return SPELLING.fullmatch(text) is not None


def user_force(spec: str, options: Mapping[str, Any], allow_code: bool, provided: Values) -> Force:
    """The force that "module:attr" names: a subclass of Force, an instance of one, or a plain function.

    Args:
        spec: the module is one that Python can import, or a file of the current folder, without its .py.
        options: of the subclass's constructor; the others have none.
        allow_code: whether to import anything.
        provided: values that its constructor may ask for besides its options, see `hgfctl.engine.provided`; a
            parameter called `shape` needs no marker.

    Raises:
        RequestError: code is not allowed, cannot be imported, is no force, or refuses its options.
    """
    if not allow_code:
        raise RequestError(f"force '{spec}' names code of its own; `allow_code` runs it")
    found = _imported(spec)
    if inspect.isclass(found) and issubclass(found, Force):
        built: Force = _built(spec, found, options, provided)
        return built
    _refuse_options(spec, options)
    if isinstance(found, Force):
        return found
    if inspect.isfunction(found) or inspect.isbuiltin(found):
        return _of_function(spec, found)
    kind = f"the class {found.__name__}" if inspect.isclass(found) else f"of type {type(found).__name__}"
    raise RequestError(
        f"force '{spec}' is {kind}; a subclass of hgfctl.engine.flows.forces.force.Force is needed, an instance of\n"
        "one, or a function F(x, t) or F(x, v, t)"
    )


def registered_force(name: str, options: Mapping[str, Any], provided: Values) -> Force:
    """The force of this name; a function F(x, t) or F(x, v, t) that a user has registered is one as it is."""
    component = FORCES[name]
    if inspect.isfunction(component) and not issubclass(FORCES.class_of(name), Force):
        _refuse_options(name, options)
        return _of_function(name, component)
    force: Force = FORCES.build(name, options, provided)
    return force


def _refuse_options(spec: str, options: Mapping[str, Any]) -> None:
    if options:
        raise RequestError(
            f"force '{spec}' is no subclass of Force, and only those have options: leave out {', '.join(options)}"
        )


def _imported(spec: str) -> Any:
    name, _, attribute = spec.partition(":")
    try:
        with _current_folder():
            module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise RequestError(
                f"force '{spec}': there is no module {error.name}, nor a file {error.name}.py here"
            ) from None
        raise RequestError(f"force '{spec}': importing it failed: {_first_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise RequestError(f"force '{spec}': importing it failed: {_first_line(error)}") from error
    if not hasattr(module, attribute):
        own = sorted(key for key, value in vars(module).items() if getattr(value, "__module__", None) == name)
        known = f"; it has {', '.join(own[:20])}" if own else ""
        raise RequestError(f"force '{spec}': module {name} has no {attribute}{known}")
    return getattr(module, attribute)


@contextmanager
def _current_folder() -> Iterator[None]:
    """Within the block, modules are looked for in the current folder first."""
    sys.path.insert(0, "")
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove("")


def _built(spec: str, component: type[Force], options: Mapping[str, Any], provided: Values) -> Any:
    """As registered forces are built, their options checked against the constructor's annotations."""
    if inspect.isabstract(component):
        raise RequestError(f"force '{spec}' is not finished: define {', '.join(sorted(component.__abstractmethods__))}")
    try:
        return Registry("force", {spec: spec}, FORCES.provides, by_name=OLDER).build(spec, options, provided)
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(f"force '{spec}' cannot be made: {_first_line(error)}") from error


def _of_function(spec: str, function: Callable[..., Tensor]) -> Force:
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        parameters = {}.values()
    names = [
        p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    required = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if required or len(names) not in (2, 3) or names[1] != ("t" if len(names) == 2 else "v"):
        raise RequestError(f"force '{spec}' is a function of ({', '.join(names)}); write it as F(x, t) or F(x, v, t)")
    return FunctionForce(function, takes_velocity=len(names) == 3)


def _first_line(error: BaseException) -> str:
    reason = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
