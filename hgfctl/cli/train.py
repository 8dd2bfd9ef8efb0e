"""`hgfctl train`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, distributed, training
from hgfctl.cli.options import AllowCode
from hgfctl.errors import RequestError
from hgfctl.processes import launched

if TYPE_CHECKING:
    import torch

    from hgfctl.config import Config
    from hgfctl.engine.checkpoint import Checkpoint
    from hgfctl.engine.experiment import Experiment


def train(
    preset: Annotated[
        str | None,
        typer.Option(help="A name that `hgfctl presets` lists, or a YAML file. Needed unless --resume names a run."),
    ] = None,
    init: training.Init = None,
    data: training.Data = None,
    settings: training.Settings = None,
    resume: training.Resume = None,
    force: training.Force = False,
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
    allow_code: AllowCode = False,
    gpus: distributed.Gpus = None,
    device: training.Device = "auto",
    json: training.Json = False,
) -> None:
    """Train a flow from a preset; prints the run folder.

    Ctrl-C saves first; `--resume auto` goes on from there, bit for bit.
    """
    from hgfctl.engine.models import needs_flow
    from hgfctl.engine.ranks import joined
    from hgfctl.engine.training.opening import open_session

    if gpus and not launched() and not dry_run:
        instead = {"-": str(console.argument_path("-"))} if init == "-" else None
        distributed.launch(gpus, device, instead)
        return
    with joined(console.device(device)) as ranks:
        asked = training.requested(
            preset, settings, ranks, runs, resume, init=init, data=data, skip_bad=skip_bad, force=force
        )
        if not needs_flow(asked.config.model.name):
            raise RequestError(f"preset {asked.config.preset} is of a score; train it with `hgfctl score-match`")
        if dry_run:
            _dry_run(asked.config, asked.init, ranks.device, json, allow_code)
            return
        session = open_session(asked, ranks, runs=runs, allow_code=allow_code, on_event=training.report)
        training.follow(session)
        console.result(session.run.folder, training.facts(session, ranks.device), json)


def _dry_run(config: "Config", start: "Checkpoint | None", place: "torch.device", json: bool, allow_code: bool) -> None:
    """A few real steps, on stand-in images where the data are missing, to say what the whole training will take; a
    teacher that is missing has a stand-in, too.
    """
    from hgfctl.engine.experiment import experiment
    from hgfctl.engine.parts import data_of
    from hgfctl.engine.training.estimate import estimate
    from hgfctl.engine.training.stand_ins import stand_in, stand_in_teacher

    train = config.train
    missing = None
    try:
        data = data_of(config)
    except RequestError as error:
        placeholder = stand_in(config)
        if placeholder is None:
            raise
        missing, data = str(error), placeholder
    if start is None and config.loss.name == "consistency" and config.loss.options.get("velocity") != "sample":
        start = stand_in_teacher(config, data, place)
        console.note("measured with an untrained teacher, for none was named (--init CKPT)")
    resolved = experiment(config, place, data, start, allow_code).config

    def build(batch: int) -> "Experiment":
        smaller = resolved.train.model_copy(update={"batch": batch, "accumulate": 1})
        return experiment(resolved.model_copy(update={"train": smaller}), place, data, start, allow_code)

    with console.working("measuring a few steps"):
        taken = estimate(build, train.batch, place)
    pace = train.batch / taken.seconds_per_step
    batches = sorted({1, 16, 64, 256, train.batch // train.accumulate})
    facts = {
        "config": resolved.model_dump(mode="json"),
        "parameters": taken.parameters,
        "flops": taken.flops,
        "steps": train.steps,
        "images": train.images,
        "shape": list(data.shape),
        "classes": data.classes,
        "data_missing": missing,
        "device": _name(place),
        "images_per_second": float(f"{pace:.4g}"),
        "seconds": round(train.images / pace, 3),
        "memory_gib": _gib(taken.memory(train.batch // train.accumulate)),
        "memory_gib_by_batch": {batch: _gib(taken.memory(batch)) for batch in batches},
        "peak_gib": _gib(taken.peak_bytes),
    }
    memory = ", ".join(f"{_gib(taken.memory(batch))} GiB for {batch}" for batch in batches)
    lines = [resolved.to_yaml().rstrip(), "---"]
    lines.append(f"items        {tuple(data.shape)}, {data.classes or 'no'} classes")
    lines.append(f"parameters   {taken.parameters:,}")
    lines.append(f"work         {_flops(taken.flops)} an item forward, {_flops(taken.training_flops)} in training")
    lines.append(f"steps        {train.steps:,} of {train.batch} items, {train.images:,} in all")
    lines.append(f"time         {_duration(train.images / pace)} on {_name(place)}: {pace:,.3g} items/s")
    lines.append(f"             ({taken.measured}; {train.precision})")
    lines.append(f"memory       {memory}")
    lines.append(
        f"             (weights, gradients, Adam, averages, activations; {facts['peak_gib']} GiB at the peak here)"
    )
    if missing:
        console.note(f"measured on images of noise, for the data cannot be read: {missing}")
    console.result("\n".join(lines), facts, json)


def _name(place: "torch.device") -> str:
    import torch

    return torch.cuda.get_device_name(place) if place.type == "cuda" else str(place)


def _gib(size: int) -> float:
    return float(f"{size / 2**30:.3g}")


def _flops(number: float) -> str:
    for unit, size in (("TFLOP", 1e12), ("GFLOP", 1e9), ("MFLOP", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kFLOP"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 4 * 86400 else f"{seconds / 86400:,.1f} days"
