"""How the command line spells what the engine names: `nfe` in a message of the engine is --nfe here.

The engine writes parameters between backticks, as Python has them: `guidance_interval`, `nfe=10`, or a key of the
configuration with its value, `train.batch=64`. A shell's user reads --guidance-interval, --nfe 10, --set train.batch=64.
Between backticks that hold anything else, such as a command, nothing changes.
"""

import re
from functools import cache
from typing import Any

_NAMED = re.compile(r"`(?P<name>[a-z][a-z0-9_]*(?P<rest>(\.[a-z][a-z0-9_]*)+)?)(=(?P<value>[^`]*))?`")


def spelled(message: str) -> str:
    """The message with options in place of parameters."""
    return _NAMED.sub(_spelled, message) if "`" in message else message


def _spelled(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if match["rest"]:
        return f"--set {name}={value}" if value is not None else name
    option = "--" + name.replace("_", "-")
    if option not in _options():
        return match[0]
    return option if value is None else f"{option} {value}"


@cache
def _options() -> frozenset[str]:
    """All long options of all commands."""
    from typer.main import get_command

    from hgfctl.cli.app import app

    found: set[str] = set()

    def walk(command: Any) -> None:
        for parameter in command.params:
            found.update(option for option in parameter.opts if option.startswith("--"))
        for part in getattr(command, "commands", {}).values():
            walk(part)

    walk(get_command(app))
    return frozenset(found)
