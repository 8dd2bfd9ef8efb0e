"""The parts that a configuration names: data, network, flow, model; an experiment and a checkpoint both build them."""

from typing import Any

from torch import nn

from hgfctl.config import Component, Config
from hgfctl.engine.data import AUGMENTATIONS, DATA
from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.locate import kind_by_ending
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.forces.choose import ForceContext
from hgfctl.engine.models import MODELS
from hgfctl.engine.models.model import Model
from hgfctl.engine.models.networks import NETWORKS
from hgfctl.engine.provided import AUGMENTED_NUMBERS, CLASS_COUNT, FLOW, FORCE_CONTEXT, ITEM_SHAPE, NETWORK
from hgfctl.errors import RequestError


def data_of(config: Config) -> DataSet:
    """The data that a configuration names.

    Raises:
        RequestError: they are not there, or not usable.
    """
    name = config.data.name
    kind = None if name in DATA else kind_by_ending(name)
    if kind is not None:
        raise RequestError(f"unknown data '{name}'; of a file it is data={{name: {kind}, path: {name}}}")
    data: DataSet = DATA.build(name, config.data.options)
    return data


def build_flow(config: Config, context: ForceContext) -> Flow:
    assert config.flow is not None
    flow: Flow = FLOWS.build(config.flow.name, config.flow.options, {FORCE_CONTEXT: context, ITEM_SHAPE: context.shape})
    return flow


def fresh_network(config: Config, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network that a configuration names, newly initialised: for critics, too."""
    network: nn.Module = NETWORKS.build(
        config.network.name,
        config.network.options,
        {
            ITEM_SHAPE: shape,
            CLASS_COUNT: classes,
            AUGMENTED_NUMBERS: AUGMENTATIONS[config.augment.name].labels if config.augment else 0,
        },
    )
    return network


def build_model(config: Config, shape: tuple[int, ...], classes: int, flow: Flow | None) -> Model:
    model: Model = MODELS.build(
        config.model.name, config.model.options, {NETWORK: fresh_network(config, shape, classes), FLOW: flow}
    )
    return model


def with_option(config: Config, place: str, option: str, value: Any) -> Config:
    component: Component = getattr(config, place)
    options = {**component.options, option: value}
    return config.model_copy(update={place: Component(name=component.name, options=options)})
