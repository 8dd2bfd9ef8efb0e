"""`hgfctl visualize paper`: trains or finds what the paper's figures need, makes them, and binds them into a page."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgfctl.cli import console, training
from hgfctl.cli.phase_space import portraits_of
from hgfctl.cli.reflection import study_of
from hgfctl.errors import HgfctlError, RequestError
from hgfctl.version import __version__

if TYPE_CHECKING:
    import torch

    from hgfctl.config import Config
    from hgfctl.engine.checkpoint import Checkpoint
    from hgfctl.engine.paper.figure import Figure, FigureText
    from hgfctl.storage.runs import Run


@dataclass(frozen=True)
class Effort:
    """How much work goes into the figures.

    Args:
        images: preset -> items to train it on, where that is less than the preset says.
        particles: of the phase spaces.
        flights: of the reflection.
        draws: of HSD's study.
        board: samples of the checkerboard.
        digits: generated, to be judged.
        nfe: evaluations a digit.
    """

    images: Mapping[str, int]
    particles: int
    flights: int
    draws: int
    board: int
    digits: int
    nfe: int


SCORE, BOARD, DIGITS = "gmm-hsm", "checkerboard-reflection", "digits-oscillation"
"""Presets of the networks that are shown."""

FULL = Effort(
    images={DIGITS: 80_000}, particles=100_000, flights=1_000_000, draws=1500, board=20_000, digits=1438, nfe=20
)
QUICK = Effort(
    images=dict.fromkeys((SCORE, BOARD, DIGITS), 1_000),
    particles=5_000,
    flights=20_000,
    draws=15,
    board=500,
    digits=80,
    nfe=5,
)


def paper(
    out: Annotated[Path, typer.Option(help="The folder for index.html, the pictures, and the runs that are trained.")],
    runs: Annotated[
        Path, typer.Option(help="Where finished runs of the same presets are looked for, too, before any is trained.")
    ] = Path("runs"),
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Hardly trained, hardly measured: a page in a minute or two, to see how it looks."
        ),
    ] = False,
    device: training.Device = "auto",
    json: Annotated[bool, typer.Option("--json", help='Print {"files": [...]} and all that was measured.')] = False,
) -> None:
    """Every figure of the paper that needs no photographs, on one page; prints the path of its index.html.

    Takes about ten minutes on 2 CPU cores. What it has made it keeps: stopped and run again, it goes on from there.
    """
    from hgfctl.engine.paper.page import page
    from hgfctl.storage.atomic import replacing

    _make_folder(out)
    workshop = Workshop(out, runs, QUICK if quick else FULL, console.device(device))
    figures = workshop.figures()
    index = out / "index.html"
    with replacing(index) as partial:
        partial.write_text(page(out, figures, workshop.colophon(figures)), encoding="utf-8")
    panels = [str(out / panel.file) for text in figures.values() for panel in text.panels]
    facts = {"files": [str(index), *panels], **{name: dict(text.facts) for name, text in figures.items()}}
    console.result(index, {**facts, "networks": workshop.origins}, json)


def _make_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RequestError(f"--out {out} is a file; name a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".writable").touch()
        (out / ".writable").unlink()
    except OSError as error:
        raise HgfctlError(f"cannot write to the folder {out}: {error.strerror}") from None


class Workshop:
    """Makes the figures of one page, one after the other.

    Args:
        out: where they go.
        elsewhere: where finished runs may lie besides.
        effort: how much work goes into them.
        device: to train and sample on.
    """

    def __init__(self, out: Path, elsewhere: Path, effort: Effort, device: "torch.device") -> None:
        self.out, self.elsewhere, self.effort, self.device = out, elsewhere, effort, device
        self.origins: dict[str, str] = {}
        """Preset -> where the network comes from."""

    def figures(self) -> "dict[str, FigureText]":
        """In the order of the page; each is made, unless it is there already."""
        from hgfctl.engine.data.mixture import gmm_mixture
        from hgfctl.engine.metrics.hsd_study import study
        from hgfctl.engine.paper import digits, hsd, phase_space, reflection, score

        effort = self.effort
        lines, particles, flights = phase_space.PRESETS, effort.particles, effort.flights
        return {
            "score": self._of_model("score", SCORE, score.figure_of_score, {}),
            "phase-space": self._of_nothing(
                "phase-space",
                lambda: phase_space.figure_of_phase_space(portraits_of(list(lines), [], particles, 0, 4.0), particles),
                {"particles": particles},
            ),
            "hsd": self._of_nothing(
                "hsd",
                lambda: hsd.figure_of_hsd(study(gmm_mixture(), effort.draws, 0, _telling)),
                {"draws": effort.draws},
            ),
            "reflection": self._of_nothing(
                "reflection",
                lambda: reflection.figure_of_reflection(study_of(BOARD, [], flights, 0), flights),
                {"flights": flights},
            ),
            "checkerboard": self._of_model(
                "checkerboard",
                BOARD,
                lambda model, spent: reflection.figure_of_samples(model, effort.board, spent),
                {"samples": effort.board},
            ),
            "digits": self._of_model(
                "digits",
                DIGITS,
                lambda model, spent: digits.figure_of_digits(model, effort.nfe, effort.digits, spent),
                {"digits": effort.digits, "nfe": effort.nfe},
            ),
        }

    def colophon(self, figures: "Mapping[str, FigureText]") -> list[str]:
        """The lines at the page's end: where the networks come from, and how long everything took."""
        times = {
            name: text.facts["seconds"] + text.facts.get("training_seconds", 0.0) for name, text in figures.items()
        }
        parts = ", ".join(f"{name} {spent:,.0f} s" for name, spent in times.items())
        lines = [
            f"Made by hgfctl {__version__} (hgfctl visualize paper), device {self.device.type}.",
            f"Time that it took, training included: {parts}; {sum(times.values()):,.0f} s in all.",
            f"Networks: {'; '.join(f'{preset}: {origin}' for preset, origin in self.origins.items())}.",
        ]
        if self.effort == QUICK:
            lines.insert(0, "Made with --quick: networks have hardly been trained, and numbers hardly been averaged.")
        return lines

    def _of_nothing(self, name: str, make: "Callable[[], Figure]", depends_on: Mapping[str, Any]) -> "FigureText":
        """A figure that is there already, or is made now."""
        from hgfctl.engine.paper.figure import keep, kept

        origin = {"version": __version__, **depends_on}
        found = kept(self.out, name, origin)
        if found is not None:
            console.note(f"{name}: is there already")
            return found
        console.note(f"{name}: measuring and drawing")
        began = time.monotonic()
        made = make()
        figure = made.timed(time.monotonic() - began)
        keep(self.out, name, figure, origin)
        return figure.text

    def _of_model(
        self, name: str, preset: str, make: "Callable[[Checkpoint, float], Figure]", depends_on: Mapping[str, Any]
    ) -> "FigureText":
        """A figure of a trained model, made of it and of the seconds that its training took."""
        from hgfctl.engine.checkpoint import read_checkpoint
        from hgfctl.storage import tensor_files

        run = self._run(name, preset)
        file = run.checkpoints()[-1]
        spent = float(run.read_log()[-1]["seconds"])
        return self._of_nothing(
            name,
            lambda: make(read_checkpoint(file, self.device), spent),
            {**depends_on, "preset": preset, "checkpoint": tensor_files.checksum(file)},
        )

    def _run(self, name: str, preset: str) -> "Run":
        """A finished run of a preset: found, or trained now."""
        from hgfctl.engine.ranks import alone
        from hgfctl.engine.training.opening import open_session
        from hgfctl.engine.training.request import Request

        wanted = self._wanted(preset)
        workshop = self.out / "runs"
        for place in (workshop, self.elsewhere):
            for run, config in _runs(place, preset):
                if _finished(run, config) and config.train.images >= wanted.train.images and _alike(wanted, config):
                    console.note(f"{name}: shows {run.folder}, which is finished")
                    self._showing(preset, "trained for this page" if place == workshop else "found finished", config)
                    return run
        same = (
            run
            for run, config in _runs(workshop, preset)
            if config.train.images == wanted.train.images and _alike(wanted, config)
        )
        begun = next(same, None)
        console.note(f"{name}: training {preset}, {wanted.train.images:,} items" + (", goes on" if begun else ""))
        asked = Request(wanted, run=begun, resumed=begun is not None)
        session = open_session(asked, alone(self.device), runs=workshop, on_event=training.report)
        training.follow(session)
        self._showing(preset, "trained for this page", wanted)
        return session.run

    def _showing(self, preset: str, origin: str, config: "Config") -> None:
        self.origins[preset] = f"{origin}, {config.train.steps * config.train.batch:,} items seen"

    def _wanted(self, preset: str) -> "Config":
        """The preset, for as long as the effort allows; samples are drawn at the end alone."""
        from hgfctl.presets import load

        config = load(preset)
        images = min(config.train.images, self.effort.images.get(preset, config.train.images))
        drawn_at = config.train.batch * -(-images // config.train.batch)
        return load(preset, [f"train.images={images}", f"train.sample_every={drawn_at}"])


def _runs(place: Path, preset: str) -> "Iterator[tuple[Run, Config]]":
    """Those of a preset, newest first, with their configurations; others are passed over."""
    from hgfctl.presets import configuration, parse
    from hgfctl.storage.runs import Run, numbered

    for folder in sorted(place.glob(f"{preset}-*"), key=lambda path: numbered(path, preset), reverse=True):
        run = Run(folder)
        if numbered(folder, preset) and run.config.is_file():
            try:
                yield (
                    run,
                    configuration(parse(run.config.read_text(encoding="utf-8"), str(run.config)), str(run.config)),
                )
            except (RequestError, OSError):
                continue


def _finished(run: "Run", config: "Config") -> bool:
    return run.checkpoint_at(config.train.steps).is_file() and run.log.is_file()


def _alike(wanted: "Config", config: "Config") -> bool:
    """True where a run's configuration is that of the preset, whatever was filled in."""
    for place in ("data", "augment", "model", "flow", "network", "loss", "times"):
        asked, has = getattr(wanted, place), getattr(config, place)
        if (asked is None) != (has is None):
            return False
        if asked is not None and (
            asked.name != has.name or any(has.options.get(k) != v for k, v in asked.options.items())
        ):
            return False
    return True


@contextmanager
def _telling(what: str) -> "Iterator[None]":
    console.note(f"  {what}")
    with console.working(what):
        yield
