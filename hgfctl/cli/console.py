"""Things that subcommands share: where paths come from, where results and progress go."""

import json
import math
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from hgfctl.cli.spelling import spelled
from hgfctl.errors import RequestError
from hgfctl.processes import first

if TYPE_CHECKING:
    import torch
    from rich.progress import Progress


def result(path: Path | str, facts: Mapping[str, Any], as_json: bool) -> None:
    """The one line on stdout that the command was run for; of several ranks the first one says it."""
    if first():
        print(json.dumps(_finite(facts)) if as_json else path, flush=True)


def _finite(value: Any) -> Any:
    """With null in place of NaN and infinity, which JSON does not know."""
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def note(message: str) -> None:
    """A line for the reader, on stderr; from the first rank."""
    if first():
        print(f"hgfctl: {spelled(message)}", file=sys.stderr, flush=True)


def plain(line: str) -> None:
    """A line of a report that goes with the result, on stderr; from the first rank."""
    if first():
        print(line, file=sys.stderr, flush=True)


def argument_path(text: str) -> Path:
    """A path argument; `-` reads it from stdin.

    Raises:
        RequestError: nothing came in.
    """
    if text == "-":
        text = sys.stdin.readline().strip()
        if not text:
            raise RequestError("`-` reads a path from stdin, and nothing came; did the command before it fail?")
    return Path(text).expanduser()


PICTURES = (".png", ".jpg", ".jpeg", ".pdf", ".svg", ".webp", ".tif", ".tiff")


def check_picture(path: Path) -> None:
    """Checks that a picture could be written there, before it is made.

    Raises:
        RequestError: it names a folder, or no kind of picture.
    """
    if path.is_dir():
        raise RequestError(f"--out {path} is a folder; name a file in it, such as {path / 'picture.png'}")
    if path.suffix.lower() not in PICTURES:
        raise RequestError(f"--out {path}: name a file that ends in .png (or {', '.join(PICTURES[1:])})")


def device(name: str) -> "torch.device":
    """The device of this name, see `ranks.device_named`; TF32 is switched off in this process.

    Raises:
        RequestError: unknown, or not there.
    """
    from hgfctl.engine import precision
    from hgfctl.engine.ranks import device_named

    precision.use("fp32")
    return device_named(name)


def progress(*columns: str) -> "Progress":
    """A bar on stderr with rate and time left; silent when stderr is no terminal. Columns are fields of the task."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        *(TextColumn(f"{{task.fields[{column}]}}") for column in columns),
        TimeRemainingColumn(),
        console=console,
        disable=not (console.is_terminal and first()),
        transient=True,
    )


@contextmanager
def working(what: str) -> Iterator[None]:
    """A turning wheel on stderr; silent when stderr is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


class Interruption:
    """True once the user (Ctrl-C) or the system (SIGTERM) has asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Within the block the first SIGINT or SIGTERM only asks to stop; a second one stops at once."""
    interruption = Interruption()

    def ask(number: int, frame: FrameType | None) -> None:
        interruption.asked = True
        for kind, handler in before.items():
            signal.signal(kind, handler)
        note("stopping after this step, to save first; once more stops at once")

    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    for kind in before:
        signal.signal(kind, ask)
    try:
        yield interruption
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
