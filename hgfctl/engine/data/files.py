"""How a data set meets files: which paths it reads, and what its data would look like where they are missing.

A data set declares this beside what builds it, with the decorator `reads`, so that no other place knows it by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from hgfctl.engine.data import DATA
from hgfctl.engine.data.image_stores import ImageStore

Build = TypeVar("Build", bound=Callable[..., Any])


class Form(NamedTuple):
    """Data as they would be: the shape of an item, and the number of classes (0 for none)."""

    shape: tuple[int, ...]
    classes: int


def _nothing(place: Path) -> bool:
    return False


def _unknown(options: Mapping[str, Any]) -> Form | None:
    return None


@dataclass(frozen=True)
class Files:
    """The files that a data set reads.

    Args:
        endings: of paths that are certainly its own, in lower case, whether anything lies there or not.
        holds: whether what lies at a place is its own.
        last: whether it is asked after all others, because it takes what they leave. Its endings are those of the files
            among that, and decide only once something lies there.
        images: opens a place where images lie one by one, to be read without building the data set; None where they
            do not.
        form: options -> the form of its images, for dry runs without data; None where the options do not tell.
    """

    endings: tuple[str, ...] = ()
    holds: Callable[[Path], bool] = _nothing
    last: bool = False
    images: Callable[[Path], ImageStore] | None = None
    form: Callable[[Mapping[str, Any]], Form | None] = _unknown


NONE = Files()
"""A data set without files."""


def reads(files: Files) -> Callable[[Build], Build]:
    """Decorates the function or class that builds a data set with the files that it reads."""

    def declare(build: Build) -> Build:
        setattr(build, DECLARED, files)
        return build

    return declare


DECLARED = "files"


def files_of(name: str) -> Files:
    """The files that a data set of this name reads; NONE for a name that is no data set's."""
    found: Files = getattr(DATA[name], DECLARED, NONE) if name in DATA else NONE
    return found


def readers() -> dict[str, Files]:
    """name -> files of every data set, in the order in which they are asked."""
    return dict(sorted(((name, files_of(name)) for name in DATA), key=lambda entry: entry[1].last))


def admitted(name: str, **options: Any) -> dict[str, Any]:
    """Those of some options that a data set has, where a value is given for them (not None)."""
    return {key: value for key, value in options.items() if value is not None and DATA.has_option(name, key)}
