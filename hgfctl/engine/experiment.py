"""An experiment: everything that training needs, built from a configuration and fitting together."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from hgfctl.config import Component, Config
from hgfctl.engine.checkpoint import Checkpoint, score_of
from hgfctl.engine.compatibility import adopted, check_inside, with_defaults
from hgfctl.engine.data import AUGMENTATIONS
from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.density import known_density
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.forces.choose import ForceContext
from hgfctl.engine.losses import LOSSES, TIMES
from hgfctl.engine.losses.loss import Loss
from hgfctl.engine.models import needs_flow
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.model import Model
from hgfctl.engine.parts import build_flow, build_model, data_of, fresh_network, with_option
from hgfctl.engine.provided import AUGMENTATION, CRITIC, DATA_SCALE, DENSITY, TEACHER, TIMES_LAW
from hgfctl.engine.randomness import seeded
from hgfctl.errors import RequestError

MEASURED, FEWEST_MEASURED, COORDINATES_MEASURED = 8192, 512, 2**23
"""Items on which a flow without formulas is measured: at most, and how many where items are large."""


@dataclass(frozen=True)
class Experiment:
    """Everything that training needs, built and fitting together.

    Args:
        config: with all defaults filled in and what was measured of the data.
        data: where x0 comes from.
        model: freshly initialised from the seed.
        loss: what is minimised; where it is a module, with weights of its own.
        init: the checkpoint that the model starts from, if it does.
        flow: of the model, where it has one.
    """

    config: Config
    data: DataSet
    model: Model
    loss: Loss
    init: Checkpoint | None = None
    flow: Flow | None = None


def experiment(
    config: Config,
    device: torch.device,
    data: DataSet | None = None,
    init: Checkpoint | None = None,
    allow_code: bool = False,
) -> Experiment:
    """Builds what a configuration names.

    Args:
        config: of an experiment.
        device: where the model is to be.
        data: to take in place of those that the configuration names.
        init: a checkpoint to start from; a loss that has a teacher learns from it.
        allow_code: let a force be a user's own code.

    Raises:
        RequestError: an unknown name or option, or parts that do not fit each other.
    """
    data = data or data_of(config)
    if init is not None:
        config = adopted(config, init.config, init.path, init.shape, init.classes, data)
    elif config.init is not None:
        raise RequestError(f"preset {config.preset}: init is for `hgfctl train`; leave it out")
    if config.augment and len(data.shape) != 3:
        raise RequestError(f"augment '{config.augment.name}' is for images, and the data's items are {data.shape}")
    scaled = "flow" if needs_flow(config.model.name) else "model"
    component: Component | None = getattr(config, scaled)
    if component is not None and "sd" not in component.options:
        config = with_option(config, scaled, "sd", round(data.root_mean_square(), 6))
    config = with_defaults(config)
    flow = flow_of(config, data, allow_code) if config.flow else None
    with seeded(config.train.seed, device):
        model = build_model(config, data.shape, data.classes, flow).to(device)
        teacher = None
        if init is not None:
            assert isinstance(model, HVP)
            model.network.load_state_dict(init.model.network.state_dict())
            teacher = HVP(init.model.network, model.flow).eval()
        loss = _loss(config, data, teacher)
    return Experiment(config, data, model, loss.to(device) if isinstance(loss, nn.Module) else loss, init, flow)


def flow_of(config: Config, data: DataSet, allow_code: bool = False) -> Flow:
    """The flow that a configuration names, for these data, without a network; what has to be measured is.

    Raises:
        RequestError: it names none, or one that cannot be; the force fails where the data are.
    """
    if config.flow is None:
        raise RequestError(f"preset {config.preset} is of a score, which has no flow of its own; name one of a flow")
    if "sd" not in config.flow.options:
        config = with_option(config, "flow", "sd", round(data.root_mean_square(), 6))
    flow = build_flow(config, ForceContext(tuple(data.shape), allow_code, score_of))
    check_inside(flow, data)
    if not flow.measures:
        return flow
    count = max(FEWEST_MEASURED, min(MEASURED, COORDINATES_MEASURED // math.prod(data.shape)))
    return flow.measured(data.batch(0, count, config.train.seed).x)


def _loss(config: Config, data: DataSet, teacher: HVP | None) -> Loss:
    density = known_density(data)
    scale = config.flow or config.model
    if density is None and LOSSES.wants(config.loss.name, DENSITY):
        raise RequestError(
            f"loss '{config.loss.name}' needs the true score, and that of data '{config.data.name}' is not known"
        )
    loss: Loss = LOSSES.build(
        config.loss.name,
        config.loss.options,
        {
            TIMES_LAW: TIMES.build(config.times.name, config.times.options),
            AUGMENTATION: AUGMENTATIONS.build(config.augment.name, config.augment.options) if config.augment else None,
            CRITIC: fresh_network(config, data.shape, data.classes) if LOSSES.wants(config.loss.name, CRITIC) else None,
            DATA_SCALE: scale.options["sd"],
            DENSITY: density,
            TEACHER: teacher,
        },
    )
    return loss
