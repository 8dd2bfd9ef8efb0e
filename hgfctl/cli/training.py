"""The parts that `train` and `score-match` share: their options, and a training as it is watched."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgfctl.cli import console
from hgfctl.cli.options import Device, Json, Settings
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import torch

    from hgfctl.config import Config
    from hgfctl.engine.ranks import Ranks
    from hgfctl.engine.training.events import Event
    from hgfctl.engine.training.request import Request
    from hgfctl.engine.training.session import Session

__all__ = ["Data", "Device", "Force", "Init", "Json", "Resume", "Runs", "Settings"]

Data = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="A folder or zip of images, an .npz or .npy file, or CIFAR-10's archive."),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="auto|RUN", help="Go on with a run folder; auto: the preset's newest, or a new one when there is none."
    ),
]
Init = Annotated[
    str | None,
    typer.Option(
        metavar="CKPT",
        help="Start from the weights of this checkpoint or run; loss 'consistency' distils it. - reads it from stdin.",
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Resume though settings that matter have changed; what cannot change stays.")
]
Runs = Annotated[Path, typer.Option(help="Where run folders are made.")]


def requested(
    preset: str | None,
    settings: list[str] | None,
    ranks: "Ranks",
    runs: Path,
    resume: str | None,
    *,
    init: str | None = None,
    data: str | None = None,
    skip_bad: bool = False,
    force: bool = False,
) -> "Request":
    """The training that the options ask for; see `hgfctl.engine.training.request`."""
    from hgfctl.engine.training.request import request

    taken_up: bool | Path = resume == "auto" if resume in (None, "auto") else Path(resume or "")
    start = None if init is None else console.argument_path(init)
    return request(
        preset,
        settings or [],
        ranks,
        runs=runs,
        resume=taken_up,
        init=start,
        data=data,
        skip_bad=skip_bad,
        force=force,
    )


def with_data(config: "Config", data: str | None, settings: list[str], command: str) -> "Config":
    """A checkpoint's configuration with other data.

    Raises:
        RequestError: a setting changes something else.
    """
    from hgfctl.config import merged
    from hgfctl.engine.training.request import with_path
    from hgfctl.presets import configuration, overrides

    change = overrides(settings)
    if set(change) - {"data"}:
        raise RequestError(f"{command} measures the checkpoint as it is; only data.... can be --set")
    return with_path(configuration(merged(config.model_dump(mode="json"), change), "--set"), data)


def report(event: "Event") -> None:
    """Prints what is found before the first step."""
    from hgfctl.engine.training.events import DamagePassed, PriorMeasured, Resuming, Skipped

    match event:
        case PriorMeasured(line):
            console.note(line)
        case Skipped(files, total):
            for file in files[:10]:
                console.note(f"skipped {file}")
            console.note(f"skipped {len(files)} unreadable or odd-sized images of {total}")
        case DamagePassed(reason):
            console.note(f"{reason}; going back to the one before")
        case Resuming(folder, step):
            console.note(f"resuming {folder} at step {step}")


def tell_skipped(data: object) -> None:
    """Prints which images of a folder were left out, where they are data."""
    from hgfctl.engine.data.dataset import DataSet
    from hgfctl.engine.training.opening import skipped

    left_out = skipped(data) if isinstance(data, DataSet) else None
    if left_out is not None:
        report(left_out)


def follow(session: "Session") -> None:
    """Trains, shows how it goes, and exits with 130 when stopped."""
    from hgfctl.engine.training.events import Drawn, Saved, Stepped

    train = session.config.train
    with console.interruptible() as stop, console.progress("loss", "pace") as bar:
        task = bar.add_task(
            session.run.folder.name, total=train.steps, completed=session.trainer.step, loss="", pace=""
        )
        for event in session.events(stop):
            match event:
                case Stepped(step, loss, images_per_second):
                    pace = f"{images_per_second:,.0f} images/s"
                    bar.update(task, completed=step, loss=f"loss {loss:.4f}", pace=pace)
                case Saved(checkpoint) if bar.disable:
                    at = f"step {session.trainer.step}/{train.steps}"
                    console.note(f"{at}, loss {session.loss:.4f}, saved {checkpoint}")
                case Drawn(picture):
                    line = f"samples at {session.trainer.step}: {picture}"
                    bar.console.print(line, highlight=False, soft_wrap=True)
    if session.trainer.step < train.steps:
        console.note(f"stopped at step {session.trainer.step} of {train.steps}; --resume {session.run.folder} goes on")
        raise typer.Exit(130)


def facts(session: "Session", place: "torch.device") -> dict[str, Any]:
    """The result of a training as JSON."""
    from hgfctl.engine.models.hvp import parameter_count

    trainer = session.trainer
    return {
        "run": str(session.run.folder),
        "checkpoint": str(session.run.checkpoint_at(trainer.step)),
        "step": trainer.step,
        "images": trainer.images,
        "loss": session.loss,
        "seconds": round(session.seconds, 3),
        "images_per_second": round(trainer.images / session.seconds, 1) if session.seconds else 0.0,
        "parameters": parameter_count(trainer.model),
        "device": str(place),
        "precision": trainer.experiment.config.train.precision,
        "processes": trainer.ranks.world,
        "skipped": trainer.skipped,
    }
