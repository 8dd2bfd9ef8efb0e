"""Pickles, read by a machine that cannot run anything.

A pickle is a program for a stack machine with instructions to import names and to call what was imported. This machine
knows the instructions that build plain values. A name that a file imports stays a name; it must stand in a table, and
what the table holds is called in its place. Everything else is refused, with its name.

    values      None, numbers, text, bytes, lists, tuples, sets of text, dictionaries
    sizes       memory grows with the file and no faster, whatever sizes it states, for a reader that ends where the
                file does; keys are text, bytes or numbers, so that none takes long to hash
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from hgfctl.errors import printable

MOST_INSTRUCTIONS = 3_000_000
"""In one pickle; a network of 2,000 modules takes some 300,000."""


class Unreadable(Exception):
    """The pickle is damaged, or asks for something that is not part of its kind of file."""


class Stream(Protocol):
    """Bytes to read from; near the end, `read` returns fewer than asked for without reserving memory for more."""

    def read(self, size: int = -1, /) -> bytes: ...

    def readline(self) -> bytes: ...


class Name:
    """A name that a file imports, and no more."""

    __slots__ = ("full",)

    def __init__(self, full: str) -> None:
        self.full = full


Calls = Mapping[str, Callable[..., Any]]
"""Full name -> what is called in place of it, with the arguments that the file gives."""

States = Mapping[type, Callable[[Any, Any], None]]
"""Type -> what sets the state of such a value, in place."""


def load(
    stream: Stream, calls: Calls, states: States | None = None, persistent: Callable[[Any], Any] | None = None
) -> Any:
    """The value of the pickle that begins here; the stream is left behind its end.

    Args:
        stream: of the file.
        calls: what may be called.
        states: what may be given a state.
        persistent: what a persistent id stands for; none is allowed when left out.

    Raises:
        Unreadable: see the class.
    """
    machine = _Machine(calls, states or {}, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return machine.stack.pop()
            if count == MOST_INSTRUCTIONS:
                raise Unreadable(f"it takes more than {MOST_INSTRUCTIONS:,} instructions")
            machine.run(opcode.name, argument)
    except Unreadable:
        raise
    except Exception as error:  # a damaged program fails in every way there is
        raise Unreadable(printable(str(error).partition("\n")[0] or type(error).__name__)) from None
    raise Unreadable("it ends too early")


KEY_BITS = 60
"""Bits of an integer that is a key, at most."""
COPIED = 4096
"""Bytes that may be used again and again."""
_MARK = object()
_IGNORED = {"PROTO", "FRAME"}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
    "MARK": lambda: _MARK,
}
_LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *(
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "SHORT_BINBYTES",
        "BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ),
}
_PYTHON2_TEXT = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    def __init__(self, calls: Calls, states: States, persistent: Callable[[Any], Any] | None) -> None:
        self.calls, self.states, self.persistent = calls, states, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.used: dict[int, Any] = {}

    def run(self, instruction: str, argument: Any) -> None:
        stack = self.stack
        if instruction in _IGNORED:
            return
        if instruction in _CONSTANTS:
            stack.append(_CONSTANTS[instruction]())
        elif instruction in _LITERALS:
            stack.append(argument)
        elif instruction in _PYTHON2_TEXT:
            stack.append(argument.encode("latin1"))
        elif instruction in _TUPLES:
            stack.append(tuple(self._take(_TUPLES[instruction])))
        else:
            handler = getattr(self, f"_{instruction.lower()}", None)  # a method for each that is left
            if handler is None:
                raise Unreadable(f"it uses the instruction {instruction}, which builds no plain value")
            handler() if argument is None else handler(argument)

    def _take(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise Unreadable("it takes from an empty stack")
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def _take_to_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1  # ends in an IndexError where there is no mark
        taken = self.stack[at + 1 :]
        del self.stack[at:]
        return taken

    def _tuple(self) -> None:
        self.stack.append(tuple(self._take_to_mark()))

    def _list(self) -> None:
        self.stack.append(self._take_to_mark())

    def _dict(self) -> None:
        pairs = self._take_to_mark()
        self.stack.append({})
        self._set(pairs)

    def _append(self) -> None:
        self._extend(self._take(1))

    def _appends(self) -> None:
        self._extend(self._take_to_mark())

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise Unreadable(f"it appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _setitem(self) -> None:
        self._set(self._take(2))

    def _setitems(self) -> None:
        self._set(self._take_to_mark())

    def _set(self, pairs: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise Unreadable(f"it sets items of a {type(self.stack[-1]).__name__}")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            # Larger integers can be chosen so that all of them fall on one hash.
            if not isinstance(key, str | bytes) and not (type(key) is int and key.bit_length() < KEY_BITS):
                kind = "long int" if type(key) is int else type(key).__name__
                raise Unreadable(f"a key of one of its dictionaries is a {kind}")
            self.stack[-1][key] = value

    def _additems(self) -> None:
        items = self._take_to_mark()
        if type(self.stack[-1]) is not set or not all(isinstance(item, str) for item in items):
            raise Unreadable("it builds a set of other things than text")
        self.stack[-1].update(items)

    def _memoize(self) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _put(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    _binput = _long_binput = _put

    def _get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    _binget = _long_binget = _get

    def _global(self, module_and_name: str) -> None:
        module, _, name = module_and_name.partition(" ")
        self._import(module, name)

    def _inst(self, module_and_name: str) -> None:
        self._global(module_and_name)
        raise Unreadable("it uses the instruction INST, which builds no plain value")

    def _stack_global(self) -> None:
        self._import(*self._take(2))

    def _import(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise Unreadable("it imports something that has no name")
        full = f"{module}.{name}"
        if full not in self.calls:
            raise Unreadable(f"it names {printable(full)}, which is not loaded")
        self.stack.append(Name(full))

    def _reduce(self) -> None:
        called, arguments = self._take(2)
        if not isinstance(called, Name):
            raise Unreadable(f"it calls a {type(called).__name__}")
        if type(arguments) is not tuple:
            raise Unreadable(f"it calls {printable(called.full)} with a {type(arguments).__name__}")
        self._once(arguments)
        self.stack.append(self.calls[called.full](*arguments))

    _newobj = _reduce

    def _build(self) -> None:
        (state,) = self._take(1)
        value = self.stack[-1]
        if type(value) not in self.states:
            what = printable(value.full) if isinstance(value, Name) else f"a {type(value).__name__}"
            raise Unreadable(f"it sets the state of {what}")
        self._once(state if isinstance(state, tuple) else (state,))
        self.states[type(value)](value, state)

    def _once(self, arguments: tuple[Any, ...]) -> None:
        """Long bytes and texts may be copied once: or a small file would fill the memory with copies of one part."""
        for argument in arguments:
            if isinstance(argument, str | bytes | bytearray) and len(argument) > COPIED:
                if id(argument) in self.used:
                    raise Unreadable("it makes several things of the same bytes")
                self.used[id(argument)] = argument  # which keeps it alive, and its id its own

    def _binpersid(self) -> None:
        (id,) = self._take(1)
        if self.persistent is None:
            raise Unreadable("it uses the instruction BINPERSID, which builds no plain value")
        self.stack.append(self.persistent(id))
