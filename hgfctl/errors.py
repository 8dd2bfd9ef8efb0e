"""Errors that a user can mend, and nothing else; every other exception is a bug and may look like one.

A message names parameters between backticks as Python has them, `nfe` or `nfe=10`, and keys of a configuration with
their value, `train.batch=64`; the command line writes --nfe, --nfe 10 and --set train.batch=64 in their place.
"""

import difflib
from collections.abc import Iterable


class HgfctlError(Exception):
    """The work failed; the message says what, where and what to do (exit status 1)."""

    exit_status = 1


class RequestError(HgfctlError):
    """The request itself was wrong: nothing was started or written (exit status 2)."""

    exit_status = 2


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> RequestError:
    """The one sentence for a name nobody knows: "unknown solver 'hein'; did you mean 'heun'? known: ..."."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    place = f" {where}" if where else ""
    return RequestError(f"unknown {kind} '{name}'{place}; {guess}known: {', '.join(names)}")


def printable(text: str, most: int = 80) -> str:
    """Text from a file, fit for a message: short, without control characters."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in text[: most + 1])
    return shown if len(shown) <= most else shown[: most - 3] + "..."
