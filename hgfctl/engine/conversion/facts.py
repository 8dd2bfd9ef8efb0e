"""Statements of a file about a network, checked one by one: a file may say anything."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hgfctl.errors import printable
from hgfctl.storage.inert_pickle import Unreadable


@dataclass(frozen=True)
class Facts:
    """Attributes of an object, or arguments that it was made with.

    Args:
        values: name -> value.
        of: how messages call the object.
    """

    values: Mapping[str, Any]
    of: str

    def whole(self, name: str, default: int | None = None, least: int = 0, most: int = 8192) -> int:
        """A number of things, least ... most."""
        value = self.values.get(name, default)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return value

    def wholes(self, name: str, default: tuple[int, ...], least: int = 0, most: int = 8192) -> tuple[int, ...]:
        """Up to 16 numbers of things."""
        value = self.values.get(name, default)
        if not isinstance(value, list | tuple) or len(value) > 16:
            raise self._wrong(name, "a short list of whole numbers")
        return tuple(Facts({name: one}, self.of).whole(name, None, least, most) for one in value)

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number."""
        value = self.values.get(name, default)
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self._wrong(name, "a number")
        return float(value)

    def text(self, name: str, default: str = "") -> str:
        """A short text."""
        value = self.values.get(name, default)
        if not isinstance(value, str):
            raise self._wrong(name, "text")
        return printable(value)

    def _wrong(self, name: str, wanted: str) -> Unreadable:
        found = self.values.get(name, "missing")
        shown = found if isinstance(found, str | int | float) else f"a {type(found).__name__}"
        return Unreadable(f"{printable(name)} of {printable(self.of)} is to be {wanted}, not {printable(str(shown))}")
