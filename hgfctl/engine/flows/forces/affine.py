"""Which formulas are affine, so that their flow has a closed form: found by running them on affine functions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from hgfctl.engine.expressions import Apply, Leaf, Number, evaluate
from hgfctl.engine.flows.forces.expression import ExpressionForce


class Affine(NamedTuple):
    """c + kx x + kv v, with numbers c, kx and kv."""

    c: float
    kx: float = 0.0
    kv: float = 0.0

    @property
    def is_number(self) -> bool:
        return self.kx == self.kv == 0

    def times(self, factor: float) -> "Affine":
        return Affine(*(factor * part for part in self))


class _NotAffineError(Exception):
    pass


def affine(force: ExpressionForce) -> Affine | None:
    """What F = c + kx x + kv v is made of, as `-4*x - 0.1*v` is; None where F is anything else."""
    if not isinstance(force.text, str):
        return None
    try:
        found = evaluate(force.formulas[0].program, _leaf, _apply)
    except _NotAffineError:
        return None
    return found if all(map(math.isfinite, found)) else None


def _leaf(step: Leaf) -> Affine:
    if isinstance(step, Number):
        return Affine(step.value)
    if step.index is not None or step.name == "t":
        raise _NotAffineError
    return Affine(0.0, kx=1.0) if step.name == "x" else Affine(0.0, kv=1.0)


def _apply(step: Apply, arguments: Sequence[Affine]) -> Affine:
    first, second = arguments[0], arguments[-1]
    match step.function:
        case "+":
            return Affine(*(p + q for p, q in zip(first, second, strict=True)))
        case "-":
            return Affine(*(p - q for p, q in zip(first, second, strict=True)))
        case "neg":
            return first.times(-1)
        case "*" if first.is_number:
            return second.times(first.c)
        case "*" if second.is_number:
            return first.times(second.c)
        case "/" if second.is_number and second.c != 0:
            return Affine(*(part / second.c for part in first))
        case "^" if second == Affine(1.0):
            return first
    raise _NotAffineError
