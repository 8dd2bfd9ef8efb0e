"""Checks that parts of an experiment fit each other: loss and model, network and initial weights, data and flow.

Under any two linear flows of the same `sd` a network is the same function: what it sees, c_in x = cos(phi) x0 / sd +
sin(phi) z with tan(phi) = sigma / sd, and what it says, cos(phi) z - sin(phi) x0 / sd, name neither. So a diffusion's
network is an oscillation's, as it stands.
"""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hgfctl.config import COMPONENTS, Component, Config
from hgfctl.engine.data import AUGMENTATIONS, DATA
from hgfctl.engine.data.dataset import DataSet, Finite
from hgfctl.engine.flows import FLOWS, is_linear
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.losses import LOSSES, TIMES, losses_for
from hgfctl.engine.models import MODELS, needs_flow
from hgfctl.engine.models.networks import NETWORKS
from hgfctl.engine.provided import AUGMENTATION, AUGMENTED_NUMBERS
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.options import with_defaults as with_default_options
from hgfctl.errors import RequestError
from hgfctl.registry import Registry

IN_TRAINING_ONLY = ("dropout", "label_dropout")
"""Options of networks that change how they are trained, but not what they are."""
LOOKED_AT = 10_000
"""Items, at most, of those that are chosen at random."""
NUMBERS = 2**24
"""Coordinates of all of them together, at most."""


def with_defaults(config: Config) -> Config:
    """The same with every option of every component written out, and the durations that follow from others.

    Raises:
        RequestError: an unknown name or option, a wrong value, or a loss that does not train the model.
    """
    _check_fit(config)
    for place in COMPONENTS:
        registry = _REGISTRIES[place]
        component: Component | None = getattr(config, place)
        if component is None:
            continue
        options = registry.options(component.name, component.options)
        config = config.model_copy(update={place: Component(name=component.name, options=options)})
    save_every = config.train.save_every or max(config.train.images // 10, config.train.batch)
    sample_every = config.train.sample_every or save_every
    train = config.train.model_copy(update={"save_every": save_every, "sample_every": sample_every})
    sample = config.sample.changed(sampler=with_default_options(config.sample.sampler))
    return config.model_copy(update={"train": train, "sample": sample})


def _check_fit(config: Config) -> None:
    of_hvp = needs_flow(config.model.name)
    if of_hvp and config.flow is None:
        raise RequestError(f"preset {config.preset}: flow: a value is needed; known: {', '.join(FLOWS)}")
    if not of_hvp and config.flow is not None:
        raise RequestError(f"preset {config.preset}: flow: a score has none; leave it out, or set model=hvp")
    if not LOSSES.class_of(config.loss.name).fits(MODELS.class_of(config.model.name)):
        raise RequestError(
            f"loss '{config.loss.name}' does not train model '{config.model.name}'; "
            f"{', '.join(losses_for(config.model.name))} would"
        )
    if config.flow and MODELS[config.model.name].linear_only and not is_linear(config.flow.name):
        raise RequestError(f"model '{config.model.name}' needs a linear flow, and '{config.flow.name}' is none")
    if config.augment:
        if not LOSSES.wants(config.loss.name, AUGMENTATION):
            raise RequestError(f"loss '{config.loss.name}' takes no augmentation; leave augment out")
        if AUGMENTATIONS[config.augment.name].labels and not NETWORKS.wants(config.network.name, AUGMENTED_NUMBERS):
            raise RequestError(
                f"network '{config.network.name}' cannot be told what augment '{config.augment.name}' did; "
                "augment=flip, or another network"
            )


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
    here_model, there_model = MODELS[config.model.name], MODELS[origin.model.name]
    exchanged = here_model.exchanges_networks and there_model.exchanges_networks
    if not exchanged or config.flow is None or origin.flow is None:
        raise RequestError(f"`init` is for flows, and {path} is of model '{origin.model.name}'")
    jumping = not here_model.is_followed() and not there_model.is_followed()
    if jumping and config.loss.options.get("velocity") != "sample":
        raise RequestError(f"`init` {path} is a consistency model, and cannot be the teacher of another one")
    sd = origin.flow.options["sd"]
    if "sd" not in config.flow.options:
        flow = Component(name=config.flow.name, options={**config.flow.options, "sd": sd})
        config = config.model_copy(update={"flow": flow})
    here, there = _form(config, data.shape, data.classes), _form(origin, shape, classes)
    differing = [key for key in (*there, *(here.keys() - there.keys())) if here.get(key) != there.get(key)]
    if differing:
        differences = "; ".join(f"{key} is {there.get(key)} there and {here.get(key)} here" for key in differing)
        raise RequestError(f"`init` {path} does not fit preset {config.preset}: {differences}")
    return config


def _form(config: Config, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """All that decides whether two networks are the same function."""
    assert config.flow is not None
    network = NETWORKS.options(config.network.name, config.network.options)
    flow = FLOWS.options(config.flow.name, config.flow.options)
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


def check_inside(flow: Flow, data: DataSet) -> None:
    """Looks at some of the data.

    Raises:
        RequestError: items that lie outside the flow's domain: how many, and the worst or the first of them.
    """
    if flow.domain is None:
        return
    x = _some(data)
    try:
        outside = flow.outside(x).flatten(1)
    except ValueError as error:
        raise RequestError(f"data: {error}") from None
    bad = outside.any(1)
    if not bad.any():
        return
    count = f"{int(bad.sum()):,} of {len(x):,} items of the data that were looked at lie outside {flow.domain}"
    if flow.walls is None:
        first = x[bad][0].flatten()
        numbers = ", ".join(f"{value:.4g}" for value in first[:9].tolist()) + (", ..." if len(first) > 9 else "")
        raise RequestError(f"{count},\nthe first of them at [{numbers}], of length {float(first.norm()):.4g}")
    beyond = torch.maximum(flow.walls[0] - x, x - flow.walls[1])
    place = int(beyond.argmax())
    where = torch.unravel_index(torch.tensor(place), x.shape)[1:]
    coordinate = ", ".join(str(int(axis)) for axis in where)
    raise RequestError(
        f"{count},\nfarthest in coordinate {coordinate} (from 0 on), which is {float(x.flatten()[place]):.6g}; "
        "set flow.lo and flow.hi, or scale the data"
    )


def _some(data: DataSet) -> Tensor:
    """(N, *shape), always the same ones."""
    count = max(1, min(LOOKED_AT, NUMBERS // math.prod(data.shape)))
    if not isinstance(data, Finite):
        return data.batch(0, count, 0).x
    return data.at(torch.randperm(len(data), generator=generator("inside"))[:count].sort().values).x


_REGISTRIES: dict[str, Registry] = {
    "data": DATA,
    "augment": AUGMENTATIONS,
    "model": MODELS,
    "flow": FLOWS,
    "network": NETWORKS,
    "loss": LOSSES,
    "times": TIMES,
}
