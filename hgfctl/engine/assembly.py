"""From a configuration, or a checkpoint, to data, flow, network and loss: the one place that knows all rooms."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hgfctl import checkpoints
from hgfctl.engine.data import DATA
from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.losses import LOSSES, TIMES
from hgfctl.engine.losses.hvp_regression import HVPRegression
from hgfctl.engine.models import NETWORKS
from hgfctl.engine.models.hvp import HVP
from hgfctl.errors import RequestError
from hgfctl.presets import COMPONENTS, Component, Config, configuration
from hgfctl.registry import Registry


@dataclass(frozen=True)
class Experiment:
    """Everything that training needs, built and fitting together.

    Args:
        config: with all defaults filled in and what was measured of the data.
        data: where x0 comes from.
        hvp: the predictor, freshly initialised from the seed.
        loss: what is minimised.
    """

    config: Config
    data: DataSet
    hvp: HVP
    loss: HVPRegression


@dataclass(frozen=True)
class Trained:
    """A checkpoint, read.

    Args:
        path: of the file.
        config: of the run that made it.
        hvp: with the EMA weights, in evaluation mode.
        shape: of an item.
        classes: number of classes; 0 for none.
        step, images: how far training had come.
    """

    path: Path
    config: Config
    hvp: HVP
    shape: tuple[int, ...]
    classes: int
    step: int
    images: int


def experiment(config: Config, device: torch.device) -> Experiment:
    """Builds what a configuration names.

    Raises:
        RequestError: an unknown name or option, or parts that do not fit each other.
    """
    data: DataSet = DATA.build(config.data.name, config.data.options)
    if "sd" not in config.flow.options:
        config = _with_option(config, "flow", "sd", round(data.root_mean_square(), 6))
    config = with_defaults(config)
    torch.manual_seed(config.train.seed)
    hvp = _hvp(config, data.shape, data.classes)
    times = TIMES.build(config.times.name, config.times.options)
    loss = LOSSES.build(config.loss.name, config.loss.options, times=times)
    return Experiment(config, data, hvp.to(device), loss)


def with_defaults(config: Config) -> Config:
    """The same with every option of every component written out, and the durations that follow from others.

    Raises:
        RequestError: an unknown name or option, or a wrong value.
    """
    for place in COMPONENTS:
        registry, supplied = _REGISTRIES[place]
        component: Component = getattr(config, place)
        options = registry.options(component.name, component.options, supplied)
        config = config.model_copy(update={place: Component(name=component.name, options=options)})
    save_every = config.train.save_every or max(config.train.images // 10, config.train.batch)
    sample_every = config.train.sample_every or save_every
    train = config.train.model_copy(update={"save_every": save_every, "sample_every": sample_every})
    return config.model_copy(update={"train": train})


def trained(path: Path, device: torch.device) -> Trained:
    """Reads a checkpoint.

    Raises:
        RequestError: no such file, or not a checkpoint.
        checkpoints.Damaged: truncated or altered.
    """
    tensors, description = checkpoints.load(path)
    if description.get("kind") != "hvp":
        raise RequestError(f"{path} is not a checkpoint of an HVP, but of kind {description.get('kind')!r}")
    config = configuration(description["config"], str(path))
    hvp = _hvp(config, tuple(description["shape"]), description["classes"])
    hvp.network.load_state_dict(tensors)
    return Trained(
        path=path,
        config=config,
        hvp=hvp.to(device).eval().requires_grad_(False),
        shape=tuple(description["shape"]),
        classes=description["classes"],
        step=description["step"],
        images=description["images"],
    )


def _hvp(config: Config, shape: tuple[int, ...], classes: int) -> HVP:
    flow: Flow = FLOWS.build(config.flow.name, config.flow.options)
    network = NETWORKS.build(config.network.name, config.network.options, shape=shape, classes=classes)
    return HVP(network, flow)


def _with_option(config: Config, place: str, option: str, value: Any) -> Config:
    component: Component = getattr(config, place)
    options = {**component.options, option: value}
    return config.model_copy(update={place: Component(name=component.name, options=options)})


_REGISTRIES: dict[str, tuple[Registry, tuple[str, ...]]] = {
    "data": (DATA, ()),
    "flow": (FLOWS, ()),
    "network": (NETWORKS, ("shape", "classes")),
    "loss": (LOSSES, ("times",)),
    "times": (TIMES, ()),
}
