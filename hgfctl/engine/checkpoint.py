"""Checkpoints, read: a trained model, the configuration of the run that made it, and what both can be used for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hgfctl.engine import precision
from hgfctl.engine.flows import FLOWS, flow_name, is_linear
from hgfctl.engine.flows.forces.choose import ForceContext
from hgfctl.engine.flows.forces.learned import ScoreField
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.models import MODELS
from hgfctl.engine.models.guided import Guidance, seen_in
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.noised_score import NoisedScore, ScoreHVP, score_of_hvp
from hgfctl.engine.models.score import Field, Score
from hgfctl.engine.parts import Model, build_flow, build_model
from hgfctl.engine.sampling import optimized_grids
from hgfctl.engine.sampling.choose import sampler_of
from hgfctl.engine.sampling.optimized_grids import OptimizedGrid
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.errors import RequestError, unknown
from hgfctl.presets import Component, Config, SampleSection, configuration
from hgfctl.storage import tensor_files
from hgfctl.storage.runs import checkpoint_file

OF_FLOW = "flow/"
"""Before the names of tensors that belong to a checkpoint's flow rather than its network."""


@dataclass(frozen=True)
class Checkpoint:
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
        return [] if jumps else optimized_grids.read(self.path, self.hvp.flow)

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


def read_checkpoint(path: Path, device: torch.device) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        RequestError: no such file, or not a checkpoint.
        tensor_files.Damaged: truncated or altered.
    """
    tensors, description = tensor_files.load(path)
    if description.get("kind") not in MODELS:
        raise RequestError(f"{path} is not a checkpoint of a model, but of kind {description.get('kind')!r}")
    precision.use("fp32")
    config = configuration(description["config"], str(path))
    of_flow = flow_tensors(tensors)
    shape = tuple(description["shape"])
    flow = build_flow(config, ForceContext(shape, load_score=score_of, restoring=True)) if config.flow else None
    model = build_model(config, shape, description["classes"], flow.restored(of_flow) if flow else None)
    model.network.load_state_dict({name: part for name, part in tensors.items() if not name.startswith(OF_FLOW)})
    return Checkpoint(
        path=path,
        config=config,
        model=model.to(device).eval().requires_grad_(False),
        shape=shape,
        classes=description["classes"],
        step=description["step"],
        images=description["images"],
    )


def with_flow(model: Checkpoint, name: str | None) -> Checkpoint:
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


def guided_by(
    model: Checkpoint, weight: float, guide: Checkpoint | None = None, interval: tuple[float, float] | None = None
) -> Guidance:
    """Guidance of a checkpoint, by itself without its classes or by another one.

    Args:
        model: to be guided.
        weight, interval: see `Guidance`.
        guide: a weaker checkpoint of the same items; of the same classes, or of none.

    Raises:
        RequestError: the checkpoint does not know the flow without classes, or the two do not fit each other.
    """
    if isinstance(model.model, Score):
        raise RequestError(f"--guidance is for flows, and {model.path} is a score")
    if guide is None:
        if not model.classes:
            raise RequestError(f"--guidance: {model.path} was trained without classes; --guide CKPT needs none")
        if not model.config.network.options.get("label_dropout"):
            raise RequestError(
                f"--guidance: {model.path} was trained without label dropout, so it does not know the flow without "
                "classes\n--guide CKPT guides by a weaker checkpoint; --set network.label_dropout=0.1 trains for this"
            )
        return Guidance(weight, interval=interval)
    if guide.shape != model.shape:
        raise RequestError(
            f"--guide {guide.path}: its items are {guide.shape}, and those of {model.path} {model.shape}"
        )
    if guide.classes not in (0, model.classes):
        raise RequestError(
            f"--guide {guide.path}: it has {guide.classes} classes, and {model.path} {model.classes or 'none'}"
        )
    try:
        seen_in(model.hvp.flow, guide.hvp)
    except ValueError as error:
        raise RequestError(f"--guide {guide.path}: {error}") from None
    return Guidance(weight, guide.hvp, guide.path, interval)


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


def score_of(path: str) -> ScoreField:
    """The score of the data that a checkpoint or run knows, wherever x lies."""
    field = read_checkpoint(checkpoint_file(Path(path).expanduser()), torch.device("cpu")).model
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
