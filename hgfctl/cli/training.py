"""What `train` and `score-match` share: which run, which configuration, and the training itself as it is watched."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgfctl.cli import console
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import torch

    from hgfctl.engine.checkpoint import Checkpoint
    from hgfctl.engine.experiment import Experiment
    from hgfctl.engine.ranks import Ranks
    from hgfctl.engine.training.session import Session
    from hgfctl.presets import Config
    from hgfctl.storage.runs import Run

Data = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="A folder or zip of images, an .npz or .npy file, or CIFAR-10's archive."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a value of the preset, such as train.batch=64. Repeatable."
    ),
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
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the run's path.")]


def run_to_resume(resume: str | None, preset: str | None, runs: Path, ranks: "Ranks") -> "Run | None":
    """The run that --resume means, if there is one; the first rank looks."""
    from hgfctl.storage.runs import Run

    found = _run_to_resume(resume, preset, runs) if ranks.first else None
    folder = ranks.told(str(found.folder) if found else "")
    return Run(Path(folder)) if folder else None


def _run_to_resume(resume: str | None, preset: str | None, runs: Path) -> "Run | None":
    from hgfctl.presets import load
    from hgfctl.storage.runs import Run

    if resume is None or resume == "auto":
        if preset is None:
            raise RequestError("which preset? --preset NAME; `hgfctl presets` lists them")
        return Run.newest(runs, load(preset).preset) if resume else None
    run = Run(Path(resume).expanduser())
    if not run.config.is_file():
        raise RequestError(f"{run.folder} is not a run folder of hgfctl's: it holds no config.yaml")
    return run


def resolved(
    run: "Run | None", preset: str | None, data: str | None, settings: list[str], skip_bad: bool, force: bool = False
) -> "Config":
    """The preset's configuration, or that of the run to resume; with the command line's changes."""
    from hgfctl.engine.data.files import admitted
    from hgfctl.presets import configuration, load, merged, overrides, parse

    if run is None:
        assert preset is not None
        config = load(preset, settings)
    else:
        tree = parse(run.config.read_text(encoding="utf-8"), str(run.config))
        stored = configuration(tree, str(run.config))
        config = configuration(merged(tree, overrides(settings)), str(run.config))
    config = _with_path(config, data)
    if skip_bad:
        told = admitted(config.data.name, skip_bad=True)
        if not told:
            raise RequestError(f"--skip-bad is for image folders, and the data is '{config.data.name}'")
        config = _with_data_options(config, config.data.name, {**config.data.options, **told})
    if run is not None:
        _refuse_change(run, stored, config, force)
    return config


HARMLESS = (
    *("images", "accumulate", "recompute", "compile", "tensorboard"),
    *("keep", "log_every", "save_every", "sample_every", "save_minutes"),
)
"""Keys of train that change how long and how a run is made, but not what it becomes."""
FORCEABLE = ("train.", "data.", "loss.", "times.")
"""Beginnings of keys that --force may change; the rest, and these two, decide what a checkpoint's numbers mean."""
FIXED = ("train.batch", "train.power_emas")


def _refuse_change(run: "Run", stored: "Config", wanted: "Config", force: bool) -> None:
    """A run goes on as what it is: how long it trains may change, and where its data lie; other things by --force."""
    from hgfctl.engine.compatibility import with_defaults

    before, after = (_flat(with_defaults(config).model_dump(mode="json")) for config in (stored, wanted))
    harmless = {f"train.{key}" for key in HARMLESS} | {"data.path", "data.skip_bad"}
    differing = [
        key
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and key not in harmless and not key.startswith("sample.")
    ]
    fixed = [key for key in differing if not key.startswith(FORCEABLE) or key in FIXED]
    if fixed or (differing and not force):
        changes = "; ".join(f"{key} is {before.get(key)} there and cannot become {after.get(key)}" for key in differing)
        way_out = "train a new run (without --resume)" if fixed else "--force goes on with these changes"
        raise RequestError(f"{run.folder} is being resumed: {changes};\n{way_out}, or leave it as it is")


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    from hgfctl.presets import PARTS

    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key in PARTS and isinstance(value, str):
            value = {"name": value}
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def starting_point(
    config: "Config", run: "Run | None", init: str | None, place: "torch.device"
) -> "tuple[Config, Checkpoint | None]":
    """The checkpoint that training starts from, if any, and the configuration that says so.

    A run that is resumed has its own copy; --init may name the same checkpoint again.

    Raises:
        RequestError: there is none, or another one than the run started from.
    """
    from hgfctl.engine.checkpoint import read_checkpoint
    from hgfctl.presets import InitSection
    from hgfctl.storage import tensor_files
    from hgfctl.storage.runs import checkpoint_file

    if run is not None:
        file = _kept_init(run, config, init)
        return config, None if file is None else read_checkpoint(file, place)
    named = init or (config.init.path if config.init else None)
    if named is None:
        return config, None
    file = checkpoint_file(console.argument_path(named))
    section = InitSection(path=str(file), checksum=tensor_files.checksum(file))
    if config.init and config.init.checksum not in (None, section.checksum) and init is None:
        raise RequestError(f"{file} is not the checkpoint that init.checksum names; leave that out to take it")
    return config.model_copy(update={"init": section}), read_checkpoint(file, place)


def _kept_init(run: "Run", config: "Config", init: str | None) -> Path | None:
    """The copy that a run keeps of what it started from; the checkpoint itself where the copy is gone."""
    from hgfctl.storage import tensor_files
    from hgfctl.storage.runs import checkpoint_file

    section = config.init
    if section is None:
        if init is not None:
            raise RequestError(f"{run.folder} is being resumed, and did not start from a checkpoint; leave out --init")
        return None
    if init is not None:
        named = console.argument_path(init)
        if named.exists() and tensor_files.checksum(checkpoint_file(named)) != section.checksum:
            raise RequestError(
                f"{run.folder} is being resumed, and started from {section.path}, not from {init}; leave out --init"
            )
    for file in (run.init, Path(section.path)):
        if tensor_files.checksum(file) == section.checksum:
            return file
    raise RequestError(
        f"{run.folder} cannot be resumed without what it started from: {run.init} is missing or damaged, and so is\n"
        f"{section.path}; put the checkpoint with SHA-256 {section.checksum} at either place"
    )


def with_data(config: "Config", data: str | None, settings: list[str], command: str) -> "Config":
    """A checkpoint's configuration with other data.

    Raises:
        RequestError: a setting changes something else.
    """
    from hgfctl.presets import configuration, merged, overrides

    change = overrides(settings)
    if set(change) - {"data"}:
        raise RequestError(f"{command} measures the checkpoint as it is; only data.... can be --set")
    return _with_path(configuration(merged(config.model_dump(mode="json"), change), "--set"), data)


def _with_path(config: "Config", data: str | None) -> "Config":
    from hgfctl.engine.data.locate import kind_of

    if data is None:
        return config
    path = str(Path(data).expanduser())
    name = kind_of(path)
    if name == path:
        raise RequestError(f"--data {data} is a path; a data set that comes with hgfctl is named by --set data={data}")
    kept = config.data.options if config.data.name == name else {}
    return _with_data_options(config, name, {**kept, "path": path})


def _with_data_options(config: "Config", name: str, options: dict[str, Any]) -> "Config":
    from hgfctl.presets import Component

    return config.model_copy(update={"data": Component(name=name, options=options)})


def follow(session: "Session") -> None:
    """Trains, shows how it goes, and exits with 130 when stopped."""
    from hgfctl.engine.training.session import Drawn, Saved, Stepped

    train = session.config.train
    with console.interruptible() as stop, console.progress("loss", "pace") as bar:
        task = bar.add_task(
            session.run.folder.name, total=train.steps, completed=session.trainer.step, loss="", pace=""
        )
        for event in session.events(stop):
            if isinstance(event, Stepped):
                pace = f"{event.images_per_second:,.0f} images/s"
                bar.update(task, completed=event.step, loss=f"loss {event.loss:.4f}", pace=pace)
            elif isinstance(event, Saved) and bar.disable:
                console.note(
                    f"step {session.trainer.step}/{train.steps}, loss {session.loss:.4f}, saved {event.checkpoint}"
                )
            elif isinstance(event, Drawn):
                bar.console.print(
                    f"samples at {session.trainer.step}: {event.picture}", highlight=False, soft_wrap=True
                )
    if session.trainer.step < train.steps:
        console.note(f"stopped at step {session.trainer.step} of {train.steps}; --resume {session.run.folder} goes on")
        raise typer.Exit(130)


def facts(session: "Session", place: "torch.device") -> dict[str, Any]:
    from hgfctl.engine.models.hvp import parameter_count

    trainer = session.trainer
    return {
        "run": str(session.run.folder),
        "checkpoint": str(session.run.checkpoint(trainer.step)),
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


def tell_skipped(data: object) -> None:
    """Which images of a folder were left out."""
    skipped = getattr(data, "skipped", [])
    for line in skipped[:10]:
        console.note(f"skipped {line}")
    if skipped:
        console.note(f"skipped {len(skipped)} unreadable or odd-sized images of {len(skipped) + len(data)}")  # type: ignore[arg-type]


def trained_session(
    parts: "Experiment", run: "Run | None", runs: Path, resume: bool, ranks: "Ranks | None" = None
) -> "Session":
    """Trains a new run, or the one to resume, to its end; exits with 130 when stopped.

    Of several ranks the first one makes the run folder and writes to it.

    Raises:
        HgfctlError: it cannot be resumed, or fails.
    """
    from hgfctl.engine.training.board import writer
    from hgfctl.engine.training.session import Session
    from hgfctl.engine.training.trainer import Trainer
    from hgfctl.storage.atomic import replacing
    from hgfctl.storage.runs import Run

    trainer = Trainer(parts, ranks)
    ranks = trainer.ranks
    if parts.config.train.tensorboard:
        writer()
    if run is None:
        run = Run(Path(ranks.told(str(Run.create(runs, parts.config.preset).folder) if ranks.first else "")))
    session = Session(trainer, run)
    if ranks.first:
        run.sweep()
    ranks.meet()
    if resume and session.resume(on_damage=lambda damage: console.note(f"{damage}; going back to the one before")):
        console.note(f"resuming {run.folder} at step {session.trainer.step}")
    elif run.checkpoints():
        raise RequestError(f"{run.folder} has checkpoints but no whole training state to resume from; train anew")
    if ranks.first:
        if parts.init and parts.init.path != run.init:
            with replacing(run.init) as partial:
                shutil.copyfile(parts.init.path, partial)
        session.write_config()
    follow(session)
    return session
