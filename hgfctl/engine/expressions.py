"""Formulas such as `-x + 0.1*sin(x)`, read by a parser of their own: nothing in them is ever run as Python.

    sum      = term { ("+" | "-") term }
    term     = factor { ("*" | "/") factor }
    factor   = ("-" | "+") factor | power
    power    = atom [ ("^" | "**") factor ]
    atom     = number | name | name "[" integer "]" | function "(" sum { "," sum } ")" | "(" sum ")"

with Python's precedence: -x^2 is -(x^2), 2^3^2 is 2^9. What is read is a program for a stack machine, which whoever
evaluates it gives a meaning: on tensors, on floats, on affine functions.
"""

import keyword
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hgfctl.errors import RequestError, printable, unknown

LONGEST = 1000
"""Characters."""
DEEPEST = 100
"""Parentheses, signs and powers within one another."""
FUNCTIONS = {
    **dict.fromkeys(("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh"), (1, 1)),
    **dict.fromkeys(("exp", "log", "sqrt", "abs", "sign", "norm", "mean"), (1, 1)),
    **dict.fromkeys(("min", "max"), (2, LONGEST)),
}
"""Name -> fewest and most arguments."""
VALUES = {"pi": math.pi}
"""Names of numbers that every formula knows."""


class ExpressionError(RequestError):
    """A formula that cannot be read: what is wrong, the formula, and a caret under the place."""

    def __init__(self, message: str, text: str, at: int) -> None:
        start = max(0, at - 60)
        shown = ("..." if start else "") + printable(text[start : at + 60], 120)
        super().__init__(f"{message}\n  {shown}\n  {' ' * (at - start + (3 if start else 0))}^")


@dataclass(frozen=True)
class Number:
    """Pushes a number; `at` is the place in the text, as in all steps."""

    value: float
    at: int


@dataclass(frozen=True)
class Name:
    """Pushes the value of a name; of one of its coordinates, where it has an index."""

    name: str
    index: int | None
    at: int


@dataclass(frozen=True)
class Apply:
    """Takes `count` values off the stack and pushes what a function or operator (+ - * / ^ neg) makes of them."""

    function: str
    count: int
    at: int


Leaf = Number | Name
Step = Leaf | Apply
Value = TypeVar("Value")


def parse(text: str, names: Collection[str], vectors: Collection[str] = ()) -> tuple[Step, ...]:
    """The program of a formula.

    Args:
        text: the formula.
        names: it may use, besides those of VALUES.
        vectors: names of it that may have an index.

    Raises:
        ExpressionError: and nothing else, whatever the text is.
    """
    if len(text) > LONGEST:
        raise ExpressionError(f"a formula has at most {LONGEST} characters, and this one has {len(text)}", text, 0)
    return _Parser(text, names, vectors).program()


def evaluate(
    program: Sequence[Step], leaf: Callable[[Leaf], Value], apply: Callable[[Apply, Sequence[Value]], Value]
) -> Value:
    """Runs a program on any kind of values.

    Args:
        program: of `parse`.
        leaf: the value of a number or a name.
        apply: the value of a function or operator.
    """
    stack: list[Value] = []
    for step in program:
        if isinstance(step, Apply):
            arguments = stack[-step.count :]
            del stack[-step.count :]
            stack.append(apply(step, arguments))
        else:
            stack.append(leaf(step))
    (value,) = stack
    return value


_TOKEN = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<sign>\*\*|[-+*/^(),\[\]])", re.ASCII
)
_INFIX = {"+": (1, 2), "-": (1, 2), "*": (3, 4), "/": (3, 4), "^": (6, 5)}
"""How strongly an operator holds its left and its right; `^` takes a sign to its right, and groups that way."""
_SIGN = 5
_FORBIDDEN = {
    ".": "attributes are",
    **dict.fromkeys("'\"`", "text is"),
    **dict.fromkeys("<>=!", "comparisons and assignments are"),
    **dict.fromkeys("{}:;@\\", "code is"),
}


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    at: int


class _Parser:
    """Precedence climbing (Pratt 1973) over tokens; a step is emitted as soon as it is known."""

    def __init__(self, text: str, names: Collection[str], vectors: Collection[str]) -> None:
        self.text, self.names, self.vectors = text, names, vectors
        self.position, self.depth = 0, 0
        self.steps: list[Step] = []
        self._ahead: _Token | None = None

    @property
    def token(self) -> _Token:
        """The next one; read when it is looked at, so that the first thing wrong is what is complained about."""
        if self._ahead is None:
            self._ahead = self._read()
        return self._ahead

    def program(self) -> tuple[Step, ...]:
        self._operand(0)
        if self.token.kind != "end":
            raise self._error(f"an operator is missing before '{self.token.text}'")
        return tuple(self.steps)

    def _error(self, message: str, token: _Token | None = None) -> ExpressionError:
        return ExpressionError(message, self.text, (token or self.token).at)

    def _read(self) -> _Token:
        while self.position < len(self.text) and self.text[self.position] in " \t\n\r":
            self.position += 1
        at = self.position
        if at == len(self.text):
            return _Token("end", "", at)
        found = _TOKEN.match(self.text, at)
        if not found:
            letter = self.text[at]
            what = f"{_FORBIDDEN[letter]} not allowed in a formula" if letter in _FORBIDDEN else "no formula has this"
            raise ExpressionError(f"'{printable(letter)}': {what}", self.text, at)
        self.position = found.end()
        return _Token(str(found.lastgroup), found.group().replace("**", "^"), at)

    def _next(self) -> _Token:
        token, self._ahead = self.token, None
        return token

    def _expect(self, sign: str, after: str) -> None:
        if self.token.text != sign:
            raise self._error(f"'{sign}' is missing after {after}")
        self._next()

    def _operand(self, least: int) -> None:
        """Everything that operators holding at least so strongly bind together."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._error(f"nested deeper than {DEEPEST} levels")
        self._atom()
        while self.token.text in _INFIX and _INFIX[self.token.text][0] >= least:
            operator = self._next()
            self._operand(_INFIX[operator.text][1])
            self.steps.append(Apply(operator.text, 2, operator.at))
        self.depth -= 1

    def _atom(self) -> None:
        token = self._next()
        if token.kind == "number":
            self.steps.append(Number(self._finite(token), token.at))
        elif token.kind == "name":
            self._named(token)
        elif token.text == "(":
            self._operand(0)
            self._expect(")", "this")
        elif token.text in ("+", "-"):
            self._operand(_SIGN)
            if token.text == "-":
                self.steps.append(Apply("neg", 1, token.at))
        else:
            what = f"and not '{token.text}'" if token.text else "and the formula ends"
            raise self._error(f"a number, a name or a parenthesis is needed here, {what}", token)

    def _finite(self, token: _Token) -> float:
        value = float(token.text)
        if not math.isfinite(value):
            raise self._error("this number is too large", token)
        return value

    def _named(self, token: _Token) -> None:
        name = token.text
        if keyword.iskeyword(name):
            raise self._error(f"'{name}': code is not allowed in a formula", token)
        if self.token.text == "(":
            self._call(token)
        elif name in FUNCTIONS:
            raise self._error(f"{name} is a function: write {name}(...)", token)
        elif name not in self.names and name not in VALUES:
            raise self._error(str(unknown("name", printable(name, 40), {*self.names, *VALUES})), token)
        elif self.token.text == "[":
            self.steps.append(Name(name, self._index(token), token.at))
        else:
            self.steps.append(Number(VALUES[name], token.at) if name in VALUES else Name(name, None, token.at))

    def _index(self, name: _Token) -> int:
        if name.text not in self.vectors:
            raise self._error(f"{name.text} is a number and has no coordinates")
        self._next()
        number = self._next()
        if number.kind != "number" or not number.text.isdigit():
            raise self._error("an index is a whole number: 0 for the first coordinate", number)
        self._expect("]", "the index")
        return int(self._finite(number))

    def _call(self, token: _Token) -> None:
        name = token.text
        if name not in FUNCTIONS:
            raise self._error(str(unknown("function", printable(name, 40), FUNCTIONS)), token)
        self._next()
        count = 0
        while count == 0 or self.token.text == ",":
            if count:
                self._next()
            self._operand(0)
            count += 1
        self._expect(")", f"the arguments of {name}")
        fewest, most = FUNCTIONS[name]
        if not fewest <= count <= most:
            wanted = f"{fewest} or more arguments" if most > fewest else "one argument"
            raise self._error(f"{name} takes {wanted}, not {count}", token)
        self.steps.append(Apply(name, count, token.at))
