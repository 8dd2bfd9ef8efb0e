"""`hgfctl train`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, training
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import torch

    from hgfctl.engine.assembly import Experiment


def train(
    preset: Annotated[
        str | None,
        typer.Option(help="A name that `hgfctl presets` lists, or a YAML file. Needed unless --resume names a run."),
    ] = None,
    data: training.Data = None,
    settings: training.Settings = None,
    resume: training.Resume = None,
    runs: training.Runs = Path("runs"),
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
    device: training.Device = "auto",
    json: training.Json = False,
) -> None:
    """Train a flow from a preset; prints the run folder.

    Ctrl-C saves first; `--resume auto` goes on from there, bit for bit.
    """
    from hgfctl.engine.assembly import experiment

    place = console.device(device)
    run = training.run_to_resume(resume, preset, runs)
    config = training.resolved(run, preset, data, settings or [], skip_bad)
    if config.model.name != "hvp":
        raise RequestError(f"preset {config.preset} is of a score; train it with `hgfctl score-match`")
    parts = experiment(config, place)
    training.tell_skipped(parts)
    if dry_run:
        _dry_run(parts, place, json)
        return
    session = training.trained_session(parts, run, runs, resume is not None)
    console.result(session.run.folder, training.facts(session, place), json)


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
        "parameters": parameter_count(trainer.model),
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
