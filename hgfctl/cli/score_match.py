"""`hgfctl score-match`."""

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgfctl.cli import console, training
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hgfctl.config import Config
    from hgfctl.engine.data.dataset import DataSet
    from hgfctl.engine.experiment import Experiment
    from hgfctl.engine.models.model import Model
    from hgfctl.engine.models.score import Field


def score_match(
    preset: Annotated[str | None, typer.Option(help="A preset of a score (gmm-hsm, ...), or a YAML file.")] = None,
    data: training.Data = None,
    settings: training.Settings = None,
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
        typer.Option(
            metavar="CKPT",
            help="Train nothing; measure this checkpoint, of a score or a flow. - reads the path from stdin.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="SIGMA,...", help="Noise levels at which a flow or a noise-conditional score is measured."
        ),
    ] = None,
    times: Annotated[
        str | None,
        typer.Option(
            metavar="T,T,...",
            help="Times at which HSD is measured; 0.05,0.1,0.2,0.5 when left out, 0.1 where it takes a critic.",
        ),
    ] = None,
    critic_steps: Annotated[
        int | None,
        typer.Option(min=1, help="Training steps of HSD's critic, where it takes one; 1,500, for images 300."),
    ] = None,
    resume: training.Resume = None,
    runs: training.Runs = Path("runs"),
    device: training.Device = "auto",
    json: training.Json = False,
) -> None:
    """Learn the score of a data set, and measure it: ESM where the score is known, and HSD.

    Prints the run folder; with --evaluate or --compare, a table.
    """
    place = console.device(device)
    how = Measure(_numbers("--noise", noise), _numbers("--times", times), critic_steps)
    if compare is None and (seconds is not None or seeds != 1):
        raise RequestError(
            "--seconds and --seeds go with --compare; train.images and train.seed set those of one training"
        )
    if evaluate is not None:
        if compare or preset or resume:
            raise RequestError("--evaluate measures a checkpoint; leave out --preset, --resume and --compare")
        _evaluate(console.argument_path(evaluate), data, settings or [], place, how, json)
        return
    from hgfctl.engine.data.density import known_density
    from hgfctl.engine.experiment import experiment
    from hgfctl.engine.models import needs_flow
    from hgfctl.engine.ranks import alone
    from hgfctl.engine.training.opening import begun

    ranks = alone(place)
    asked = training.requested(preset, settings, ranks, runs, resume, data=data)
    config = asked.config
    if needs_flow(config.model.name):
        raise RequestError(f"preset {config.preset} is of an hvp; train it with `hgfctl train`")
    if compare is not None:
        if resume:
            raise RequestError("--compare trains anew, in memory; leave out --resume")
        _compare(config, compare.split(","), seeds, seconds, place, how, json)
        return
    parts = experiment(config, place, init=asked.init)
    how.check(parts.model)
    density = known_density(parts.data)
    if density is not None:
        _warn_of_long_flights(parts, lambda x, labels: density.score(x.double()), "the data's")
    session = begun(parts, asked, ranks, runs=runs, on_event=training.report)
    training.follow(session)
    trainer = session.trainer
    for key, value in trainer.facts.items():
        console.note(f"{key} {value:.3g}, as measured while training")
    _warn_of_long_flights(parts, trainer.ema, "the learned")
    rows = how.rows(config.loss.name, trainer.ema, parts.data, parts.config, session.seconds, trainer.step)
    console.plain(_table(rows))
    console.result(session.run.folder, {**training.facts(session, place), **trainer.facts, "results": rows}, json)


def _warn_of_long_flights(parts: "Experiment", field: "Field", whose: str) -> None:
    """Too long ones do not fail: they learn, quietly, something smoother than the score."""
    from hgfctl.engine.metrics.stiffness import curvature

    flight = parts.loss.flight
    if flight is None:
        return
    x, labels = parts.data.batch(0, 1000, 0)
    place = next(parts.model.parameters()).device
    limit = curvature(field, x.to(place), None if labels is None else labels.to(place)).quarter_period
    if flight > limit:
        console.note(
            f"flights of loss.duration={flight:g} are too long for {whose} score: beyond {limit:.2g}, "
            "(pi/2)/sqrt(its largest curvature), HSM finds something smoother"
        )


def _numbers(option: str, text: str | None) -> list[float] | None:
    """ "0.1,0.5" -> [0.1, 0.5]."""
    if text is None:
        return None
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < value < 100 for value in values):
        raise RequestError(f"{option} {text}: write positive numbers, separated by commas, such as 0.05,0.5")
    return values


@dataclass(frozen=True)
class Measure:
    """The measurements of a score.

    Args:
        noise: levels, where the model knows more than one.
        times: of HSD; the report's own when None.
        critic_steps: of HSD where it takes a critic; the report's own when None.
    """

    noise: list[float] | None
    times: list[float] | None
    critic_steps: int | None

    def check(self, model: "Model") -> None:
        """Raises RequestError where the noise levels do not fit the model."""
        for sigma in self._levels(model, everything_known=False):
            model.score_field(sigma)

    def rows(
        self, method: str, model: "Model", data: "DataSet", config: "Config", seconds: float, steps: int
    ) -> list[dict[str, Any]]:
        """A row of the table for each noise level."""
        from hgfctl.engine.data.density import known_density
        from hgfctl.engine.metrics.score_report import score_report
        from hgfctl.engine.models.hvp import parameter_count
        from hgfctl.engine.parts import fresh_network

        place = next(model.parameters()).device

        def critic() -> "nn.Module":
            return fresh_network(config, data.shape, data.classes).to(place)

        rows = []
        known = data if known_density(data) else data.noised(0.1)
        for sigma in self._levels(model, everything_known=known_density(known) is not None):
            noised = data if sigma is None else data.noised(sigma)
            sd = math.hypot(model.root_mean_square, sigma or 0.0)
            with console.working("measuring" if sigma is None else f"measuring at sigma {sigma:g}"):
                report = score_report(model.score_field(sigma), noised, self.times, sd, critic, self.critic_steps)
            row = {"method": method, "sigma": sigma, **report.as_json()}
            rows.append({**row, "seconds": round(seconds, 3), "steps": steps, "parameters": parameter_count(model)})
        return rows

    def _levels(self, model: "Model", everything_known: bool) -> list[float | None]:
        from hgfctl.engine.models.noised_score import NoisedScore

        if self.noise is not None:
            return list(self.noise)
        if isinstance(model, NoisedScore):
            middle = math.sqrt(model.sigma_min * model.sigma_max)
            return [model.sigma_min, middle, model.sigma_max] if everything_known else [middle]
        return [None]


def _evaluate(
    path: Path, data: str | None, settings: list[str], place: "torch.device", how: Measure, json: bool
) -> None:
    from hgfctl.engine.checkpoint import read_checkpoint
    from hgfctl.engine.parts import data_of
    from hgfctl.storage.runs import checkpoint_file

    file = checkpoint_file(path)
    model = read_checkpoint(file, place)
    how.check(model.model)
    config = training.with_data(model.config, data, settings, "--evaluate")
    judged = data_of(config)
    if judged.shape != model.shape or judged.classes not in (0, model.classes):
        raise RequestError(
            f"{file} is of items of shape {model.shape} with {model.classes} classes, "
            f"and these data have shape {judged.shape} and {judged.classes} classes"
        )
    began = time.monotonic()
    rows = how.rows(config.loss.name, model.model, judged, model.config, 0.0, model.step)
    for row in rows:
        row["seconds"] = round(time.monotonic() - began, 3)
    console.result(_table(rows), {"run": None, "checkpoint": str(file), "results": rows}, json)


def _compare(
    config: "Config",
    losses: list[str],
    seeds: int,
    seconds: float | None,
    place: "torch.device",
    how: Measure,
    json: bool,
) -> None:
    from hgfctl.config import Component
    from hgfctl.engine.experiment import experiment
    from hgfctl.engine.training.trainer import Trainer

    candidates = [
        config.model_copy(update={"loss": config.loss if name == config.loss.name else Component(name=name)})
        for name in losses
    ]
    for candidate in candidates:  # what is wrong is said before the first has trained
        how.check(experiment(candidate, place).model)
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
            console.note(f"{candidate.loss.name}, seed {seed}: {trainer.step} steps in {spent:.1f} s")
            parts = trainer.experiment
            found = how.rows(candidate.loss.name, trainer.ema, parts.data, parts.config, spent, trainer.step)
            rows += [{**row, **trainer.facts, "seed": seed} for row in found]
    console.result(_table(rows), {"run": None, "checkpoint": None, "results": rows}, json)


def _within(config: "Config", seconds: float, place: "torch.device") -> "Config":
    """The same, with as many images as the time allows at the pace of a trial."""
    from hgfctl.engine.experiment import experiment
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


def _table(rows: list[dict[str, Any]]) -> str:
    """Mean and standard deviation over the seeds, a line a method and noise level; with a note of what is not known."""
    if any(row["esm"] is None for row in rows):
        console.note("the score of these data is not known: HSD only")
    noised = any(row["sigma"] is not None for row in rows)
    times = [h["t"] for h in rows[0]["hsd"]]
    head = ["loss", *(["sigma"] if noised else []), "relative ESM", "ESM", *(f"HSD {t:g}" for t in times)]
    lines = [[*head, "seconds", "steps"]]
    for method, sigma in dict.fromkeys((row["method"], row["sigma"]) for row in rows):
        alike = [row for row in rows if (row["method"], row["sigma"]) == (method, sigma)]
        lines.append([method, *([f"{sigma:.3g}"] if noised else []), *map(_spread, _columns(alike, len(times)))])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _columns(rows: list[dict[str, Any]], times: int) -> list[list[float | None]]:
    """The numbers of the table, those of one column after the other, a number a seed."""
    columns = [[row[key] for row in rows] for key in ("esm_relative_error", "esm")]
    columns += [[row["hsd"][i]["hsd"] for row in rows] for i in range(times)]
    return columns + [[row[key] for row in rows] for key in ("seconds", "steps")]


def _spread(values: list[float | None]) -> str:
    """Mean ± standard deviation; the value itself when there is only one; - when there is none."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, spread = statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0
    if mean >= 100:
        return f"{mean:,.0f}" + (f" ± {spread:,.0f}" if len(known) > 1 else "")
    return f"{mean:.3g}" + (f" ± {spread:.1g}" if len(known) > 1 else "")
