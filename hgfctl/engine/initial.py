"""Where a training starts when it does not start from random weights: a checkpoint whose network fits.

Under any two linear flows of the same `sd` a network is the same function: what it sees, c_in x = cos(phi) x0 / sd +
sin(phi) z with tan(phi) = sigma / sd, and what it says, cos(phi) z - sin(phi) x0 / sd, name neither. So a diffusion's
network is an oscillation's, as it stands.
"""

from pathlib import Path
from typing import Any

from hgfctl.engine.data import AUGMENTATIONS
from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.flows import FLOWS, is_linear
from hgfctl.engine.models import NETWORKS
from hgfctl.errors import RequestError
from hgfctl.presets import Component, Config

IN_TRAINING_ONLY = ("dropout", "label_dropout")
"""Options of networks that change how they are trained, but not what they are."""


def adopted(config: Config, origin: Config, path: Path, shape: tuple[int, ...], classes: int, data: DataSet) -> Config:
    """A configuration that starts from a checkpoint: with the `sd` of its flow, where it names none.

    Args:
        config: of the training.
        origin: of the checkpoint.
        path: of the checkpoint.
        shape, classes: that the checkpoint was trained for.
        data: of the training.

    Raises:
        RequestError: the network is another one; the message says what differs.
    """
    if config.model.name != "hvp" or origin.model.name != "hvp" or config.flow is None or origin.flow is None:
        raise RequestError(f"--init is for flows, and {path} is of model '{origin.model.name}'")
    if origin.loss.name == config.loss.name == "consistency" and config.loss.options.get("velocity") != "sample":
        raise RequestError(f"--init {path} is a consistency model, and cannot be the teacher of another one")
    sd = origin.flow.options["sd"]
    if "sd" not in config.flow.options:
        flow = Component(name=config.flow.name, options={**config.flow.options, "sd": sd})
        config = config.model_copy(update={"flow": flow})
    here, there = _form(config, data.shape, data.classes), _form(origin, shape, classes)
    differing = [key for key in (*there, *(here.keys() - there.keys())) if here.get(key) != there.get(key)]
    if differing:
        told = "; ".join(f"{key} is {there.get(key)} there and {here.get(key)} here" for key in differing)
        raise RequestError(f"--init {path} does not fit preset {config.preset}: {told}")
    return config


def _form(config: Config, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """What decides whether two networks are the same function."""
    assert config.flow is not None
    network = NETWORKS.options(config.network.name, config.network.options, ("shape", "classes", "augment_dim"))
    flow = FLOWS.options(config.flow.name, config.flow.options, ("supplied",))
    linear = is_linear(config.flow.name)
    return {
        "shape of an item": tuple(shape),
        "number of classes": classes,
        "network": config.network.name,
        **{f"network.{key}": value for key, value in network.items() if key not in IN_TRAINING_ONLY},
        "numbers that augment tells": AUGMENTATIONS[config.augment.name].labels if config.augment else 0,
        "flow": "a linear one" if linear else config.flow.name,
        **{f"flow.{key}": value for key, value in flow.items() if key == "sd" or not linear},
    }
