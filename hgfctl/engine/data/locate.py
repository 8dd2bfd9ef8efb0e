"""Places where a user's data lie, and the data set that reads them."""

import os
from pathlib import Path

from hgfctl.engine.data import DATA
from hgfctl.engine.data.files import files_of, readers
from hgfctl.errors import RequestError


def locate(path: str, origin: str = "") -> Path:
    """A path as given (~ expanded), or else below the folder that HGFCTL_DATA names.

    Args:
        path: of a file or folder.
        origin: how to get it, for the message.

    Raises:
        RequestError: it is in neither place.
    """
    given = Path(path).expanduser()
    if given.exists():
        return given
    looked = [str(given)]
    home = os.environ.get("HGFCTL_DATA")
    if home and not given.is_absolute():
        below = Path(home).expanduser() / given
        if below.exists():
            return below
        looked.append(str(below))
    hint = "" if home or given.is_absolute() else "; HGFCTL_DATA names a folder to look in besides"
    raise RequestError(f"no data at {' or '.join(looked)}{hint}" + (f"\n{origin}" if origin else ""))


def kind_of(source: str) -> str:
    """Which data set reads a path; a name of a data set that needs no path stands for itself.

    Endings decide first, then names, then what lies at the place; see `files.Files`.

    Raises:
        RequestError: neither a name nor a place where anything lies.
    """
    named = kind_by_ending(source)
    if named is not None and not files_of(named).last:
        return named
    if source in DATA and not Path(source).exists():
        return source
    place = locate(source)
    return next(name for name, files in readers().items() if files.holds(place))


def kind_by_ending(source: str) -> str | None:
    """Which data set reads files of this ending, whether there is such a file or not; None where none does."""
    lower = source.lower()
    return next((name for name, files in readers().items() if lower.endswith(files.endings)), None)
