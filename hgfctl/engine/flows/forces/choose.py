"""From what a preset says to a force: a name, a formula, a user's own code, or one of these with options."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hgfctl.engine.expressions import ExpressionError
from hgfctl.engine.flows.forces import FORCES
from hgfctl.engine.flows.forces.expression import ExpressionForce
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.flows.forces.learned import ScoreField
from hgfctl.engine.flows.forces.user import is_code, registered_force, user_force
from hgfctl.engine.provided import DURATION, ITEM_SHAPE, SCORE_READER
from hgfctl.errors import RequestError, printable, unknown
from hgfctl.registry import Provided

Written = str | float | Sequence[Any] | Mapping[str, Any]
"""As YAML gives it."""

_WORD = re.compile(r"[A-Za-z][\w-]*")


@dataclass(frozen=True)
class ForceContext:
    """The values that a force may need and that its options do not say.

    Args:
        shape: of an item.
        allow_code: whether a user's own code may be imported.
        load_score: reads the score of a checkpoint; None where nothing can.
        duration: T, where a flow says it.
        restoring: whether the flow is that of a checkpoint, which does not hold code or other checkpoints.
    """

    shape: tuple[int, ...]
    allow_code: bool = False
    load_score: Callable[[str], ScoreField] | None = None
    duration: float = 1.0
    restoring: bool = False

    @property
    def provided(self) -> dict[Provided, Any]:
        """The values that constructors of forces may ask for."""
        return {ITEM_SHAPE: self.shape, DURATION: self.duration, SCORE_READER: self.load_score}


def chosen(force: Written, context: ForceContext) -> Force:
    """The force, which fits items of the given shape.

    Args:
        force: a name of FORCES, "module:attr", a formula or a list with one for each coordinate; or {"name": one of
            these, option: value, ...}.
        context: what its options do not say.

    Raises:
        RequestError: unknown, not allowed, not readable, refused options, or not for items of this shape.
    """
    name, options = _named(force)
    if isinstance(name, list):
        found: Force = FORCES.build("expression", {**options, "text": name})
    elif name in FORCES:
        found = registered_force(name, options, context.provided)
    elif is_code(name):
        found = user_force(name, options, context.allow_code, context.provided)
    else:
        found = _formula(name, options)
    try:
        found.check(context.shape)
    except ValueError as error:
        raise RequestError(f"force {name}: {error}") from None
    return found


def _named(force: Written) -> tuple[str | list[str], dict[str, Any]]:
    options: dict[str, Any] = {}
    name: Any = force
    if isinstance(force, Mapping):
        options = dict(force)
        name = options.pop("name", None)
    if isinstance(name, list | tuple) and name and all(_is_text(part) for part in name):
        return [str(part) for part in name], options
    if not _is_text(name):
        raise RequestError(
            f"force: a name, a formula, module:attr, or a mapping with a 'name' is needed, not {force!r}"
        )
    return str(name), options


def _is_text(value: Any) -> bool:
    """A number is a formula, too."""
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _formula(text: str, options: Mapping[str, Any]) -> ExpressionForce:
    try:
        built: ExpressionForce = FORCES.build("expression", {**options, "text": text})
    except ExpressionError:
        if _WORD.fullmatch(text):
            raise unknown("force", printable(text, 40), FORCES) from None
        raise
    return built
