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
from pathlib import Path
from types import FrameType
from typing import Any

from hgfctl import presets
from hgfctl.config import Config
from hgfctl.engine import precision as arithmetic
from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.precision import Inference
from hgfctl.engine.ranks import alone, device_named
from hgfctl.engine.training.events import Listener, ignore
from hgfctl.engine.training.opening import open_session
from hgfctl.engine.training.request import as_path, request
from hgfctl.errors import RequestError
from hgfctl.model import Model, Place, require_whole
from hgfctl.registry import Registry
from hgfctl.storage.runs import Run, checkpoint_file

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


def preset(name: Place, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration of a preset.

    Args:
        name: a shipped preset, or the path of a YAML file.
        overrides: `{"train.lr": 1e-3}`, or nested, `{"train": {"lr": 1e-3}}`.

    Raises:
        RequestError: an unknown preset, key or value.
    """
    return presets.load(str(name), overrides or {})


def train(
    preset: Place | Config | None = None,
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
        preset if preset is None or isinstance(preset, Config) else str(preset),
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


def load(path: Place, device: str = "auto", precision: Inference = "fp32") -> Model:
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

    require_whole(nfe=nfe, num=num, seeds=seeds, batch=batch)
    require_whole(0, seed=seed)
    if isinstance(metrics, str) or (metrics is not None and not metrics):
        raise RequestError('`metrics` is a list of names, such as ["kid", "prdc"]')
    began, ranks, named = time.monotonic(), alone(device_named(device)), str(subject)
    chosen = None if metrics is None else tuple(metrics)
    asked = EvaluationRequest(
        budgets=(nfe,), num=num, seed=seed, seeds=seeds, sampler=sampler, grid=grid, flow=flow, metrics=chosen,
        features=features, split=split, batch=batch,
    )  # fmt: skip
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
    """ "module:attribute", imported."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


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
