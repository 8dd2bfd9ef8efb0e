"""`hgfctl visualize`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, force, guidance, latents, paper, phase_space, reflection
from hgfctl.cli.options import Flow
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    from hgfctl.engine.sampling.sampler import Sampler

app = typer.Typer(
    help="Draw samples, trajectories, what lies between two, flows, forces, scores, what HSD is worth, the course of a "
    "run, or all figures of the paper.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Source = Annotated[
    str, typer.Argument(metavar="CKPT", help="A checkpoint or a run folder; - reads the path from stdin.")
]
Out = Annotated[Path | None, typer.Option(help="Where to write; beside the run's samples when left out.")]
Nfe = Annotated[int | None, typer.Option(min=1, help="Budget of network evaluations; the preset's when left out.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the first item.")]
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
    flow: Flow = None,
    num: Annotated[int | None, typer.Option(min=1, help="How many; 64 images or 2,000 points when left out.")] = None,
    seed: Seed = 0,
    weight: guidance.Weight = None,
    guide: guidance.Guide = None,
    interval: guidance.Interval = None,
    out: Out = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """A grid of images, or a scatter plot of vectors (PNG)."""
    import torch

    from hgfctl.engine.figures.samples import samples_figure

    path = console.argument_path(source)
    guided = guidance.Asked(weight, guide, interval)
    if path.suffix == ".npz":
        guided.of(None, str(path))
        from hgfctl.engine.data.array import array

        batch = array(str(path)).all()
        count = num or (64 if batch.x.ndim == 4 else 2000)
        x, labels = batch.x[:count], None if batch.labels is None else batch.labels[:count]
        target = out or path.with_suffix(".png")
    else:
        sampler, folder, stem = _sampler(path, nfe, flow, device, guided)
        count = num or (64 if len(sampler.shape) == 3 else 2000)
        seeds = torch.arange(seed, seed + count)
        if sampler.guidance:
            console.note(f"{count} samples, {sampler.method}, {sampler.guidance}, {sampler.nfe} evaluations each")
        x, labels = torch.cat([part.x for part in sampler.batches(seeds, 256)]), sampler.labels(seeds)
        target = out or folder / f"{stem}-samples.png"
    samples_figure(x, labels).save(target)
    _done([target], json)


@app.command()
def trajectories(
    source: Source,
    nfe: Nfe = None,
    flow: Flow = None,
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
    from hgfctl.engine.sampling.sampler import FlowSampler

    sampler, folder, stem = _sampler(console.argument_path(source), nfe, flow, device)
    if not isinstance(sampler, FlowSampler):
        what = "jumps" if sampler.method == "consistency" else "is a score"
        raise RequestError(f"trajectories are drawn for flows, and this {what}")
    if sampler.shape != (2,):
        raise RequestError(
            f"trajectories are drawn for flows in the plane, and this one has items of shape {sampler.shape}; "
            "flows on a line are drawn by `hgfctl visualize phase-space PRESET`"
        )
    positions = torch.stack(list(sampler.trajectory(torch.arange(seed, seed + num))))
    course = Course(positions, sampler.plan.times, sampler.velocity, sampler.hvp.flow.walls)
    base = out.with_suffix("") if out and out.suffix in (".png", ".gif") else out or folder / f"{stem}-trajectories"
    files = [base.with_name(base.name + ".png"), base.with_name(base.name + ".gif")]
    panels(course).save(files[0])
    animation(course).save(files[1])
    _done(files, json)


app.command()(latents.interpolation)
app.command()(phase_space.phase_space)
app.command()(reflection.reflection)
app.command()(paper.paper)
app.command()(force.force)


@app.command()
def score(
    source: Source,
    noise: Annotated[
        float | None,
        typer.Option(min=1e-9, help="Noise level, for a flow or a noise-conditional score."),
    ] = None,
    time: Annotated[float, typer.Option(min=1e-3, max=10, help="t of the HVP V(x, t).")] = 0.2,
    out: Out = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """A score in the plane: density, learned score, true score where known, HVP of the learned score (PNG)."""
    from hgfctl.engine.checkpoint import read_checkpoint
    from hgfctl.engine.figures.score import picture_of, score_figure
    from hgfctl.storage.runs import checkpoint_file, run_of

    file = checkpoint_file(console.argument_path(source))
    with console.working("looking at the HVP"):
        picture = score_figure(picture_of(read_checkpoint(file, console.device(device)), noise, time))
    home = run_of(file)
    name = f"{file.stem}-score" + ("" if noise is None else f"-sigma{noise:g}")
    target = out or (home.samples if home else file.parent) / f"{name}.png"
    picture.save(target)
    _done([target], json)


@app.command()
def hsd(
    draws: Annotated[
        int, typer.Option(min=50, help="Draws of the data for each point of (b); (a) and (c) take fewer.")
    ] = 1500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("hsd.png"),
    json: Annotated[bool, typer.Option("--json", help='Print {"files": [...]} and the numbers drawn.')] = False,
) -> None:
    """Judge HSD on four Gaussians: against ESM, as t -> 0, and its gradient's noise (PNG; a few minutes)."""
    from hgfctl.engine.data.mixture import gmm_mixture
    from hgfctl.engine.figures.hsd import hsd_figure
    from hgfctl.engine.metrics.hsd_study import study

    found = study(gmm_mixture(), draws, seed, console.working)
    hsd_figure(found).save(out)
    console.result(out, {"files": [str(out)], **found.facts()}, json)


@app.command()
def run(
    source: Annotated[str, typer.Argument(metavar="RUN", help="A run folder; - reads the path from stdin.")],
    out: Out = None,
    json: Json = False,
) -> None:
    """Loss and pace of a training, from its log.jsonl (PNG)."""
    from hgfctl.engine.figures.run import run_figure
    from hgfctl.storage.runs import Run

    folder = Run(console.argument_path(source))
    rows = folder.read_log()
    if not rows:
        raise RequestError(f"{folder.log} holds no row yet")
    target = out or folder.samples / "run.png"
    run_figure(rows, title=folder.folder.name).save(target)
    _done([target], json)


def _sampler(
    path: Path, nfe: int | None, flow: str | None, device: str, guided: guidance.Asked = guidance.NONE
) -> "tuple[Sampler, Path, str]":
    """A sampler for a checkpoint, the folder where its pictures belong, and the first part of their names."""
    from hgfctl.engine.checkpoint import read_checkpoint, with_flow
    from hgfctl.storage.runs import checkpoint_file, run_of

    file = checkpoint_file(path)
    model = with_flow(read_checkpoint(file, console.device(device)), flow)
    home = run_of(file)
    return (
        model.sampler(nfe, guidance=guided.of(model, str(file))),
        home.samples if home else file.parent,
        file.stem if flow is None else f"{file.stem}-{flow}",
    )


def _done(files: list[Path], as_json: bool) -> None:
    console.result("\n".join(map(str, files)), {"files": [str(file) for file in files]}, as_json)
