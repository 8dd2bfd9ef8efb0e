"""Python's face of hgfctl: train, load, sample, evaluate and convert, as the commands of these names do.

    run = hgfctl.train("ring-oscillation", {"train.images": 20_000})
    x = hgfctl.load(run.folder).sample(64, nfe=10)

RequestError is raised for what a user can mend, HgfctlError where the work failed. No state of the process is changed:
torch's generators and its switches of precision are after a call as they were before it.
"""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from hgfctl import presets
from hgfctl.engine import precision as arithmetic
from hgfctl.engine.checkpoint import Checkpoint, guided_by, read_checkpoint, with_flow
from hgfctl.engine.data.dataset import Batch, Items
from hgfctl.engine.precision import Inference
from hgfctl.engine.ranks import alone, device_named
from hgfctl.engine.sampling.sampler import shared_batches
from hgfctl.engine.training.events import Listener, ignore
from hgfctl.engine.training.opening import open_session
from hgfctl.engine.training.request import as_path, request
from hgfctl.errors import RequestError
from hgfctl.presets import Config
from hgfctl.registry import Registry
from hgfctl.storage.runs import Run, checkpoint_file

Place = str | PathLike[str]
"""A path."""

KINDS = {
    "hgfctl.engine.flows.forces.force:Force": "hgfctl.engine.flows.forces:FORCES",
    "hgfctl.engine.flows.flow:Flow": "hgfctl.engine.flows:FLOWS",
    "hgfctl.engine.solvers.solver:Solver": "hgfctl.engine.solvers:SOLVERS",
    "hgfctl.engine.models.networks.network:Network": "hgfctl.engine.models.networks:NETWORKS",
    "hgfctl.engine.data.dataset:DataSet": "hgfctl.engine.data:DATA",
    "hgfctl.engine.losses.loss:Loss": "hgfctl.engine.losses:LOSSES",
    "hgfctl.engine.evaluation.metrics.metric:Metric": "hgfctl.engine.evaluation.metrics:METRICS",
}
"""Base class -> the registry of those that derive from it."""


def preset(name: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration of a preset.

    Args:
        name: a shipped preset, or the path of a YAML file.
        overrides: `{"train.lr": 1e-3}`, or nested, `{"train": {"lr": 1e-3}}`.

    Raises:
        RequestError: an unknown preset, key or value.
    """
    return presets.load(name, overrides or {})


def train(
    preset: str | Config | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    runs: Place = "runs",
    resume: bool | Place = False,
    init: Place | None = None,
    data: Place | None = None,
    on_event: Listener | None = None,
    device: str = "auto",
    allow_code: bool = False,
) -> Run:
    """Trains a flow or a score to its end; Ctrl-C saves first.

    Args:
        preset: a shipped name, a YAML file, or a configuration; None where `resume` names a run.
        overrides: see `preset`.
        runs: where run folders are made.
        resume: True goes on with the preset's newest run, or begins one where there is none; a path names the run.
        init: the checkpoint or run to start from.
        data: a folder or zip of images, an .npz or .npy file, in place of the preset's data.
        on_event: called with each event, see `hgfctl.engine.training.events`.
        device: auto, cpu, cuda, cuda:1, mps.
        allow_code: import, and run, code that a preset names as module:attr.

    Returns:
        The run: `run.folder`, and `run.checkpoint`, its newest checkpoint.

    Raises:
        RequestError: a wrong request; nothing was written.
        HgfctlError: the loss diverges, or a file cannot be written.
        KeyboardInterrupt: it was stopped, and is saved; `resume=True` goes on.
    """
    ranks, listener = alone(device_named(device)), on_event or ignore
    folder = Path(runs).expanduser()
    going_on: bool | Path = resume if isinstance(resume, bool) else Path(resume)
    asked = request(
        preset,
        overrides or {},
        ranks,
        runs=folder,
        resume=going_on,
        init=as_path(init),
        data=None if data is None else str(data),
    )
    session = open_session(asked, ranks, runs=folder, allow_code=allow_code, on_event=listener)
    with _interruptible() as stop:
        for event in session.events(stop.is_set):
            listener(event)
    if session.trainer.step < session.config.train.steps:
        raise KeyboardInterrupt
    return session.run


def load(path: Place, device: str = "auto", precision: Inference = "fp32") -> "Model":
    """A trained model, ready to sample.

    Args:
        path: a checkpoint, or a run folder, whose newest is meant.
        device: auto, cpu, cuda, cuda:1, mps.
        precision: of the network: fp32, bf16, fp64.

    Raises:
        RequestError: no such file, or not a checkpoint.
        HgfctlError: it is damaged.
    """
    place = device_named(device)
    checkpoint = read_checkpoint(checkpoint_file(Path(path).expanduser()), place)
    arithmetic.prepared(checkpoint.model, precision, place)
    return Model(checkpoint, place, precision)


class Model:
    """A trained model.

    Args:
        checkpoint: it, read.
        device: where its weights are.
        precision: of the network.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, precision: Inference = "fp32") -> None:
        self.checkpoint, self.device, self.precision = checkpoint, device, precision

    def __repr__(self) -> str:
        return f"Model({str(self.checkpoint.path)!r}, {self.config.preset}, step {self.checkpoint.step})"

    @property
    def config(self) -> Config:
        """The configuration of the run that made it."""
        return self.checkpoint.config

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an item: (d,), or (C, H, W) of images."""
        return self.checkpoint.shape

    @property
    def classes(self) -> int:
        """Number of classes; 0 for none."""
        return self.checkpoint.classes

    def sample(
        self,
        num: int = 64,
        *,
        nfe: int | None = None,
        seed: int = 0,
        classes: Sequence[int] = (),
        sampler: str | None = None,
        grid: str | None = None,
        flow: str | None = None,
        guidance: float | None = None,
        guide: Place | None = None,
        guidance_interval: tuple[float, float] | None = None,
        batch: int = 256,
        **options: Any,
    ) -> Tensor:
        """Samples, as `hgfctl sample` makes them: (num, *shape), float32, on the CPU; images lie in [-1, 1].

        Item i has seed `seed` + i and depends on it alone, whatever `num` and `batch` are.

        Args:
            num: how many.
            nfe: budget of network evaluations an item; the preset's when None.
            seed: of the first item.
            classes: only these, in turn; all when empty.
            sampler, grid: the preset's when None.
            flow: sample by this flow: oscillation, diffusion or flow-matching.
            guidance: weight; away from what `guide`, or the model without classes, says.
            guide: a weaker checkpoint or run.
            guidance_interval: the noise levels, lowest and highest, between which there is guidance.
            batch: items at a time.
            options: other keys of a preset's sample section, such as churn=10 or tolerance=1e-6.

        Raises:
            RequestError: an unknown or unfit method, class or option, or too small a budget.
            HgfctlError: samples that are not finite.
        """
        if num < 1:
            raise RequestError(f"`num={num}`: one or more")
        if any(not 0 <= wanted < self.classes for wanted in classes):
            known = f"they are 0 to {self.classes - 1}" if self.classes else "it was trained without classes"
            raise RequestError(f"`classes` {list(classes)}: {known}")
        model = with_flow(self.checkpoint, flow)
        section = presets.overridden(model.config, (), "sample", options).sample
        engine = model.sampler(nfe, sampler, grid, self._guidance(model, guidance, guide, guidance_interval), section)
        seeds = torch.arange(seed, seed + num)
        with arithmetic.region(self.precision, self.device):
            parts = shared_batches(engine, seeds, batch, list(classes), alone(self.device))
            return torch.cat([part.x for part in parts])

    def velocity(self, x: Tensor, t: float | Tensor, classes: Tensor | None = None) -> Tensor:
        """V(x, t), the mean velocity of what passes x at time t: (B, *shape), of the type of x.

        Args:
            x: (B, *shape).
            t: () or (B,), between 0 (data) and the flow's T (prior).
            classes: (B,), or None.

        Raises:
            RequestError: the model has no flow.
        """
        hvp = self.checkpoint.hvp
        at = self._state(torch.as_tensor(t, dtype=torch.float64))
        with torch.no_grad(), arithmetic.region(self.precision, self.device):
            velocity: Tensor = hvp(self._items(x), at, self._labels(classes))
        return velocity.to(x)

    def score(self, x: Tensor, sigma: float | None = None, classes: Tensor | None = None) -> Tensor:
        """grad log p_sigma(x), p_sigma being the law of x0 + sigma z, z ~ N(0, I): (B, *shape), of the type of x.

        Args:
            x: (B, *shape).
            sigma: noise level; None for the score of the data themselves, which score models know.
            classes: (B,), or None.

        Raises:
            RequestError: the model does not know this score.
        """
        field = self.checkpoint.score(None if sigma is None else float(sigma))
        with torch.no_grad(), arithmetic.region(self.precision, self.device):
            return field(self._items(x), self._labels(classes)).to(x)

    def denoise(self, x: Tensor, sigma: float, classes: Tensor | None = None) -> Tensor:
        """E[x0 | x0 + sigma z = x] = x + sigma^2 score(x, sigma)  (Tweedie's formula): (B, *shape), of the type of x.

        Args:
            x: (B, *shape), data with noise of level sigma.
            sigma: noise level.
            classes: (B,), or None.

        Raises:
            RequestError: the model knows no noised data, or not at this level.
        """
        state = self._items(x)
        return (state + sigma**2 * self.score(state, sigma, classes)).to(x)

    def log_likelihood(
        self,
        x: Tensor,
        classes: Tensor | None = None,
        *,
        nfe: int | None = None,
        rtol: float = 1e-5,
        atol: float = 1e-5,
        seed: int = 0,
        batch: int = 256,
    ) -> Tensor:
        """log p(x) under the flow, in nats: (B,), float64, on the CPU; a density at x, for images too.

        Args:
            x: (B, *shape).
            classes: (B,), for a model with classes.
            nfe: budget of passes through the network an item; as many as the tolerances take when None.
            rtol, atol: relative and absolute tolerance of a step.
            seed: item i draws its probes from `seed` + i, where the divergence is estimated.
            batch: items at a time.

        Raises:
            RequestError: the model has no flow, or needs classes.
            HgfctlError: a likelihood that is not finite.
        """
        from hgfctl.engine.evaluation import likelihoods as engine

        if self.classes and classes is None:
            raise RequestError("`classes`: this model has classes, and wants to be told them")
        labels = None if classes is None or not self.classes else torch.as_tensor(classes).long().cpu()
        asked = engine.Request(nfe=nfe, rtol=rtol, atol=atol, seed=seed)
        items = Batch(x.double().cpu(), labels)
        with arithmetic.region(self.precision, self.device):
            parts = [
                engine.likelihoods(self.checkpoint, Items(part.x, part.labels), part, asked, first)
                for first, part in engine.batches(items, batch)
            ]
        return engine.joined(parts).log_likelihood

    def _guidance(
        self, model: Checkpoint, weight: float | None, guide: Place | None, interval: tuple[float, float] | None
    ) -> Any:
        if weight is None:
            if guide is not None or interval is not None:
                raise RequestError("`guide` and `guidance_interval` go with `guidance`, such as `guidance=2`")
            return None
        other = None
        if guide is not None:
            other = read_checkpoint(checkpoint_file(Path(guide).expanduser()), self.device)
            arithmetic.prepared(other.model, self.precision, self.device)
        return guided_by(model, weight, other, interval)

    def _state(self, x: Tensor) -> Tensor:
        """As solvers have it: float64 on the device, float32 where there is no float64."""
        return x.to(self.device, torch.float32 if self.device.type == "mps" else torch.float64)

    def _items(self, x: Tensor) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise RequestError(f"items have shape {self.shape}, and these have {tuple(x.shape[1:])}")
        return self._state(x)

    def _labels(self, classes: Tensor | None) -> Tensor | None:
        if classes is None or not self.classes:
            return None
        return torch.as_tensor(classes).long().to(self.device)


def evaluate(
    subject: Place,
    reference: Place | None = None,
    *,
    nfe: int | None = None,
    num: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    metrics: Sequence[str] | None = None,
    features: str | None = None,
    sampler: str | None = None,
    grid: str | None = None,
    flow: str | None = None,
    split: str | None = None,
    batch: int = 64,
    device: str = "auto",
) -> dict[str, Any]:
    """Measures images or points, or a model by those that it makes, against real ones.

    Args:
        subject: a run, a checkpoint, a folder or zip of images, an .npz or .npy file.
        reference: data, images or a statistics file; a model's training data when None.
        nfe, sampler, grid, flow: how the model is sampled; the preset's when None.
        num: how many items.
        seed: of the first one.
        seeds: how many such sets.
        metrics: names, such as ["kid", "prdc"]; the usual ones when None.
        features: inception, dinov2, random, pixels; none for vectors, whose default it is.
        split: of a reference that has several.
        batch: items at a time.
        device: auto, cpu, cuda, cuda:1, mps.

    Returns:
        The facts that `hgfctl eval-fid --json` prints.
    """
    from hgfctl.engine.evaluation.evaluate import evaluation
    from hgfctl.engine.evaluation.request import WITHOUT, EvaluationRequest
    from hgfctl.engine.evaluation.sources import needs_reference, opened_reference, opened_subject

    began, ranks, named = time.monotonic(), alone(device_named(device)), str(subject)
    chosen = None if metrics is None else tuple(metrics)
    asked = EvaluationRequest(
        (nfe,), num, seed, seeds, sampler, grid, flow=flow, metrics=chosen, features=features, split=split, batch=batch
    )
    with arithmetic.region("fp32", ranks.device):
        measured = opened_subject(named, named, asked, None, ranks.device).by_flow(flow)
        if reference is None and not measured.is_model:
            raise needs_reference(named)
        measured.check(asked)
        if features is None and measured.has_items and len(measured.shape or ()) == 1:
            asked = replace(asked, features=WITHOUT)
        base = opened_reference(None if reference is None else str(reference), measured, asked, ranks.device)
        (found,) = evaluation(measured, base, asked, ranks).measurements()
        for file in found.kept:
            file.unlink(missing_ok=True)
    seconds = round(time.monotonic() - began, 3)
    return {**found.row, "source": named, "ref": base.name, "seconds": seconds}


def convert(path: Place, out: Place | None = None) -> Path:
    """Turns a published snapshot of EDM's or EDM2's into a checkpoint, without running anything of it.

    Args:
        path: a .pkl.
        out: a .safetensors; named like the snapshot, in this folder, when None.

    Returns:
        The checkpoint's path.

    Raises:
        RequestError: no snapshot, damaged, hostile, or of a network that hgfctl does not have.
    """
    from hgfctl.engine.conversion.convert import convert as converted

    source = Path(path).expanduser()
    target = Path(source.with_suffix(".safetensors").name) if out is None else Path(out).expanduser()
    if target.suffix != ".safetensors":
        raise RequestError(f"`out` {target}: name a file that ends in .safetensors")
    converted(source, target)
    return target


def register(component: Any, name: str) -> None:
    """Gives a class a name, by which presets, overrides and commands of this process then know it.

    Args:
        component: a class derived from Force, Flow, Solver, Network, DataSet, Loss or Metric. A solver may be an
            instance; a class of solvers is built without arguments.
        name: one that is not taken.

    Raises:
        RequestError: it derives from none of these, or the name is taken.
    """
    cls = component if isinstance(component, type) else type(component)
    for base, registry in KINDS.items():
        if _attribute(base) in cls.__mro__:
            known: Registry = _attribute(registry)
            known.register(name, component)
            return
    kinds = ", ".join(base.rpartition(":")[2] for base in KINDS)
    raise RequestError(f"{cls.__name__} derives from none of {kinds}")


def _attribute(place: str) -> Any:
    """ "module:attribute"; None where there is no such module."""
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError:
        return None


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C only asks to stop; a second one stops at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be handled
        yield stop
        return
    before = signal.getsignal(signal.SIGINT)

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
