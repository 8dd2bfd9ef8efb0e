"""From a configuration, or a checkpoint, to data, flow, network and loss: the one place that knows all rooms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hgfctl import checkpoints
from hgfctl.engine import precision
from hgfctl.engine.data import AUGMENTATIONS, DATA
from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.density import known_density
from hgfctl.engine.domain import check_inside
from hgfctl.engine.flows import FLOWS, flow_name, is_linear
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.forces.choose import Supplied
from hgfctl.engine.flows.forces.learned import ScoreField
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.initial import adopted
from hgfctl.engine.losses import LOSSES, TIMES, TRAINS
from hgfctl.engine.losses.loss import Loss
from hgfctl.engine.models import MODELS, NETWORKS, OF_FLOWS
from hgfctl.engine.models.guided import Guidance
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.noised_score import NoisedScore, ScoreHVP, score_of_hvp
from hgfctl.engine.models.score import Field, Score
from hgfctl.engine.sampling import sampler_of
from hgfctl.engine.solvers import optimized
from hgfctl.engine.solvers.optimized import OptimizedGrid
from hgfctl.engine.solvers.sampling import Sampler
from hgfctl.errors import RequestError, unknown
from hgfctl.presets import COMPONENTS, Component, Config, SampleSection, configuration
from hgfctl.registry import Registry

Model = HVP | Score | NoisedScore

OF_FLOW = "flow/"
"""Before the names of tensors that belong to a checkpoint's flow rather than its network."""
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
    """

    config: Config
    data: DataSet
    model: Model
    loss: Loss
    init: "Trained | None" = None


@dataclass(frozen=True)
class Trained:
    """A checkpoint, read.

    Args:
        path: of the file.
        config: of the run that made it.
        model: with the EMA weights, in evaluation mode.
        shape: of an item.
        classes: number of classes; 0 for none.
        step, images: how far training had come.
    """

    path: Path
    config: Config
    model: Model
    shape: tuple[int, ...]
    classes: int
    step: int
    images: int

    @property
    def hvp(self) -> HVP:
        """The model as an HVP; a noise-conditional score is one of a diffusion.

        Raises:
            RequestError: it is the score of the data alone, or a consistency model.
        """
        if isinstance(self.model, Score):
            raise RequestError(f"{self.path} is a score, not an HVP; `score-match --evaluate` and `sample` take it")
        if self.config.loss.name == "consistency":
            raise RequestError(f"{self.path} is a consistency model: it jumps to the data, and has no flow to follow")
        return ScoreHVP(self.model) if isinstance(self.model, NoisedScore) else self.model

    @property
    def searched(self) -> list[OptimizedGrid]:
        """Grids that were optimised for this checkpoint.

        Raises:
            HgfctlError: their file is damaged.
        """
        jumps = isinstance(self.model, Score) or self.config.loss.name == "consistency"
        return [] if jumps else optimized.read(self.path, self.hvp.flow)

    def sampler(
        self,
        nfe: int | None = None,
        sampler: str | None = None,
        grid: str | None = None,
        guidance: Guidance | None = None,
        default: SampleSection | None = None,
    ) -> Sampler:
        """How the model is sampled, see `sampler_of`; `default` is the checkpoint's own section when None."""
        default = default or self.config.sample
        return sampler_of(
            self.model, self.shape, self.classes, default, nfe, sampler, grid, guidance, searched=self.searched
        )

    def score(self, sigma: float | None = None) -> Field:
        """The model as a score field: of the data, or of data with noise sigma.

        Raises:
            RequestError: it knows one of the two only, and the other was asked for.
        """
        return score_field(self.model, sigma)


def experiment(
    config: Config,
    device: torch.device,
    data: DataSet | None = None,
    init: Trained | None = None,
    allow_code: bool = False,
) -> Experiment:
    """Builds what a configuration names.

    Args:
        config: of an experiment.
        device: where the model is to be.
        data: to take in place of those that the configuration names.
        init: a checkpoint to start from; a loss that has a teacher learns from it.
        allow_code: whether a force may be a user's own code.

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
    scaled = "flow" if config.model.name in OF_FLOWS else "model"
    component: Component | None = getattr(config, scaled)
    if component is not None and "sd" not in component.options:
        config = _with_option(config, scaled, "sd", round(data.root_mean_square(), 6))
    config = with_defaults(config)
    flow = flow_of(config, data, allow_code) if config.flow else None
    torch.manual_seed(config.train.seed)
    model = _model(config, data.shape, data.classes, flow).to(device)
    teacher = None
    if init is not None:
        assert isinstance(model, HVP)
        model.network.load_state_dict(init.model.network.state_dict())
        teacher = HVP(init.model.network, model.flow).eval()
    loss = _loss(config, data, teacher)
    return Experiment(config, data, model, loss.to(device) if isinstance(loss, nn.Module) else loss, init)


def score_field(model: Model, sigma: float | None = None) -> Field:
    """A model as a score field: of the data, or of data with noise sigma.

    Raises:
        RequestError: it knows one of the two only, and the other was asked for.
    """
    if isinstance(model, Score):
        if sigma is not None:
            raise RequestError("--noise: this is the score of the data themselves; leave it out")
        return model
    if sigma is None:
        raise RequestError("this model knows the score of noised data; --noise 0.1 says at which noise level")
    if isinstance(model, HVP):
        return score_of_hvp(model, sigma)
    if not model.sigma_min * (1 - 1e-9) <= sigma <= model.sigma_max * (1 + 1e-9):
        raise RequestError(
            f"--noise {sigma:g}: this model was trained between {model.sigma_min:g} and {model.sigma_max:g}"
        )
    return model.at(sigma)


def root_mean_square(model: Model) -> float:
    """Of the model's data, per coordinate."""
    return model.flow.sd if isinstance(model, HVP) else model.sd


def with_defaults(config: Config) -> Config:
    """The same with every option of every component written out, and the durations that follow from others.

    Raises:
        RequestError: an unknown name or option, a wrong value, or a loss that does not train the model.
    """
    _check_fit(config)
    for place in COMPONENTS:
        registry, supplied = _REGISTRIES[place]
        component: Component | None = getattr(config, place)
        if component is None:
            continue
        options = registry.options(component.name, component.options, supplied)
        config = config.model_copy(update={place: Component(name=component.name, options=options)})
    save_every = config.train.save_every or max(config.train.images // 10, config.train.batch)
    sample_every = config.train.sample_every or save_every
    train = config.train.model_copy(update={"save_every": save_every, "sample_every": sample_every})
    if config.loss.name == "consistency" and config.sample.sampler == "auto":
        config = config.model_copy(update={"sample": config.sample.model_copy(update={"sampler": "consistency"})})
    return config.model_copy(update={"train": train})


def trained(path: Path, device: torch.device) -> Trained:
    """Reads a checkpoint.

    Raises:
        RequestError: no such file, or not a checkpoint.
        checkpoints.Damaged: truncated or altered.
    """
    tensors, description = checkpoints.load(path)
    if description.get("kind") not in MODELS:
        raise RequestError(f"{path} is not a checkpoint of a model, but of kind {description.get('kind')!r}")
    precision.use("fp32")
    config = configuration(description["config"], str(path))
    of_flow = flow_tensors(tensors)
    shape = tuple(description["shape"])
    flow = _flow(config, Supplied(shape, load_score=_score_of, restoring=True)) if config.flow else None
    model = _model(config, shape, description["classes"], flow.restored(of_flow) if flow else None)
    model.network.load_state_dict({name: part for name, part in tensors.items() if not name.startswith(OF_FLOW)})
    return Trained(
        path=path,
        config=config,
        model=model.to(device).eval().requires_grad_(False),
        shape=shape,
        classes=description["classes"],
        step=description["step"],
        images=description["images"],
    )


def under_flow(model: Trained, name: str | None) -> Trained:
    """The same network as the predictor of another flow, for data of the same scale; see `HVP.under`.

    Args:
        model: of a linear flow.
        name: of a linear flow; None for the model's own.

    Raises:
        RequestError: one of the two is not linear, or the model predicts no velocity.
    """
    if name is None:
        return model
    linear = sorted(filter(is_linear, FLOWS))
    if name not in linear:
        raise unknown("flow", name, linear, "to sample by")
    if not isinstance(model.model, HVP) or not isinstance(model.model.flow, LinearFlow):
        kind = flow_name(model.model.flow) if isinstance(model.model, HVP) else model.config.model.name
        raise RequestError(
            f"--flow: {model.path} is of kind {kind}; only the velocities of {', '.join(linear)} become one another"
        )
    if flow_name(model.model.flow) == name:
        return model
    options = FLOWS.options(name, {"sd": model.model.flow.sd})
    config = model.config.model_copy(update={"flow": Component(name=name, options=options)})
    return replace(model, config=config, model=model.model.under(FLOWS.build(name, options)))


def _check_fit(config: Config) -> None:
    of_hvp = config.model.name in OF_FLOWS
    if of_hvp and config.flow is None:
        raise RequestError(f"preset {config.preset}: flow: a value is needed; known: {', '.join(FLOWS)}")
    if not of_hvp and config.flow is not None:
        raise RequestError(f"preset {config.preset}: flow: a score has none; leave it out, or set model=hvp")
    if config.loss.name in LOSSES and config.model.name in TRAINS and config.loss.name not in TRAINS[config.model.name]:
        raise RequestError(
            f"loss '{config.loss.name}' does not train model '{config.model.name}'; "
            f"{', '.join(TRAINS[config.model.name])} would"
        )
    if config.loss.name == "consistency" and config.flow and not is_linear(config.flow.name):
        raise RequestError(f"loss 'consistency' needs a linear flow, and '{config.flow.name}' is none")
    if config.augment:
        if not LOSSES.asks_for(config.loss.name, "augment"):
            raise RequestError(f"loss '{config.loss.name}' takes no augmentation; leave augment out")
        if AUGMENTATIONS[config.augment.name].labels and not NETWORKS.asks_for(config.network.name, "augment_dim"):
            raise RequestError(
                f"network '{config.network.name}' cannot be told what augment '{config.augment.name}' did; "
                "augment=flip, or another network"
            )


def _model(config: Config, shape: tuple[int, ...], classes: int, flow: Flow | None) -> Model:
    model: Model = MODELS.build(
        config.model.name, config.model.options, network=fresh_network(config, shape, classes), flow=flow
    )
    return model


def flow_of(config: Config, data: DataSet, allow_code: bool = False) -> Flow:
    """The flow that a configuration names, for these data, without a network; what has to be measured is.

    Raises:
        RequestError: it names none, or one that cannot be; the force fails where the data are.
    """
    if config.flow is None:
        raise RequestError(f"preset {config.preset} is of a score, which has no flow of its own; name one of a flow")
    if "sd" not in config.flow.options:
        config = _with_option(config, "flow", "sd", round(data.root_mean_square(), 6))
    flow = _flow(config, Supplied(tuple(data.shape), allow_code, _score_of))
    check_inside(flow, data)
    if not flow.measures:
        return flow
    count = max(FEWEST_MEASURED, min(MEASURED, COORDINATES_MEASURED // math.prod(data.shape)))
    return flow.measured(data.batch(0, count, config.train.seed).x)


def _flow(config: Config, supplied: Supplied) -> Flow:
    assert config.flow is not None
    flow: Flow = FLOWS.build(config.flow.name, config.flow.options, supplied=supplied)
    return flow


def _score_of(path: str) -> ScoreField:
    """The score of the data that a checkpoint or run knows, wherever x lies."""
    from hgfctl.runs import checkpoint_file

    field = trained(checkpoint_file(Path(path).expanduser()), torch.device("cpu")).model
    if not isinstance(field, Score):
        raise RequestError(
            f"force.checkpoint {path} is no score of the data, as\n`hgfctl score-match --preset gmm-hsm` learns"
        )
    return lambda x, labels: field.to(x.device)(x, labels)


def weights(model: Model) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint: of the network, and what its flow has measured."""
    of_flow = model.flow.tensors() if isinstance(model, HVP) else {}
    return {**model.network.state_dict(), **{OF_FLOW + name: tensor for name, tensor in of_flow.items()}}


def flow_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of a checkpoint's tensors those that its flow has measured, under the flow's own names."""
    return {name.removeprefix(OF_FLOW): part for name, part in tensors.items() if name.startswith(OF_FLOW)}


def data_of(config: Config) -> DataSet:
    """The data that a configuration names.

    Raises:
        RequestError: they are not there, or not usable.
    """
    name = config.data.name
    if name not in DATA and Path(name).suffix in (".npz", ".npy", ".zip"):
        kind = "folder" if name.endswith(".zip") else "array"
        raise RequestError(f"unknown data '{name}'; of a file it is data={{name: {kind}, path: {name}}}")
    data: DataSet = DATA.build(name, config.data.options)
    return data


def fresh_network(config: Config, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network that a configuration names, newly initialised: for critics, too."""
    network: nn.Module = NETWORKS.build(
        config.network.name,
        config.network.options,
        shape=shape,
        classes=classes,
        augment_dim=AUGMENTATIONS[config.augment.name].labels if config.augment else 0,
    )
    return network


def _loss(config: Config, data: DataSet, teacher: HVP | None) -> Loss:
    density = known_density(data)
    if config.loss.name == "esm" and density is None:
        raise RequestError(f"loss 'esm' needs the true score, and that of data '{config.data.name}' is not known")
    loss: Loss = LOSSES.build(
        config.loss.name,
        config.loss.options,
        times=TIMES.build(config.times.name, config.times.options),
        augment=AUGMENTATIONS.build(config.augment.name, config.augment.options) if config.augment else None,
        critic=fresh_network(config, data.shape, data.classes) if LOSSES.asks_for(config.loss.name, "critic") else None,
        sd=config.model.options.get("sd"),
        density=density,
        teacher=teacher,
    )
    return loss


def _with_option(config: Config, place: str, option: str, value: Any) -> Config:
    component: Component = getattr(config, place)
    options = {**component.options, option: value}
    return config.model_copy(update={place: Component(name=component.name, options=options)})


_REGISTRIES: dict[str, tuple[Registry, tuple[str, ...]]] = {
    "data": (DATA, ()),
    "augment": (AUGMENTATIONS, ()),
    "model": (MODELS, ("network", "flow")),
    "flow": (FLOWS, ("supplied",)),
    "network": (NETWORKS, ("shape", "classes", "augment_dim")),
    "loss": (LOSSES, ("times", "augment", "critic", "sd", "density", "teacher")),
    "times": (TIMES, ()),
}
