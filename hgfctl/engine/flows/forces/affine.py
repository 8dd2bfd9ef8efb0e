"""Which formulas are affine, so that their flow has a closed form: found by running them on affine functions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from hgfctl.engine.expressions import Apply, Leaf, Number, evaluate
from hgfctl.engine.flows.forces.expression import ExpressionForce, Formula

Of = tuple[str, int | None]
"""("x", None) is all of x, ("v", 3) coordinate 3 of v."""


class Affine(NamedTuple):
    """c + kx x + kv v, with numbers c, kx and kv."""

    c: float
    kx: float = 0.0
    kv: float = 0.0


class Rows(NamedTuple):
    """F = K x + G v over the coordinates of flattened items."""

    position: list[list[float]]
    velocity: list[list[float]]


class _Combination(NamedTuple):
    """A number and multiples of x, v and their coordinates."""

    c: float
    parts: dict[Of, float]

    def times(self, factor: float) -> "_Combination":
        return _Combination(factor * self.c, {of: factor * part for of, part in self.parts.items()})

    def plus(self, other: "_Combination") -> "_Combination":
        of_either = self.parts.keys() | other.parts.keys()
        sums = {of: self.parts.get(of, 0.0) + other.parts.get(of, 0.0) for of in of_either}
        return _Combination(self.c + other.c, {of: part for of, part in sums.items() if part})


class _NotAffineError(Exception):
    pass


def affine(force: ExpressionForce) -> Affine | None:
    """The parts of F = c + kx x + kv v, as `-4*x - 0.1*v` is; None where F is anything else."""
    if not isinstance(force.text, str):
        return None
    found = _combination(force.formulas[0])
    if found is None or found.parts.keys() - {("x", None), ("v", None)}:
        return None
    return Affine(found.c, found.parts.get(("x", None), 0.0), found.parts.get(("v", None), 0.0))


def rows(force: ExpressionForce) -> Rows | None:
    """K and G of formulas, one a coordinate, that are linear in x[0], x[1], ..., v[0], ...; None of any others."""
    if isinstance(force.text, str):
        return None
    found = [_combination(formula) for formula in force.formulas]
    linear = [one.parts for one in found if one is not None and one.c == 0]
    if len(linear) < len(found) or any(index is None for parts in linear for _, index in parts):
        return None
    matrices = ([[parts.get((name, i), 0.0) for i in range(len(linear))] for parts in linear] for name in ("x", "v"))
    return Rows(*matrices)


def _combination(formula: Formula) -> _Combination | None:
    try:
        found = evaluate(formula.program, _leaf, _apply)
    except _NotAffineError:
        return None
    return found if all(map(math.isfinite, (found.c, *found.parts.values()))) else None


def _leaf(step: Leaf) -> _Combination:
    if isinstance(step, Number):
        return _Combination(step.value, {})
    if step.name == "t":
        raise _NotAffineError
    return _Combination(0.0, {(step.name, step.index): 1.0})


def _apply(step: Apply, arguments: Sequence[_Combination]) -> _Combination:
    first, second = arguments[0], arguments[-1]
    match step.function:
        case "+":
            return first.plus(second)
        case "-":
            return first.plus(second.times(-1))
        case "neg":
            return first.times(-1)
        case "*" if not first.parts:
            return second.times(first.c)
        case "*" if not second.parts:
            return first.times(second.c)
        case "/" if not second.parts and second.c != 0:
            return first.times(1 / second.c)
        case "^" if not second.parts and second.c == 1:
            return first
    raise _NotAffineError
