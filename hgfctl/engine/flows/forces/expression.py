"""A force written as a formula: `-x + 0.1*sin(x)`, or one formula a coordinate, `["x[1]", "-x[0]"]`."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hgfctl.engine.expressions import Apply, ExpressionError, Leaf, Name, Number, Step, evaluate, parse
from hgfctl.engine.flows.forces.force import Force
from hgfctl.engine.phase_space import over

VECTORS = ("x", "v")
NAMES = (*VECTORS, "t")


class Formula(NamedTuple):
    """A text, and its program with all constants computed."""

    text: str
    program: tuple[Step, ...]

    def uses(self, name: str) -> bool:
        return any(isinstance(step, Name) and step.name == name for step in self.program)


class ExpressionForce(Force):
    """F(x, v, t) from a formula in x, v, t and pi; what is read where: `hgfctl.engine.expressions`.

    A formula applies to every coordinate alike; x[k] is coordinate k of an item (counted through its flattened shape),
    norm(x) its length |x| and mean(x) the mean of its coordinates.

    Args:
        text: the formula; a list has one for each coordinate, none of which may use all of x at once outside norm
            and mean.
        constants: name -> value of further names in it.
    """

    def __init__(self, text: str | list[str], constants: dict[str, float] | None = None) -> None:
        self.text = text
        self.formulas = tuple(_formula(part, constants or {}) for part in ([text] if isinstance(text, str) else text))

    @property
    def depends_on_velocity(self) -> bool:  # type: ignore[override]
        return any(formula.uses("v") for formula in self.formulas)

    @property
    def depends_on_time(self) -> bool:
        return any(formula.uses("t") for formula in self.formulas)

    def __call__(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        values = [_value(formula, x, v, t) for formula in self.formulas]
        if isinstance(self.text, str):
            return _tensor(values[0]).to(x).expand(x.shape)
        column = x.flatten(1)[:, :1]
        return torch.cat([_flat(value).to(x).expand(column.shape) for value in values], 1).reshape(x.shape)

    def check(self, shape: tuple[int, ...]) -> None:
        coordinates = torch.Size(shape).numel()
        for formula in self.formulas:
            for step in formula.program:
                if isinstance(step, Name) and step.index is not None and step.index >= coordinates:
                    message = f"{step.name}[{step.index}]: items of shape {shape} have coordinates 0 to"
                    raise ExpressionError(f"{message} {coordinates - 1}", formula.text, step.at)
        if isinstance(self.text, str):
            return
        if len(self.formulas) != coordinates:
            raise ValueError(f"{len(self.formulas)} formulas for items of shape {shape}, of {coordinates} coordinates")
        for formula in self.formulas:
            one = torch.zeros(1, *shape, dtype=torch.float64)
            if _flat(_value(formula, one, one, one.new_zeros(()))).shape[1] > 1:
                raise ValueError(f"'{formula.text}' has a value for each coordinate: write x[0], x[1], ... in a list")


def _formula(text: str, constants: Mapping[str, float]) -> Formula:
    for name, constant in constants.items():
        if name in NAMES:
            raise ValueError(f"constants: {name} is what the force acts on, not a constant")
        if not math.isfinite(constant):
            raise ValueError(f"constants: {name} must be finite, not {constant}")
    program = parse(text, (*NAMES, *constants), VECTORS)

    def leaf(step: Leaf) -> tuple[Step, ...]:
        if isinstance(step, Name) and step.name in constants:
            return (Number(constants[step.name], step.at),)
        return (step,)

    def apply(step: Apply, arguments: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
        numbers = [part[0].value for part in arguments if isinstance(part[0], Number) and len(part) == 1]
        if len(numbers) < step.count or step.function in _REDUCTIONS:
            return (*(inner for part in arguments for inner in part), step)
        value = float(_OPERATIONS[step.function](*(torch.tensor(number, dtype=torch.float64) for number in numbers)))
        if not math.isfinite(value):
            raise ExpressionError(f"this is {value}, not a number", text, step.at)
        return (Number(value, step.at),)

    return Formula(text, evaluate(program, leaf, apply))


def _value(formula: Formula, x: Tensor, v: Tensor, t: Tensor) -> Tensor | float:
    """Shaped to be spread over x; a float where the formula is a number."""
    names = {"x": x, "v": v, "t": over(t, x)}

    def leaf(step: Leaf) -> Tensor | float:
        if isinstance(step, Number):
            return step.value
        value = names[step.name]
        return value if step.index is None else _item(value.flatten(1)[:, step.index], x)

    def apply(step: Apply, arguments: Sequence[Tensor | float]) -> Tensor | float:
        if step.function in _REDUCTIONS:
            spread = _tensor(arguments[0]).to(x).expand(x.shape).flatten(1)
            return _item(_REDUCTIONS[step.function](spread), x)
        value: Tensor | float = _OPERATIONS[step.function](*arguments)
        return value

    return evaluate(formula.program, leaf, apply)


def _item(values: Tensor, x: Tensor) -> Tensor:
    """One number an item, (B,), shaped to be spread over x."""
    return values.reshape(-1, *[1] * (x.ndim - 1))


def _flat(value: Tensor | float) -> Tensor:
    """(B or 1, coordinates or 1)."""
    tensor = _tensor(value)
    return tensor.flatten(1) if tensor.ndim > 1 else tensor.reshape(1, 1)


def _tensor(value: Tensor | float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64) if isinstance(value, float) else value


def _of_pairs(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """A function of two tensors -> the same of any number of tensors and floats."""
    return lambda *values: reduce(function, map(_tensor, values))


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "^": operator.pow,
    "neg": operator.neg,
    **{name: getattr(torch, name) for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh")},
    **{name: getattr(torch, name) for name in ("exp", "log", "sqrt", "abs", "sign")},
    "min": _of_pairs(torch.minimum),
    "max": _of_pairs(torch.maximum),
}
_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "norm": lambda flat: torch.linalg.vector_norm(flat, dim=1),
    "mean": lambda flat: flat.mean(1),
}
