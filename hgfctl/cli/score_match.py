"""`hgfctl score-match`."""

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgfctl.cli import console, training
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hgfctl.engine.metrics.score_report import ScoreReport
    from hgfctl.engine.training.trainer import Trainer
    from hgfctl.presets import Config

TIMES = "0.05,0.1,0.2,0.5"


def score_match(
    preset: Annotated[str | None, typer.Option(help="A preset of a score (gmm-hsm, ...), or a YAML file.")] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Train on your own: a folder of images, or an .npz or .npy file."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Override a value of the preset, such as loss.duration=0.2. Repeatable.",
        ),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="dsm,ssm-vr,...",
            help="Train one score with each of these losses, the same network, data and budget, and print one table.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="With --compare: trainings of each loss.")] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="With --compare: time for each training; the preset's train.images when left out."),
    ] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(metavar="CKPT", help="Train nothing; measure this checkpoint. - reads the path from stdin."),
    ] = None,
    times: Annotated[str, typer.Option(metavar="T,T,...", help="Times at which HSD is measured.")] = TIMES,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="auto|RUN",
            help="Go on with a run folder; auto: the preset's newest, or a new one when there is none.",
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where run folders are made.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the run's path.")] = False,
) -> None:
    """Learn the score of a data set, and measure it: ESM where the score is known, and HSD.

    Prints the run folder; with --evaluate or --compare, a table.
    """
    place, moments = console.device(device), _times(times)
    if compare is None and (seconds is not None or seeds != 1):
        raise RequestError(
            "--seconds and --seeds go with --compare; train.images and train.seed set those of one training"
        )
    if evaluate is not None:
        if compare or preset or resume or data:
            raise RequestError("--evaluate measures a checkpoint; leave out --preset, --data, --resume and --compare")
        _evaluate(console.argument_path(evaluate), place, moments, json)
        return
    from hgfctl.engine.assembly import experiment

    run = training.run_to_resume(resume, preset, runs)
    config = training.resolved(run, preset, data, settings or [], skip_bad=False)
    if config.model.name != "score":
        raise RequestError(f"preset {config.preset} is of an {config.model.name}; train it with `hgfctl train`")
    if compare is not None:
        if resume:
            raise RequestError("--compare trains anew, in memory; leave out --resume")
        _compare(config, compare.split(","), seeds, seconds, place, moments, json)
        return
    parts = experiment(config, place)
    session = training.trained_session(parts, run, runs, resume is not None)
    row = _measured(config.loss.name, session.trainer, session.seconds, moments)
    if row["esm"] is None:
        console.note("the score of these data is not known: HSD only")
    print(_table([row], moments), end="", file=sys.stderr)
    console.result(session.run.folder, {**training.facts(session, place), "results": [row]}, json)


def _times(text: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < value < 100 for value in values):
        raise RequestError(f"--times {text}: write positive numbers, separated by commas, such as {TIMES}")
    return values


def _evaluate(path: Path, place: "torch.device", times: list[float], json: bool) -> None:
    from hgfctl.engine.assembly import data_of, fresh_network, trained
    from hgfctl.engine.metrics.score_report import score_report
    from hgfctl.engine.models.hvp import parameter_count
    from hgfctl.runs import checkpoint_file

    file = checkpoint_file(path)
    model = trained(file, place)

    def critic() -> "nn.Module":
        return fresh_network(model.config, model.shape, model.classes).to(place)

    began = time.monotonic()
    report = score_report(model.score, data_of(model.config), times, model.score.sd, critic)
    row = _row(model.config.loss.name, report, time.monotonic() - began, model.step, parameter_count(model.score))
    _say([row], times, {"run": None, "checkpoint": str(file)}, json)


def _compare(
    config: "Config",
    losses: list[str],
    seeds: int,
    seconds: float | None,
    place: "torch.device",
    times: list[float],
    json: bool,
) -> None:
    from hgfctl.engine.assembly import experiment
    from hgfctl.engine.training.trainer import Trainer
    from hgfctl.presets import Component

    candidates = [
        config.model_copy(update={"loss": config.loss if name == config.loss.name else Component(name=name)})
        for name in losses
    ]
    for candidate in candidates:
        experiment(candidate, place)  # a wrong name is said before the first has trained
    rows: list[dict[str, Any]] = []
    for candidate in candidates:
        for seed in range(config.train.seed, config.train.seed + seeds):
            seeded = candidate.model_copy(update={"train": candidate.train.model_copy(update={"seed": seed})})
            if seconds is not None:
                seeded = _within(seeded, seconds, place)
            trainer = Trainer(experiment(seeded, place))
            began = time.monotonic()
            with console.progress("loss") as bar:
                task = bar.add_task(f"{candidate.loss.name}, seed {seed}", total=seeded.train.steps, loss="")
                while trainer.step < seeded.train.steps:
                    loss = trainer.advance()
                    bar.update(task, completed=trainer.step, loss=f"loss {loss:.4f}")
            spent = time.monotonic() - began
            rows.append({**_measured(candidate.loss.name, trainer, spent, times), "seed": seed})
            console.note(f"{candidate.loss.name}, seed {seed}: {trainer.step} steps in {spent:.1f} s")
    _say(rows, times, {"run": None, "checkpoint": None}, json)


def _say(rows: list[dict[str, Any]], times: list[float], facts: dict[str, Any], json: bool) -> None:
    table = _table(rows, times)
    if any(row["esm"] is None for row in rows):
        console.note("the score of these data is not known: HSD only")
    console.result(table.rstrip(), {**facts, "results": rows}, json)


def _within(config: "Config", seconds: float, place: "torch.device") -> "Config":
    """The same, with as many images as the time allows at the pace of a trial."""
    from hgfctl.engine.assembly import experiment
    from hgfctl.engine.training.trainer import Trainer

    trial = Trainer(experiment(config, place))
    for _ in range(20):  # the first steps allocate and tune
        trial.advance()
    began, steps = time.monotonic(), 0
    while time.monotonic() - began < min(2.0, seconds / 5):
        trial.advance()
        steps += 1
    images = max(1, round(seconds * steps / (time.monotonic() - began))) * config.train.batch
    return config.model_copy(update={"train": config.train.model_copy(update={"images": images})})


def _measured(method: str, trainer: "Trainer", seconds: float, times: list[float]) -> dict[str, Any]:
    """A row of the table for the EMA weights of a training."""
    from hgfctl.engine.assembly import fresh_network
    from hgfctl.engine.metrics.score_report import score_report
    from hgfctl.engine.models.hvp import parameter_count
    from hgfctl.engine.models.score import Score

    score, parts = trainer.ema, trainer.experiment
    assert isinstance(score, Score)

    def critic() -> "nn.Module":
        return fresh_network(parts.config, parts.data.shape, parts.data.classes).to(trainer.device)

    report = score_report(score, parts.data, times, score.sd, critic)
    return _row(method, report, seconds, trainer.step, parameter_count(score))


def _row(method: str, report: "ScoreReport", seconds: float, steps: int, parameters: int) -> dict[str, Any]:
    row = {"method": method, **report.as_json()}
    return {**row, "seconds": round(seconds, 3), "steps": steps, "parameters": parameters}


def _table(rows: list[dict[str, Any]], times: list[float]) -> str:
    """Mean and standard deviation over the seeds of each method, a method a line."""
    lines = [["loss", "relative ESM", "ESM", *(f"HSD {t:g}" for t in times), "seconds", "steps"]]
    for method in dict.fromkeys(row["method"] for row in rows):
        of_method = [row for row in rows if row["method"] == method]
        columns = [[row["esm_relative_error"] for row in of_method], [row["esm"] for row in of_method]]
        columns += [[row["hsd"][i]["hsd"] for row in of_method] for i in range(len(times))]
        columns += [[row["seconds"] for row in of_method], [row["steps"] for row in of_method]]
        lines.append([method, *map(_spread, columns)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def _spread(values: list[float | None]) -> str:
    """Mean ± standard deviation; the value itself when there is only one; - when there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, spread = statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0
    if mean >= 100:
        return f"{mean:,.0f}" + (f" ± {spread:,.0f}" if len(known) > 1 else "")
    return f"{mean:.3g}" + (f" ± {spread:.1g}" if len(known) > 1 else "")
