"""Checkpoints, read: a trained model, the configuration of the run that made it, and what both can be used for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hgfctl.config import Component, Config, SampleSection
from hgfctl.engine.flows import FLOWS, flow_name, is_linear
from hgfctl.engine.flows.forces.choose import ForceContext
from hgfctl.engine.flows.forces.learned import ScoreField
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.models import MODELS
from hgfctl.engine.models.guided import Guidance, seen_in
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.models.model import OF_FLOW, Field, Model
from hgfctl.engine.parts import build_flow, build_model
from hgfctl.engine.randomness import seeded
from hgfctl.engine.sampling import optimized_grids
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.optimized_grids import OptimizedGrid
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.errors import RequestError, unknown
from hgfctl.presets import configuration
from hgfctl.storage import tensor_files
from hgfctl.storage.runs import checkpoint_file


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, read.

    Args:
        path: the file.
        config: that of the run that made it.
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
        try:
            hvp: HVP = self.model.as_hvp()
        except RequestError as error:
            raise RequestError(f"{self.path} {error}") from None
        return hvp

    @property
    def searched(self) -> list[OptimizedGrid]:
        """Grids that were optimised for this checkpoint.

        Raises:
            HgfctlError: their file is damaged.
        """
        return optimized_grids.read(self.path, self.hvp.flow) if self.model.is_followed() else []

    def sampler(
        self,
        nfe: int | None = None,
        sampler: str | Component | None = None,
        grid: str | None = None,
        guidance: Guidance | None = None,
        default: SampleSection | None = None,
    ) -> Sampler:
        """The model's sampler, see `sampler_for`; `default` is the checkpoint's own section when None."""
        section = default or self.config.sample
        request = SamplingRequest.of(section, nfe, sampler, grid, guidance, self.searched)
        return sampler_for(self.model, self.shape, self.classes, request)

    def score(self, sigma: float | None = None) -> Field:
        """The model as a score field: of the data, or of data with noise sigma.

        Raises:
            RequestError: it knows one of the two only, and the other was asked for.
        """
        return self.model.score_field(sigma)


def read_checkpoint(path: Path, device: torch.device) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        RequestError: no such file, or not a checkpoint.
        tensor_files.Damaged: truncated or altered.
    """
    tensors, description = tensor_files.load(path)
    if description.get("kind") not in MODELS:
        raise RequestError(f"{path} is not a checkpoint of a model, but of kind {description.get('kind')!r}")
    config = configuration(description["config"], str(path))
    of_flow = flow_tensors(tensors)
    shape = tuple(description["shape"])
    flow = build_flow(config, ForceContext(shape, load_score=score_of, restoring=True)) if config.flow else None
    with seeded(0, torch.device("cpu")):  # what is drawn here makes room for the checkpoint's weights
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
    own = model.model.flow
    if not isinstance(own, LinearFlow):
        kind = model.config.model.name if own is None else flow_name(own)
        raise RequestError(
            f"`flow`: {model.path} is of kind {kind}; only the velocities of {', '.join(linear)} become one another"
        )
    if flow_name(own) == name:
        return model
    options = FLOWS.options(name, {"sd": own.sd})
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
    if model.model.flow is None and not model.model.is_followed():
        raise RequestError(f"`guidance` is for flows, and {model.path} is {model.model.described}")
    if guide is None:
        if not model.classes:
            raise RequestError(f"`guidance`: {model.path} was trained without classes; a `guide` needs none")
        if not model.config.network.options.get("label_dropout"):
            raise RequestError(
                f"`guidance`: {model.path} was trained without label dropout, so it does not know the flow without "
                "classes\n`guide=CKPT` guides by a weaker checkpoint; `network.label_dropout=0.1` trains for this"
            )
        return Guidance(weight, interval=interval)
    if guide.shape != model.shape:
        raise RequestError(
            f"`guide` {guide.path}: its items are {guide.shape}, and those of {model.path} {model.shape}"
        )
    if guide.classes not in (0, model.classes):
        raise RequestError(
            f"`guide` {guide.path}: it has {guide.classes} classes, and {model.path} {model.classes or 'none'}"
        )
    try:
        seen_in(model.hvp.flow, guide.hvp)
    except ValueError as error:
        raise RequestError(f"`guide` {guide.path}: {error}") from None
    return Guidance(weight, guide.hvp, guide.path, interval)


def score_of(path: str) -> ScoreField:
    """The score of the data that a checkpoint or run knows, wherever x lies."""
    model = read_checkpoint(checkpoint_file(Path(path).expanduser()), torch.device("cpu")).model
    try:
        field = model.score_field()
    except RequestError:
        raise RequestError(f"force.checkpoint {path} is no score of the data, as\npreset gmm-hsm learns") from None

    def score(x: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        model.to(x.device)
        return field(x, labels)

    return score


def flow_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Those tensors of a checkpoint that its flow has measured, under the flow's own names."""
    return {name.removeprefix(OF_FLOW): part for name, part in tensors.items() if name.startswith(OF_FLOW)}
