"""Opening a training session: everything built, the run folder made or taken up again, ready for its first step."""

import shutil
from pathlib import Path

from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.experiment import Experiment, experiment
from hgfctl.engine.ranks import Ranks
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.training.board import writer
from hgfctl.engine.training.events import DamagePassed, Listener, PriorMeasured, Resuming, Skipped, ignore
from hgfctl.engine.training.request import Request
from hgfctl.engine.training.session import Session
from hgfctl.engine.training.trainer import Trainer
from hgfctl.errors import RequestError
from hgfctl.storage.atomic import replacing
from hgfctl.storage.runs import Run


def open_session(
    asked: Request, ranks: Ranks, *, runs: Path = Path("runs"), allow_code: bool = False, on_event: Listener = ignore
) -> Session:
    """A session of the training that was asked for.

    Args:
        asked: see `request`.
        ranks: this process among those that train together.
        runs: where a new run folder is made.
        allow_code: let a force be a user's own code.
        on_event: told what the data and the run are found to be.

    Raises:
        RequestError: parts that do not fit each other, or a run that cannot go on.
        HgfctlError: the run folder cannot be made.
    """
    parts = experiment(asked.config, ranks.device, init=asked.init, allow_code=allow_code)
    return begun(parts, asked, ranks, runs=runs, on_event=on_event)


def begun(
    parts: Experiment, asked: Request, ranks: Ranks, *, runs: Path = Path("runs"), on_event: Listener = ignore
) -> Session:
    """A session of an experiment that is built already; see `open_session`.

    Of several ranks the first one makes the run folder and writes to it.
    """
    _describe(parts, on_event)
    trainer = Trainer(parts, ranks)
    if parts.config.train.tensorboard:
        writer()
    data = parts.data
    sampler_for(parts.model, data.shape, data.classes, SamplingRequest.of(parts.config.sample))  # refused now, or never
    run = asked.run or _new_run(runs, parts.config.preset, ranks)
    session = Session(trainer, run)
    if ranks.first:
        run.sweep()
    ranks.meet()
    if asked.resumed and session.resume(on_damage=lambda reason: on_event(DamagePassed(reason))):
        on_event(Resuming(run.folder, trainer.step))
    elif run.checkpoints():
        raise RequestError(f"{run.folder} has checkpoints but no whole training state to resume from; train anew")
    if ranks.first:
        if parts.init and parts.init.path != run.init:
            with replacing(run.init) as partial:
                shutil.copyfile(parts.init.path, partial)
        session.write_config()
    return session


def skipped(data: DataSet) -> Skipped | None:
    """The images that a data set left out, if there are any."""
    files = tuple(data.skipped)
    return Skipped(files, len(files) + int(data.count)) if files else None


def _describe(parts: Experiment, on_event: Listener) -> None:
    remark = parts.flow.remark if parts.flow else None
    if remark is not None:
        on_event(PriorMeasured(remark))
    left_out = skipped(parts.data)
    if left_out is not None:
        on_event(left_out)


def _new_run(runs: Path, preset: str, ranks: Ranks) -> Run:
    made = str(Run.create(runs, preset).folder) if ranks.first else ""
    return Run(Path(ranks.broadcast(made)))
