"""Where a user's data lies."""

import os
from pathlib import Path

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
    """Which data set reads a path: array for .npz and .npy, cifar10 for its archives and folders, folder for folders
    and zips of images; a name of a data set that needs no path stands for itself.

    Raises:
        RequestError: neither.
    """
    from hgfctl.engine.data import DATA
    from hgfctl.engine.data.cifar10 import find

    name = source.lower()
    if name.endswith((".npz", ".npy")):
        return "array"
    if name.endswith((".tar.gz", ".tgz", ".tar")):
        return "cifar10"
    if source in DATA and not Path(source).exists():
        return source
    place = locate(source)
    return "cifar10" if place.is_dir() and find(place) else "folder"
