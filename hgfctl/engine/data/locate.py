"""Where a user's data lies."""

import os
from pathlib import Path

from hgfctl.errors import RequestError


def locate(path: str) -> Path:
    """A path as given (~ expanded), or else below the folder that HGFCTL_DATA names.

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
    hint = "" if home or given.is_absolute() else "; HGFCTL_DATA may name a folder to look in besides"
    raise RequestError(f"no data at {' or '.join(looked)}{hint}")
