"""How the command line spells what the engine names: `nfe` in a message of the engine is --nfe here.

The engine writes parameters between backticks, as Python has them: `guidance_interval`, `nfe=10`, or a key of the
configuration with its value, `train.batch=64`. A user of the shell reads --guidance-interval, --nfe 10 and
--set train.batch=64.
Between backticks that hold anything else, such as a command, nothing changes.
"""

import re

_NAMED = re.compile(r"`(?P<name>[a-z][a-z0-9_]*(?P<rest>(\.[a-z][a-z0-9_]*)+)?)(=(?P<value>[^`]*))?`")


def spelled(message: str) -> str:
    """The message with options in place of parameters."""
    return _NAMED.sub(_spelled, message) if "`" in message else message


def _spelled(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    if match["rest"]:
        return f"--set {name}={value}" if value is not None else name
    option = "--" + name.replace("_", "-")
    return option if value is None else f"{option} {value}"
