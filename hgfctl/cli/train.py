"""`hgfctl train`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgfctl.cli import console
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import torch

    from hgfctl.engine.assembly import Experiment
    from hgfctl.engine.training.session import Session
    from hgfctl.presets import Config
    from hgfctl.runs import Run


def train(
    preset: Annotated[
        str | None,
        typer.Option(help="A name that `hgfctl presets` lists, or a YAML file. Needed unless --resume names a run."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Train on your own: a folder of images, or an .npz or .npy file."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value of the preset, such as train.batch=64. Repeatable.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="auto|RUN",
            help="Go on with a run folder; auto: the preset's newest, or a new one when there is none.",
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders are made.")] = Path("runs"),
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, and count them.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print the resolved configuration and an estimate of time and memory; train nothing.",
        ),
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the run's path.")] = False,
) -> None:
    """Train a flow from a preset; prints the run folder.

    Ctrl-C saves first; `--resume auto` goes on from there, bit for bit.
    """
    from hgfctl.engine.assembly import experiment
    from hgfctl.engine.training.session import Session
    from hgfctl.engine.training.trainer import Trainer

    place = console.device(device)
    run = _run_to_resume(resume, preset, runs)
    config = _configuration(run, preset, data, settings or [], skip_bad)
    parts = experiment(config, place)
    for skipped in getattr(parts.data, "skipped", [])[:10]:
        console.note(f"skipped {skipped}")
    if count := len(getattr(parts.data, "skipped", [])):
        console.note(f"skipped {count} unreadable or odd-sized images of {count + len(parts.data)}")  # type: ignore[arg-type]
    if dry_run:
        _dry_run(parts, place, json)
        return
    from hgfctl.runs import Run

    run = run or Run.create(runs, config.preset)
    session = Session(Trainer(parts), run)
    run.sweep()
    if resume and session.resume(on_damage=lambda damage: console.note(f"{damage}; going back to the one before")):
        console.note(f"resuming {run.folder} at step {session.trainer.step}")
    elif run.checkpoints():
        raise RequestError(f"{run.folder} has checkpoints but no whole training state to resume from; train anew")
    session.write_config()
    _follow(session)
    result = _facts(session, place)
    console.result(run.folder, result, json)


def _run_to_resume(resume: str | None, preset: str | None, runs: Path) -> "Run | None":
    from hgfctl.presets import load
    from hgfctl.runs import Run

    if resume is None or resume == "auto":
        if preset is None:
            raise RequestError("which preset? --preset NAME; `hgfctl presets` lists them")
        return Run.newest(runs, load(preset).preset) if resume else None
    run = Run(Path(resume).expanduser())
    if not run.config.is_file():
        raise RequestError(f"{run.folder} is not a run folder of hgfctl's: it holds no config.yaml")
    return run


def _configuration(
    run: "Run | None", preset: str | None, data: str | None, settings: list[str], skip_bad: bool
) -> "Config":
    """The preset's configuration, or that of the run to resume; with the command line's changes."""
    from hgfctl.presets import configuration, load, merged, overrides, parse

    if run is None:
        assert preset is not None
        config = load(preset, settings)
    else:
        tree = parse(run.config.read_text(encoding="utf-8"), str(run.config))
        stored = configuration(tree, str(run.config))
        config = configuration(merged(tree, overrides(settings)), str(run.config))
    if data is not None:
        config = _with_data(config, Path(data).expanduser())
    if skip_bad:
        if config.data.name != "folder":
            raise RequestError(f"--skip-bad is for image folders, and the data is '{config.data.name}'")
        config = _with_data_options(config, "folder", {**config.data.options, "skip_bad": True})
    if run is not None:
        _refuse_change(run, stored, config)
    return config


def _refuse_change(run: "Run", stored: "Config", wanted: "Config") -> None:
    """What a run is cannot change half-way: only how long and how fast it trains, and where its data lie."""
    from hgfctl.engine.assembly import with_defaults

    before, after = (_flat(with_defaults(config).model_dump(mode="json")) for config in (stored, wanted))
    for key in after:
        movable = key.startswith(("train.", "sample.")) or key in ("data.path", "data.skip_bad")
        if (not movable or key == "train.batch") and before.get(key) != after[key]:
            raise RequestError(
                f"{run.folder} is being resumed: {key} is {before.get(key)} there and cannot become {after[key]};\n"
                "train a new run (without --resume), or leave it as it is"
            )


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 1}} -> {"train.lr": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _with_data(config: "Config", path: Path) -> "Config":
    name = "array" if path.suffix in (".npz", ".npy") else "folder"
    kept = config.data.options if config.data.name == name else {}
    return _with_data_options(config, name, {**kept, "path": str(path)})


def _with_data_options(config: "Config", name: str, options: dict[str, Any]) -> "Config":
    from hgfctl.presets import Component

    return config.model_copy(update={"data": Component(name=name, options=options)})


def _follow(session: "Session") -> None:
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
    if stop():
        console.note(f"stopped at step {session.trainer.step} of {train.steps}; --resume {session.run.folder} goes on")
        raise typer.Exit(130)


def _facts(session: "Session", place: "torch.device") -> dict[str, Any]:
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
        "parameters": parameter_count(trainer.hvp),
        "device": str(place),
        "precision": "float32",
    }


def _dry_run(parts: "Experiment", place: "torch.device", json: bool) -> None:
    """A few real steps, to say what the whole training will take."""
    from hgfctl.engine.models.hvp import parameter_count
    from hgfctl.engine.training.memory import peak_memory
    from hgfctl.engine.training.trainer import Trainer

    train = parts.config.train
    trainer = Trainer(parts)
    trainer.advance()  # the first step allocates and tunes
    began, steps = time.monotonic(), 0
    while steps < 3 or (steps < 50 and time.monotonic() - began < 3):
        trainer.advance()
        steps += 1
    pace = steps * train.batch / (time.monotonic() - began)
    facts = {
        "config": parts.config.model_dump(mode="json"),
        "parameters": parameter_count(trainer.hvp),
        "steps": train.steps,
        "shape": list(parts.data.shape),
        "classes": parts.data.classes,
        "device": str(place),
        "images_per_second": round(pace, 1),
        "seconds": round(train.images / pace, 3),
        "memory_gib": round(peak_memory(place) / 2**30, 2),
    }
    lines = [parts.config.to_yaml().rstrip(), "---"]
    lines.append(f"items        {tuple(parts.data.shape)}, {parts.data.classes or 'no'} classes")
    lines.append(f"parameters   {facts['parameters']:,}")
    lines.append(f"steps        {train.steps:,} of {train.batch} images")
    lines.append(f"time         {_duration(train.images / pace)} on {place} ({pace:,.0f} images/s over {steps} steps)")
    lines.append(f"memory       {facts['memory_gib']:.2f} GiB at the peak of these steps")
    console.result("\n".join(lines), facts, json)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
