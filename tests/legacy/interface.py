"""What a user can write: commands, options and components, to be compared with another version's."""

import inspect
from typing import Any, Literal, get_args, get_origin


def interface() -> dict[str, Any]:
    """What a user can write: commands with their options, and the names and options of all components."""
    return {"commands": _commands(), "components": _components()}


def _commands() -> dict[str, Any]:
    """Every command, down to the last, and what is known of each of its parameters."""
    import typer

    from hgfctl.cli.app import app

    found: dict[str, Any] = {}

    def look(command: Any, path: str) -> None:
        found[path] = {
            "arguments": [_parameter(one) for one in command.params if one.param_type_name == "argument"],
            "options": {
                spelling: _parameter(one)
                for one in command.params
                if one.param_type_name == "option"
                for spelling in (*one.opts, *one.secondary_opts)
            },
        }
        for name, below in getattr(command, "commands", {}).items():
            look(below, f"{path} {name}")

    look(typer.main.get_command(app), "hgfctl")
    return found


def _parameter(one: Any) -> dict[str, Any]:
    default, written = one.default, getattr(getattr(one, "type_descriptor", None), "annotation", None)
    return {
        "name": one.name,
        "required": bool(one.required),
        "many": bool(one.multiple or one.nargs == -1),
        "flag": bool(getattr(one, "is_flag", False)),
        "choices": sorted(get_args(written)) if get_origin(written) is Literal else [],
        "default": default if default is None or isinstance(default, bool | int | float | str) else str(default),
    }


def _components() -> dict[str, Any]:
    """Every registry, its names, and the options and defaults of each. The one place that knows where they lie."""
    from hgfctl.engine.data import AUGMENTATIONS, DATA
    from hgfctl.engine.features import FEATURES
    from hgfctl.engine.flows import FLOWS
    from hgfctl.engine.flows.forces import FORCES
    from hgfctl.engine.flows.priors import PRIORS
    from hgfctl.engine.flows.velocity_laws import VELOCITY_LAWS
    from hgfctl.engine.integrators import INTEGRATORS
    from hgfctl.engine.losses import LOSSES, TIMES
    from hgfctl.engine.models import CLOCKS, MODELS
    from hgfctl.engine.models.networks import NETWORKS
    from hgfctl.engine.solvers import GRIDS, SOLVERS

    registries = {
        "data": DATA,
        "augment": AUGMENTATIONS,
        "model": MODELS,
        "flow": FLOWS,
        "network": NETWORKS,
        "loss": LOSSES,
        "times": TIMES,
        "force": FORCES,
        "velocity": VELOCITY_LAWS,
        "prior": PRIORS,
        "clock": CLOCKS,
    }
    found: dict[str, Any] = {
        place: {name: _options(registry, name) for name in registry} for place, registry in registries.items()
    }
    named = {"sampler": SOLVERS, "grid": GRIDS, "features": FEATURES, "integrator": INTEGRATORS}
    return found | {place: {name: {} for name in registry} for place, registry in named.items()}


def _options(registry: Any, name: str) -> dict[str, str]:
    """Option -> its default as Python writes it; "needed" where there is none. The engine's own part is left out."""
    return {
        option: "needed" if parameter.default is parameter.empty else repr(parameter.default)
        for option, parameter in inspect.signature(registry[name]).parameters.items()
        if registry.has_option(name, option)
    }
