"""`hgfctl visualize`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    from hgfctl.engine.solvers.sampling import Sampler

app = typer.Typer(
    help="Draw samples, trajectories or the course of a run.", no_args_is_help=True, rich_markup_mode=None
)

Source = Annotated[
    str, typer.Argument(metavar="CKPT", help="A checkpoint or a run folder; - reads the path from stdin.")
]
Out = Annotated[Path | None, typer.Option(help="Where to write; beside the run's samples when left out.")]
Nfe = Annotated[int | None, typer.Option(min=1, help="Budget of network evaluations; the preset's when left out.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the first item.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help='Print {"files": [...]} in place of the paths.')]


@app.command()
def samples(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CKPT|FILE.npz",
            help="A checkpoint, a run folder, or sampled arrays; - reads the path from stdin.",
        ),
    ],
    nfe: Nfe = None,
    num: Annotated[int | None, typer.Option(min=1, help="How many; 64 images or 2,000 points when left out.")] = None,
    seed: Seed = 0,
    out: Out = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """A grid of images, or a scatter plot of vectors (PNG)."""
    import torch

    from hgfctl.engine.figures.samples import samples_figure

    path = console.argument_path(source)
    if path.suffix == ".npz":
        from hgfctl.engine.data.array import array

        batch = array(str(path)).all()
        count = num or (64 if batch.x.ndim == 4 else 2000)
        x, labels = batch.x[:count], None if batch.labels is None else batch.labels[:count]
        target = out or path.with_suffix(".png")
    else:
        sampler, folder, stem = _sampler(path, nfe, device)
        count = num or (64 if len(sampler.shape) == 3 else 2000)
        seeds = torch.arange(seed, seed + count)
        x, labels = torch.cat([part.x for part in sampler.batches(seeds, 256)]), sampler.labels(seeds)
        target = out or folder / f"{stem}-samples.png"
    samples_figure(x, labels).save(target)
    _done([target], json)


@app.command()
def trajectories(
    source: Source,
    nfe: Nfe = None,
    num: Annotated[int, typer.Option(min=1, help="How many particles.")] = 400,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where to write, without an ending: a .png and a .gif are made.")
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Particles of a 2-D flow on their way from the prior to the data, and the field that moves them (PNG and GIF)."""
    import torch

    from hgfctl.engine.figures.trajectories import Course, animation, panels
    from hgfctl.engine.solvers.sampling import FlowSampler

    sampler, folder, stem = _sampler(console.argument_path(source), nfe, device)
    if not isinstance(sampler, FlowSampler):
        raise RequestError("trajectories are drawn for flows, and this is a score")
    if sampler.shape != (2,):
        raise RequestError(
            f"trajectories are drawn for flows in the plane, and this one has items of shape {sampler.shape}"
        )
    positions = torch.stack(list(sampler.trajectory(torch.arange(seed, seed + num))))
    course = Course(positions, sampler.plan.times, sampler.velocity, sampler.hvp.flow.walls)
    base = out.with_suffix("") if out and out.suffix in (".png", ".gif") else out or folder / f"{stem}-trajectories"
    files = [base.with_name(base.name + ".png"), base.with_name(base.name + ".gif")]
    panels(course).save(files[0])
    animation(course).save(files[1])
    _done(files, json)


@app.command()
def run(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A run folder; - reads the path from stdin.")],
    out: Out = None,
    json: Json = False,
) -> None:
    """Loss and pace of a training, from its log.jsonl (PNG)."""
    from hgfctl.engine.figures.run import run_figure
    from hgfctl.runs import Run

    folder = Run(console.argument_path(source))
    rows = folder.read_log()
    if not rows:
        raise RequestError(f"{folder.log} holds no row yet")
    target = out or folder.samples / "run.png"
    run_figure(rows, title=folder.folder.name).save(target)
    _done([target], json)


def _sampler(path: Path, nfe: int | None, device: str) -> "tuple[Sampler, Path, str]":
    """A sampler for a checkpoint, the folder where its pictures belong, and the first part of their names."""
    from hgfctl.engine.assembly import sampler_of, trained
    from hgfctl.runs import checkpoint_file, run_of

    file = checkpoint_file(path)
    model = trained(file, console.device(device))
    home = run_of(file)
    return (
        sampler_of(model.model, model.shape, model.classes, model.config.sample, nfe),
        home.samples if home else file.parent,
        file.stem,
    )


def _done(files: list[Path], as_json: bool) -> None:
    console.result("\n".join(map(str, files)), {"files": [str(file) for file in files]}, as_json)
