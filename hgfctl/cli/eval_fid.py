"""`hgfctl eval-fid`, and `hgfctl eval-fid stats`."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hgfctl.cli import console, distributed, eval_reports, guidance, training
from hgfctl.cli.options import Device, Flow, Json, SampleSettings
from hgfctl.errors import RequestError
from hgfctl.processes import launched

if TYPE_CHECKING:
    from hgfctl.engine.evaluation.evaluate import Evaluation
    from hgfctl.engine.evaluation.image_sets import ImageSet
    from hgfctl.engine.evaluation.measurement import Measurement
    from hgfctl.engine.evaluation.request import EvaluationRequest
    from hgfctl.engine.evaluation.subjects import Subject
    from hgfctl.engine.evaluation.watch import Watch
    from hgfctl.engine.ranks import Ranks


class _MeasureByDefault(TyperGroup):
    """`eval-fid SOURCE` is `eval-fid measure SOURCE`; only `stats` goes by its name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["measure", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return None if name == "measure" else name, command, rest


app = typer.Typer(
    cls=_MeasureByDefault,
    help="Measure images, or a model by those it makes: FID, KID, precision, recall, density, coverage.",
    rich_markup_mode=None,
)

Name = Annotated[
    str | None,
    typer.Option(
        "--features",
        metavar="NAME",
        help="inception (plain FID), dinov2, random (an untrained network: needs no file), pixels; none for vectors. "
        "When left out what the files hold, else inception, or random for images below 32 pixels.",
    ),
]
Resizing = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="How images come to inception: legacy-tensorflow (EDM's; up to 64 pixels when left out) or clean.",
    ),
]
Weights = Annotated[
    Path | None, typer.Option(help="The features' weights; looked for in HGFCTL_CACHE, then fetched, when left out.")
]
AllowCode = Annotated[
    bool, typer.Option("--allow-code", help="Run a TorchScript file other than the published Inception.")
]
Split = Annotated[
    str | None, typer.Option(metavar="NAME", help="A split of a data set that has several: train, held-out, test ...")
]
Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="NAME[,NAME...]",
        help="frechet, kid, prdc (precision, recall, density, coverage); of vectors sliced-wasserstein, mmd. All when "
        "left out; the first one is the result, or FID where it is among them.",
    ),
]
Resolution = Annotated[
    int | None, typer.Option(min=1, help="Crop and resize image files to N x N; as they are when left out.")
]
SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be used, and count them.")]
Budgets = Annotated[
    str | None,
    typer.Option(
        metavar="N[,N...]", help="Budget of network evaluations; several make a table and a plot. The preset's."
    ),
]
Num = Annotated[
    int | None, typer.Option(min=2, help="Images; of a model 50,000, of a data set or a file all, when left out.")
]
Seed = Annotated[int, typer.Option(min=0, help="Generated image i has seed SEED + i.")]
Sampler_ = Annotated[str | None, typer.Option(help="See `hgfctl sample --help`.")]
Batch = Annotated[int, typer.Option(min=1, help="Images at a time.")]


@app.command(
    epilog="`hgfctl eval-fid stats SOURCE --out X.npz` keeps the features of images, or of a model; see its --help."
)
def measure(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A checkpoint or run, an image folder or zip, an .npz or .npy of uint8 images, features or "
            "statistics; - reads the path from stdin. The newest run below ./runs when left out.",
        ),
    ] = None,
    ref: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="The reference: a data set (path, name or preset), a statistics file (.npz, EDM2's .pkl), or "
            "anything that SOURCE may be. A model's training data when left out.",
        ),
    ] = None,
    nfe: Budgets = None,
    num: Num = None,
    seed: Seed = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Generate so many times, from seeds that differ: mean and spread.")
    ] = 1,
    metrics: Metrics = None,
    features: Name = None,
    resizing: Resizing = None,
    weights: Weights = None,
    allow_code: AllowCode = False,
    sampler: Sampler_ = None,
    grid: Sampler_ = None,
    flow: Flow = None,
    settings: SampleSettings = None,
    weight: guidance.Weight = None,
    guide: guidance.Guide = None,
    interval: guidance.Interval = None,
    split: Split = None,
    resolution: Resolution = None,
    skip_bad: SkipBad = False,
    batch: Batch = 64,
    out: Annotated[
        Path | None, typer.Option(help="The plot of FID against NFE (PNG), where there are several budgets.")
    ] = None,
    gpus: distributed.Gpus = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Measure images, or a model by those it makes, against real ones: FID, KID, precision, recall, density, coverage.

    Prints the figure and the features it is made with. `eval-fid stats` makes statistics once.
    """
    from hgfctl.engine.evaluation.evaluate import evaluation
    from hgfctl.engine.evaluation.request import EvaluationRequest
    from hgfctl.engine.evaluation.sources import opened_reference
    from hgfctl.engine.ranks import joined

    began = time.monotonic()
    request = EvaluationRequest(
        budgets=_budgets(nfe), num=num, seed=seed, seeds=seeds, sampler=sampler, grid=grid,
        settings=tuple(settings or ()), flow=flow, metrics=_names(metrics), features=features, resizing=resizing,
        weights=weights, allow_code=allow_code or None, split=split, resolution=resolution, skip_bad=skip_bad,
        batch=batch,
    )  # fmt: skip
    asked = guidance.Asked(weight, guide, interval)
    if out is not None and (out.suffix != ".png" or len(request.budgets) == 1):
        raise RequestError(f"--out {out}: names the plot (a .png) that several budgets make, such as --nfe 5,10,20,35")
    named = _named(source)
    if gpus and not launched():
        distributed.launch(gpus, device, {"-": named} if source == "-" else None)
        return
    with joined(console.device(device)) as ranks:
        subject, request = _subject(named, request, None, ref is not None, asked, ranks)
        if request.guidance:
            console.note(f"{named}: {request.guidance}")
        reference = opened_reference(ref, subject, request, ranks.device)
        for side in (subject, reference):
            training.tell_skipped(side.source)
        compared = evaluation(subject, reference, request, ranks, _watch())
        measurements = list(compared.measurements())
        if measurements:
            about = {"source": named, "ref": reference.name}
            _tell(compared, measurements, about, began, out, json)
            for file in (file for one in measurements for file in one.kept):
                file.unlink(missing_ok=True)


@app.command()
def stats(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Images in any form, or a checkpoint or run.")],
    out: Annotated[Path, typer.Option(help="FILE.npz: mu and sigma as EDM and clean-fid read them, and features.")],
    nfe: Annotated[
        int | None, typer.Option(min=1, help="Budget of network evaluations, for a model; the preset's when left out.")
    ] = None,
    num: Num = None,
    seed: Seed = 0,
    features: Name = None,
    resizing: Resizing = None,
    weights: Weights = None,
    allow_code: AllowCode = False,
    sampler: Sampler_ = None,
    grid: Sampler_ = None,
    flow: Flow = None,
    settings: SampleSettings = None,
    weight: guidance.Weight = None,
    guide: guidance.Guide = None,
    interval: guidance.Interval = None,
    split: Split = None,
    resolution: Resolution = None,
    skip_bad: SkipBad = False,
    batch: Batch = 64,
    gpus: distributed.Gpus = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Keep the features of images, and their statistics, in a file that stands for them; prints its path."""
    from hgfctl.engine.evaluation.evaluate import statistics_of
    from hgfctl.engine.evaluation.feature_files import write_features
    from hgfctl.engine.evaluation.request import EvaluationRequest
    from hgfctl.engine.evaluation.sources import check_taken
    from hgfctl.engine.ranks import joined

    if out.suffix != ".npz":
        raise RequestError(f"--out {out}: name a file that ends in .npz")
    request = EvaluationRequest(
        budgets=(nfe,), num=num, seed=seed, sampler=sampler, grid=grid, settings=tuple(settings or ()), flow=flow,
        features=features, resizing=resizing, weights=weights, allow_code=allow_code or None, split=split,
        resolution=resolution, skip_bad=skip_bad, batch=batch,
    )  # fmt: skip
    asked = guidance.Asked(weight, guide, interval)
    named = _named(source)
    if gpus and not launched():
        distributed.launch(gpus, device, {"-": named} if source == "-" else None)
        return
    with joined(console.device(device)) as ranks:
        subject, request = _subject(named, request, split, True, asked, ranks)
        check_taken(request, subject)
        training.tell_skipped(subject.source)
        found = statistics_of(subject, request, ranks, _watch())
        if found is None:
            return
        write_features(found.features, out)
        found.unfinished.unlink(missing_ok=True)
        count, dim = found.features.count, found.features.dim
        console.note(f"{count:,} images, features {found.id} of dimension {dim}")
        facts = {"output": str(out), "num": count, "features": found.id.name, "variant": found.id.variant}
        console.result(out, {**facts, "dim": dim}, json)


def _subject(
    named: str, request: "EvaluationRequest", split: str | None, compared: bool, asked: guidance.Asked, ranks: "Ranks"
) -> "tuple[Subject, EvaluationRequest]":
    """The thing that is measured, and the request with the guidance of its model."""
    from hgfctl.engine.evaluation.sources import needs_reference, opened_subject

    subject = opened_subject(named, named, request, split, ranks.device).by_flow(request.flow)
    if not compared and not subject.is_model:
        raise needs_reference(named)
    subject.check(request)
    return subject, replace(request, guidance=asked.of(subject.source, named))


def _named(source: str | None) -> str:
    """The source in words: from stdin, or the newest run where none is given."""
    if source is not None:
        return str(console.argument_path(source)) if source == "-" else source
    from hgfctl.storage.runs import newest_run

    run = newest_run(Path("runs"))
    if run is None:
        raise RequestError("no run with a checkpoint below ./runs; name a checkpoint, a run or images")
    console.note(f"the newest run, {run.folder}")
    return str(run.folder)


def _budgets(text: str | None) -> tuple[int | None, ...]:
    """ "5,10" -> (5, 10); the preset's, None, when left out."""
    if text is None:
        return (None,)
    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise RequestError(f"--nfe {text}: whole numbers from 1, separated by commas, such as 5,10,20,35")
    return tuple(int(part) for part in parts)


def _names(text: str | None) -> tuple[str, ...] | None:
    """ "kid,prdc" -> ("kid", "prdc")."""
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(","))
    if not all(names):
        raise RequestError(f"--metrics {text}: names, separated by commas, such as frechet,kid")
    return names


def _watch() -> "Watch":
    """Bars for what an evaluation does; Ctrl-C saves a pass."""
    from hgfctl.engine.evaluation.watch import Watch

    class Bars(Watch):
        def loading(self) -> AbstractContextManager[None]:
            return console.working("loading features")

        def warned(self, message: str) -> None:
            console.note(f"warning: {message}")

        def passing(
            self, images: "ImageSet"
        ) -> AbstractContextManager[tuple[Callable[[int], None], Callable[[], bool]]]:
            return _passing(images)

    return Bars()


@contextmanager
def _passing(images: "ImageSet") -> Iterator[tuple[Callable[[int], None], Callable[[], bool]]]:
    with console.interruptible() as stop, console.progress("rate") as bar:
        task = bar.add_task(images.name, total=len(images), rate="")
        began = time.monotonic()
        first: list[int] = []

        def progress(done: int) -> None:
            if not first:
                first.append(done)
                if done:
                    console.note(f"{images.name}: going on after {done:,} images")
            rate = (done - first[0]) / max(time.monotonic() - began, 1e-9)
            bar.update(task, completed=done, rate=f"{rate:.1f} images/s")

        yield progress, stop


def _tell(
    compared: "Evaluation",
    measurements: "list[Measurement]",
    about: dict[str, Any],
    began: float,
    out: Path | None,
    json: bool,
) -> None:
    """The figure, or the table and its plot; of points a line a budget."""
    seconds = round(time.monotonic() - began, 3)
    rows = [{**one.row, **about} for one in measurements]
    count = "" if rows[0]["num"] is None else f"{rows[0]['num']:,} {compared.noun} of "
    features = f", features {compared.id or 'that no file names'}" if compared.tabulated else ""
    console.note(f"{count}{about['source']} against {about['ref']}{features}")
    for warning in dict.fromkeys(warning for one in measurements for warning in one.warnings):
        console.note(f"warning: {warning}")
    if len(rows) > 1 and compared.tabulated:
        _tell_table(measurements, rows, seconds, out, json)
        return
    if compared.tabulated:
        for line in eval_reports.details(measurements[0]):
            console.plain(line)
    labels = [f"NFE {row['nfe']}: " if len(rows) > 1 else "" for row in rows]
    lines = [label + eval_reports.figure(one) for label, one in zip(labels, measurements, strict=True)]
    facts = rows[0] if len(rows) == 1 else {"results": [one.row for one in measurements], **about}
    console.result("\n".join(lines), {**facts, "seconds": seconds}, json)


def _tell_table(
    measurements: "list[Measurement]", rows: list[dict[str, Any]], seconds: float, out: Path | None, json: bool
) -> None:
    from hgfctl.engine.figures.fid import fid_figure

    first, metric = rows[0], measurements[0].leading[0]
    plot = out or _plot_path(first["source"], first["features"])
    title = f"{Path(first['source']).name} against {Path(first['ref']).name}"
    values, spreads = zip(*(metric.drawn(row) for row in rows), strict=True)
    console.result(eval_reports.table(measurements), {"results": rows, "plot": str(plot), "seconds": seconds}, json)
    if None not in values:
        fid_figure(title, first["figure"], [row["nfe"] for row in rows], values, spreads).save(plot)
        console.note(f"plot: {plot}")


def _plot_path(source: str, features: str) -> Path:
    """Below the run, or beside the checkpoint."""
    place = Path(source).expanduser()
    return (place if place.is_dir() else place.parent) / f"fid-{features}.png"
