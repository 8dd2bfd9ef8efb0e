"""`hgfctl eval-fid`, and `hgfctl eval-fid stats`."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hgfctl.cli import console, distributed, eval_reports, guidance, training
from hgfctl.errors import RequestError
from hgfctl.processes import launched

if TYPE_CHECKING:
    from hgfctl.engine.evaluation.evaluate import Measurement
    from hgfctl.engine.evaluation.feature_set import FeatureSet
    from hgfctl.engine.evaluation.image_sets import ImageSet
    from hgfctl.engine.evaluation.sources import Source
    from hgfctl.engine.features.features import Features, FeaturesId
    from hgfctl.engine.ranks import Ranks


NOT_A_MODEL = "--nfe, --seeds, --sampler, --grid and --set are for models, and {} is none"


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
    str | None, typer.Option(metavar="NAME", help="Of a reference data set that has several: train, held-out, test ...")
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
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


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
            help="What to compare with: a data set (path, name or preset), a statistics file (.npz, EDM2's .pkl), or "
            "anything that SOURCE may be. A model's training data when left out.",
        ),
    ] = None,
    nfe: Budgets = None,
    num: Num = None,
    seed: Seed = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Generate so many times, from seeds that differ: mean and spread.")
    ] = 1,
    features: Name = None,
    resizing: Resizing = None,
    weights: Weights = None,
    allow_code: AllowCode = False,
    sampler: Sampler_ = None,
    grid: Sampler_ = None,
    flow: console.Flow = None,
    settings: console.SampleSettings = None,
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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Json = False,
) -> None:
    """Measure images, or a model by those it makes, against real ones: FID, KID, precision, recall, density, coverage.

    Prints the figure and the features it is made with. `eval-fid stats` makes statistics once.
    """
    from hgfctl.engine.checkpoint import Checkpoint
    from hgfctl.engine.evaluation.evaluate import Making, image_set, measured, reference_set, shapes_of
    from hgfctl.engine.evaluation.extractor import check_dimension, wanted
    from hgfctl.engine.evaluation.feature_set import FeatureSet
    from hgfctl.engine.evaluation.sources import by_flow, check_taken, data_behind, opened
    from hgfctl.engine.evaluation.vectors import measured_points
    from hgfctl.engine.ranks import joined

    began = time.monotonic()
    making = Making(_budgets(nfe), num, seed, seeds, sampler, grid, settings=tuple(settings or ()))
    guided = guidance.Asked(weight, guide, interval)
    if out is not None and (out.suffix != ".png" or len(making.budgets) == 1):
        raise RequestError(f"--out {out}: names the plot (a .png) that several budgets make, such as --nfe 5,10,20,35")
    named = _named(source)
    if gpus and not launched():
        distributed.launch(gpus, device, {"-": named} if source == "-" else None)
        return
    with joined(console.device(device)) as ranks:
        subject = by_flow(opened(named, ranks.device, features, None, resolution, skip_bad), named, flow)
        if ref is None and not isinstance(subject, Checkpoint):
            raise RequestError(f"--ref says what to compare {named} with: a data set, a statistics file, other images")
        if making.asks_for_a_model and not isinstance(subject, Checkpoint):
            raise RequestError(NOT_A_MODEL.format(named))
        making = replace(making, guidance=guided.of(subject, named))
        if making.guidance:
            console.note(f"{named}: {making.guidance}")
        if ref is None and isinstance(subject, Checkpoint):
            reference: Source = data_behind(subject, split)
        else:
            reference = opened(ref or "", ranks.device, features, split, resolution, skip_bad)
        about = {"source": named, "ref": (ref or "its training data") + (f" ({split})" if split else "")}
        check_taken((subject, reference), resolution, split)
        for one in (subject, reference):
            training.tell_skipped(one)
        if features == "none":
            rows = list(measured_points(subject, named, making, reference, about["ref"], max(batch, 1024)))
            seconds = round(time.monotonic() - began, 3)
            console.note(f"{rows[0]['num']:,} points of {named} against {about['ref']}")
            labels = [f"NFE {row['nfe']}: " if len(rows) > 1 else "" for row in rows]
            lines = [label + eval_reports.points(row) for label, row in zip(labels, rows, strict=True)]
            facts = {**rows[0], **about} if len(rows) == 1 else {"results": rows, **about}
            console.result("\n".join(lines), {**facts, "seconds": seconds}, json)
            return
        known = [one for one in (subject, reference) if isinstance(one, FeatureSet)]
        id = wanted(features, known)
        for one, called in ((subject, named), (reference, about["ref"])):
            if not isinstance(one, FeatureSet):  # says so now if it holds no images, not after loading features
                image_set(one, called, making, making.budgets[0])
        shapes = shapes_of((subject, reference))
        extractor = None
        how = {"resizing": resizing, "weights": weights, "allow_code": allow_code or None}
        if shapes:
            extractor = _extractor(id.name if id else None, id, shapes[0], ranks, how)
            check_dimension(extractor, shapes, known)
            id = extractor.id
        elif given := [f"--{key.replace('_', '-')}" for key, value in how.items() if value is not None]:
            raise RequestError(f"{' and '.join(given)}: both sides are files of features, so none are made")
        if len(set(shapes)) > 1:
            console.note(f"warning: {named} has images of {_size(shapes[0])}, {about['ref']} of {_size(shapes[1])}")

        def collect(images: "ImageSet") -> FeatureSet | None:
            assert extractor is not None
            return _collected(images, extractor, batch, ranks)

        base = reference_set(reference, about["ref"], making, id, collect, ranks)
        found = list(measured(subject, named, making, base, id, collect, ranks))
        if ranks.first:
            _tell(found, about, round(time.monotonic() - began, 3), out, json)
            for file in (file for one in found for file in one.kept):
                file.unlink(missing_ok=True)


@app.command()
def stats(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Images in any form, or a checkpoint or run.")],
    out: Annotated[Path, typer.Option(help="FILE.npz: mu and sigma as EDM and clean-fid read them, and features.")],
    nfe: Annotated[
        int | None, typer.Option(min=1, help="Of a model: budget of network evaluations; the preset's.")
    ] = None,
    num: Num = None,
    seed: Seed = 0,
    features: Name = None,
    resizing: Resizing = None,
    weights: Weights = None,
    allow_code: AllowCode = False,
    sampler: Sampler_ = None,
    grid: Sampler_ = None,
    flow: console.Flow = None,
    settings: console.SampleSettings = None,
    weight: guidance.Weight = None,
    guide: guidance.Guide = None,
    interval: guidance.Interval = None,
    split: Split = None,
    resolution: Resolution = None,
    skip_bad: SkipBad = False,
    batch: Batch = 64,
    gpus: distributed.Gpus = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Json = False,
) -> None:
    """Keep the features of images, and their statistics, in a file that stands for them; prints its path."""
    from hgfctl.engine.checkpoint import Checkpoint
    from hgfctl.engine.evaluation.evaluate import Making, image_set
    from hgfctl.engine.evaluation.feature_files import write_features
    from hgfctl.engine.evaluation.feature_set import FeatureSet
    from hgfctl.engine.evaluation.sources import by_flow, check_taken, opened
    from hgfctl.engine.evaluation.unfinished import pass_file
    from hgfctl.engine.ranks import joined

    if out.suffix != ".npz":
        raise RequestError(f"--out {out}: name a file that ends in .npz")
    guided = guidance.Asked(weight, guide, interval)
    named = _named(source)
    if gpus and not launched():
        distributed.launch(gpus, device, {"-": named} if source == "-" else None)
        return
    with joined(console.device(device)) as ranks:
        subject = by_flow(opened(named, ranks.device, features, split, resolution, skip_bad), named, flow)
        if isinstance(subject, FeatureSet):
            raise RequestError(f"{named} holds features already")
        making = Making((nfe,), num, sampler=sampler, grid=grid, settings=tuple(settings or ()))
        if making.asks_for_a_model and not isinstance(subject, Checkpoint):
            raise RequestError(NOT_A_MODEL.format(named))
        making = replace(making, guidance=guided.of(subject, named))
        check_taken((subject,), resolution, split)
        training.tell_skipped(subject)
        images = image_set(subject, named, making, nfe, seed)
        how = {"resizing": resizing, "weights": weights, "allow_code": allow_code or None}
        found = _collected(images, _extractor(features, None, images.shape, ranks, how), batch, ranks)
        if found is None:
            return
        write_features(found, out)
        assert found.id is not None
        pass_file(images, found.id).unlink(missing_ok=True)
        console.note(f"{found.count:,} images, features {found.id} of dimension {found.dim}")
        facts = {"output": str(out), "num": found.count, "features": found.id.name, "variant": found.id.variant}
        console.result(out, {**facts, "dim": found.dim}, json)


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


def _extractor(
    name: str | None, id: "FeaturesId | None", shape: tuple[int, ...], ranks: "Ranks", how: Mapping[str, Any]
) -> "Features":
    """Loaded; with the resizing that files at hand are made with."""
    from hgfctl.engine.evaluation.extractor import extractor
    from hgfctl.engine.features.features import RESIZINGS

    resizing = how["resizing"] or (id.variant if id is not None and id.variant in RESIZINGS else None)
    with console.working("loading features"):
        return extractor(ranks, shape, name, **{**how, "resizing": resizing})


def _collected(images: "ImageSet", features: "Features", batch: int, ranks: "Ranks") -> "FeatureSet | None":
    """One pass, with a bar; Ctrl-C saves it."""
    from hgfctl.engine.evaluation.feature_pass import feature_set

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

        return feature_set(images, features, batch, ranks, progress, stop)


def _tell(
    measurements: "list[Measurement]", about: dict[str, Any], seconds: float, out: Path | None, json: bool
) -> None:
    """The figure, or the table and its plot."""
    rows = [{**one.as_json(), **about} for one in measurements]
    first = rows[0]
    count = "" if first["num"] is None else f"{first['num']:,} images of "
    features = measurements[0].id or "that no file names"
    console.note(f"{count}{about['source']} against {about['ref']}, features {features}")
    for warning in dict.fromkeys(warning for one in measurements for warning in one.warnings):
        console.note(f"warning: {warning}")
    if len(rows) == 1:
        for line in eval_reports.details(first):
            console.plain(line)
        console.result(eval_reports.figure(first), {**first, "seconds": seconds}, json)
        return
    from hgfctl.engine.figures.fid import fid_figure

    plot = out or _plot_path(about["source"], first["features"])
    title = f"{Path(about['source']).name} against {Path(about['ref']).name}"
    spreads = [row["fid_std"] or 0.0 for row in rows]
    console.result(eval_reports.table(rows), {"results": rows, "plot": str(plot), "seconds": seconds}, json)
    fid_figure(title, first["figure"], [r["nfe"] for r in rows], [r["fid"] for r in rows], spreads).save(plot)
    console.note(f"plot: {plot}")


def _size(shape: tuple[int, ...]) -> str:
    """ "32 x 32 pixels in colour"."""
    return f"{shape[1]} x {shape[2]} pixels in {'grey' if shape[0] == 1 else 'colour'}"


def _plot_path(source: str, features: str) -> Path:
    """Below the run, or beside the checkpoint."""
    place = Path(source).expanduser()
    return (place if place.is_dir() else place.parent) / f"fid-{features}.png"
