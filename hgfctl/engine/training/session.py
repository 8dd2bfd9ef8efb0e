"""A training session: steps, and around them the run folder with its log, checkpoints, states and sample grids."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from hgfctl import __version__
from hgfctl.engine import precision
from hgfctl.engine.checkpoint import flow_tensors
from hgfctl.engine.figures.samples import samples_figure
from hgfctl.engine.metrics.stiffness import curvature
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.training.board import Board
from hgfctl.engine.training.events import Drawn, Event, Saved, Stepped
from hgfctl.engine.training.schedules import learning_rate
from hgfctl.engine.training.trainer import Diverged, Trainer
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.storage import tensor_files
from hgfctl.storage.atomic import replacing
from hgfctl.storage.runs import Run

ABSURD = 1e3
"""Times the size of a right answer: a mean loss above this comes from weights that are lost."""
ABSURD_GAIN = 1e6
"""And one this far below 0. Scores of narrow laws have losses far below 0, but not so far."""
SAMPLE_GRID = 64
"""Items in each grid drawn during training."""


@dataclass
class _Clock:
    """The time that training takes.

    Args:
        first: the step before this session's first one.
        before: seconds of the sessions before.
        batch: items of a step.
    """

    first: int
    before: float
    batch: int

    def __post_init__(self) -> None:
        self._began = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of all sessions together."""
        return self.before + time.monotonic() - self._began

    def pace(self, step: int) -> float:
        """Items a second in this session."""
        return (step - self.first) * self.batch / (time.monotonic() - self._began)

    def save(self) -> None:
        self._saved = time.monotonic()

    def since_saved(self) -> float:
        """Seconds."""
        return time.monotonic() - self._saved


class Session:
    """Trains into a run folder.

    Args:
        trainer: at step 0, or restored by `resume`.
        run: the folder.
    """

    def __init__(self, trainer: Trainer, run: Run) -> None:
        self.trainer = trainer
        self.run = run
        self.config = trainer.experiment.config
        self.seconds = 0.0
        """Seconds spent in training, in all sessions of the run together."""
        self._loss_sum, self._loss_count = 0.0, 0
        self._steepest = 0.0
        self._board = Board(run.folder) if self.config.train.tensorboard and trainer.ranks.first else None
        self._longest_flight: float | None = None

    @property
    def loss(self) -> float:
        """Mean loss since the last row of the log; that of the log's last row when there was no step since."""
        if self._loss_count:
            return self._loss_sum / self._loss_count
        rows = [row for row in self.run.read_log() if "loss" in row] if self.run.log.exists() else []
        return rows[-1]["loss"] if rows else math.nan

    def write_config(self) -> None:
        """The resolved configuration, for people and for resuming."""
        with replacing(self.run.config) as partial:
            partial.write_text(self.config.to_yaml(), encoding="utf-8")

    def resume(self, on_damage: Callable[[str], object]) -> bool:
        """Goes back to the newest step whose checkpoint and state are both whole; False when there is none.

        Args:
            on_damage: told about each file that is passed over.

        Raises:
            RequestError: the data are of another shape or have other classes than those of the run.
        """
        for step in self.run.resumable_steps():
            try:
                kept, made = tensor_files.load(self.run.checkpoint_at(step))
                tensors, description = tensor_files.load(self.run.state(step))
            except tensor_files.Damaged as damage:
                on_damage(str(damage))
                continue
            now = self.description()
            for key in ("shape", "classes"):
                if made[key] != now[key]:
                    raise RequestError(
                        f"{self.run.folder} was trained on data with {key} {made[key]}, and these have {now[key]}"
                    )
            self.trainer.skipped, self.trainer.failing = description["skipped"], description["failing"]
            self.trainer.restore(tensors, step, flow_tensors(kept))
            self.seconds = description["seconds"]
            self._loss_sum, self._loss_count = description["loss_sum"], description["loss_count"]
            self._steepest = description["steepest"]
            if self.trainer.ranks.first:
                self.run.forget_log_after(step)
            return True
        return False

    def events(self, stop: Callable[[], bool]) -> Iterator[Event]:
        """Trains to the end, or until `stop` says so; in both cases saves before it returns.

        Of several ranks each gets the steps; the first one alone writes, and gets the rest.

        Raises:
            Diverged: the loss; the checkpoints written before remain, and the message says what may be wrong.
            HgfctlError: a file cannot be written.
        """
        # From end to end, for the states that are flown ahead are flown between steps, too.
        with precision.products(self.config.train.precision):
            yield from self._steps(stop)

    def _steps(self, stop: Callable[[], bool]) -> Iterator[Event]:
        train, trainer = self.config.train, self.trainer
        clock = _Clock(trainer.step, self.seconds, train.batch)
        while trainer.step < train.steps:
            stopping, due = trainer.ranks.any(stop(), clock.since_saved() > 60 * train.save_minutes)
            if due and not trainer.failing and not self._is_saved():
                yield from self._as_first(lambda: self.save(lasting=False))
                clock.save()
            if stopping:
                break
            self._advance()
            self.seconds = clock.seconds
            pace = clock.pace(trainer.step)
            yield Stepped(trainer.step, self.loss, pace)
            if not trainer.failing or trainer.step == train.steps:
                yield from self._write(pace, clock)
        if trainer.step < train.steps and not self._is_saved():
            yield from self._as_first(lambda: self.save(lasting=False))

    def _advance(self) -> None:
        """One step, and its part in the next row of the log."""
        trainer = self.trainer
        try:
            loss = trainer.advance()
        except Diverged as failure:
            raise Diverged(f"{failure}; {self._cause()}\n{self._last_good()}") from None
        except RequestError as failure:  # a force that fails on the way
            raise HgfctlError(f"{failure}\n{self._last_good()}") from failure
        if not trainer.failing:
            self._loss_sum, self._loss_count = self._loss_sum + loss, self._loss_count + 1
            self._steepest = max(self._steepest, trainer.gradient_norm)

    def _write(self, pace: float, clock: _Clock) -> Iterator[Event]:
        """The row, the checkpoint and the picture that are due after this step."""
        log, save, draw = self._due()
        if (log or save) and not self._sane():
            grown = f"the loss has grown to {self.loss:.3g} at step {self.trainer.step}"
            raise Diverged(f"{grown}; {self._cause()}\n{self._last_good()}")
        if log:
            self._longest_flight = self._quarter_period()
            self._log(pace)
        if save:
            yield from self._as_first(self.save)
            clock.save()
        if draw:
            yield from self._as_first(self.draw)

    def _due(self) -> tuple[bool, bool, bool]:
        """Says whether this step is one to log, to save, to draw samples at; the last one is all three."""
        train, step = self.config.train, self.trainer.step
        assert train.save_every is not None
        assert train.sample_every is not None
        save_steps, sample_steps = (max(1, every // train.batch) for every in (train.save_every, train.sample_every))
        intervals = (train.log_every, save_steps, sample_steps)
        log, save, draw = (step == train.steps or step % every == 0 for every in intervals)
        return log, save, draw

    def _sane(self) -> bool:
        """Says whether the loss is of a size that losses have."""
        trainer = self.trainer
        unit = trainer.model.loss_scale(math.prod(trainer.experiment.data.shape))
        return bool(trainer.failing) or -ABSURD_GAIN * unit < self.loss < ABSURD * unit

    def _is_saved(self) -> bool:
        return self.run.state(self.trainer.step).exists()

    def _as_first(self, work: Callable[[], Event]) -> Iterator[Event]:
        if self.trainer.ranks.first:
            yield work()

    def save(self, lasting: bool = True) -> Saved:
        """Writes state and checkpoint of this step, the checkpoint last: where it stands, both do.

        Args:
            lasting: keep the checkpoint when the state is dropped for newer ones, and take snapshots of the
                power-function averages.
        """
        trainer = self.trainer
        if lasting and self.config.train.power_emas:
            self._snapshot()
        tensor_files.save(
            self.run.state(trainer.step),
            trainer.state(),
            {
                "kind": "state",
                "step": trainer.step,
                "seconds": self.seconds,
                "loss_sum": self._loss_sum,
                "loss_count": self._loss_count,
                "steepest": self._steepest,
                "skipped": trainer.skipped,
                "failing": trainer.failing,
                "lasting": lasting,
            },
        )
        path = self.run.checkpoint_at(trainer.step)
        tensor_files.save(path, trainer.ema.tensors(), self.description())
        self.run.drop_old_states(self.config.train.keep)
        return Saved(path)

    def _snapshot(self) -> None:
        widths, averages = self.config.train.power_emas, self.trainer.power_averages()
        tensors = {f"{s}.{name}": p for s, part in zip(widths, averages, strict=True) for name, p in part.items()}
        description = {**self.description(), "kind": "power-emas", "widths": list(widths)}
        tensor_files.save(self.run.snapshot(self.trainer.step), tensors, description)

    def description(self) -> dict[str, Any]:
        """The description that goes into a checkpoint."""
        data = self.trainer.experiment.data
        return {
            "kind": self.config.model.name,
            "version": __version__,
            "config": self.config.model_dump(mode="json"),
            "shape": list(data.shape),
            "classes": data.classes,
            "step": self.trainer.step,
            "images": self.trainer.images,
        }

    def draw(self) -> Drawn:
        """Draws samples of the EMA weights, always from the same seeds."""
        data = self.trainer.experiment.data
        sampler = sampler_for(self.trainer.ema, data.shape, data.classes, SamplingRequest.of(self.config.sample))
        count = SAMPLE_GRID if len(data.shape) == 3 else 1024
        (batch,) = sampler.batches(torch.arange(count), count)
        path = self.run.samples / f"step-{self.trainer.step:08d}.png"
        samples_figure(batch.x, batch.labels).save(path)
        if self._board:
            self._board.show(path, self.trainer.images)
        return Drawn(path)

    def _log(self, pace: float) -> None:
        trainer, loss = self.trainer, self.loss
        row = {
            "step": trainer.step,
            "images": trainer.images,
            "loss": loss,
            "lr": learning_rate(self.config.train, trainer.images - self.config.train.batch),
            "gradient_norm": self._steepest,
            "skipped": trainer.skipped,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(pace, 1),
            **trainer.facts,
        }
        self._loss_sum, self._loss_count, self._steepest = 0.0, 0, 0.0
        if trainer.ranks.first:
            self.run.append_log(row)
        if self._board:
            self._board.write(row)

    def _quarter_period(self) -> float | None:
        """The longest flight that the learned field allows, for a loss that flies along it, while it is in order."""
        trainer = self.trainer
        if trainer.experiment.loss.flight is None:
            return None
        field = trainer.ema.score_field()
        x0, labels = trainer.experiment.data.batch(0, 256, self.config.train.seed)
        x0, labels = x0.to(trainer.device), None if labels is None else labels.to(trainer.device)
        with torch.no_grad():
            size = float(field(x0, labels).square().flatten(1).sum(1).mean())
        in_order = size < ABSURD * trainer.model.loss_scale(math.prod(trainer.experiment.data.shape))
        return curvature(field, x0, labels).quarter_period if in_order else None

    def _cause(self) -> str:
        """The likely cause of a loss that diverges."""
        loss, limit = self.trainer.experiment.loss, self._longest_flight
        if loss.flight is not None and limit is not None and loss.flight > limit:
            return f"flights of loss.duration={loss.flight:g} are too long for the score's curvature: try {limit:.2g}"
        return f"{loss.learners} is learning too fast: try a smaller train.lr or a longer train.ramp"

    def _last_good(self) -> str:
        found = self.run.checkpoints()
        return f"the last good checkpoint is {found[-1]}" if found else "no checkpoint was written before"
