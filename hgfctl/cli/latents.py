"""`hgfctl latents`, and `hgfctl visualize interpolation`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, options
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    import torch

    from hgfctl.engine.checkpoint import Checkpoint
    from hgfctl.engine.data.dataset import DataSet

app = typer.Typer(
    help="Items as noise and back: encode data, decode latents, fill in what a mask hides.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def encode(
    checkpoint: options.Checkpoint,
    data: options.Data = None,
    out: Annotated[Path, typer.Option(help="FILE.npz: latents (N, *shape) float64, and labels.")] = Path("latents.npz"),
    num: options.Num = None,
    split: options.Split = None,
    nfe: options.TransportNfe = None,
    sampler: options.TransportSampler = "auto",
    grid: options.TransportGrid = "auto",
    tolerance: options.Tolerance = 1e-5,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Decode, too, and say how far that is from the data.")
    ] = True,
    seed: options.DrawSeed = 0,
    batch: options.Batch = 256,
    flow: options.Flow = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Data to latents: dx/dt = V(x, t) from t = 0 forwards to T; prints the path of the file."""
    import torch

    from hgfctl.engine.evaluation.latents import encoded, joined, write_latents
    from hgfctl.engine.evaluation.likelihoods import batches, items
    from hgfctl.engine.flows import flow_name
    from hgfctl.engine.transport.transport import chosen

    if out.suffix != ".npz":
        raise RequestError(f"--out {out}: name a file that ends in .npz")
    model = _model(checkpoint, flow, device)
    source, name = _data(model, data, split, device)
    method = chosen(model.hvp.flow, nfe, sampler, grid, tolerance, tolerance)
    began = time.monotonic()
    chosen_items = items(source, num, seed)
    parts = []
    with console.progress() as bar:
        task = bar.add_task(f"encoding {name}", total=len(chosen_items.x))
        for _, part in batches(chosen_items, batch):
            parts.append(encoded(model, part, method, check))
            bar.advance(task, len(part.x))
    latents = joined([part.latents for part in parts])
    write_latents(latents, out)
    evaluations = torch.cat([part.evaluations for part in parts]).double()
    console.note(f"{len(latents.x)} items of {name}, {method.name}, {evaluations.mean():.0f} evaluations each")
    error, worst = _errors([part.error for part in parts if part.error is not None])
    if error is not None:
        console.note(f"decoded again they are off by {error:.2e}, at most {worst:.2e}")
    facts = {
        "output": str(out),
        "num": len(latents.x),
        "shape": list(model.shape),
        "data": name,
        "sampler": method.name,
        "flow": flow_name(model.hvp.flow),
        "nfe": float(evaluations.mean()),
        "checkpoint": str(model.path),
        "reconstruction_error": error,
        "worst_reconstruction_error": worst,
        "latent_root_mean_square": float(latents.x.square().mean().sqrt()),
        "seconds": round(time.monotonic() - began, 3),
    }
    console.result(out, facts, json)


@app.command()
def decode(
    checkpoint: options.Checkpoint,
    latents: Annotated[str, typer.Argument(metavar="Z.npz", help="A file that `latents encode` wrote, or the like.")],
    out: Annotated[Path, typer.Option(help="As `sample --out`: FILE.npz, FILE.png or a new folder.")],
    nfe: options.TransportNfe = None,
    sampler: options.TransportSampler = "auto",
    grid: options.TransportGrid = "auto",
    tolerance: options.Tolerance = 1e-5,
    batch: options.Batch = 256,
    flow: options.Flow = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Latents to data: dx/dt = V(x, t) from T back to 0; prints the path of the output."""
    import torch

    from hgfctl.engine.evaluation.latents import decoded, read_latents
    from hgfctl.engine.figures.samples import samples_figure
    from hgfctl.engine.flows import flow_name
    from hgfctl.engine.transport.transport import chosen
    from hgfctl.storage.sample_files import writing

    model = _model(checkpoint, flow, device)
    found = read_latents(latents, model)
    method = chosen(model.hvp.flow, nfe, sampler, grid, tolerance, tolerance)
    began = time.monotonic()
    numbers = torch.arange(len(found.x))
    with writing(out, model.shape, numbers, found.labels, samples_figure) as write, console.progress() as bar:
        task = bar.add_task("decoding", total=len(found.x))
        for part in decoded(model, found, method, batch):
            write(part.x)
            bar.advance(task, len(part.x))
    facts = {"output": str(out), "num": len(found.x), "shape": list(model.shape), "sampler": method.name}
    facts |= {"flow": flow_name(model.hvp.flow), "checkpoint": str(model.path)}
    console.result(out, {**facts, "seconds": round(time.monotonic() - began, 3)}, json)


@app.command()
def inpaint(
    checkpoint: options.Checkpoint,
    data: options.Data = None,
    mask: Annotated[
        str,
        typer.Option(
            help="The part to be made anew: left-half, right-half, top-half, bottom-half, centre; first-half of "
            "vectors; or a picture of the images' size, white there."
        ),
    ] = "left-half",
    out: Annotated[Path, typer.Option(help="As `sample --out`.")] = Path("inpainted.png"),
    num: Annotated[int, typer.Option(min=1, help="Items.")] = 16,
    split: options.Split = None,
    nfe: Annotated[int, typer.Option(min=1, help="Budget of network evaluations an item.")] = 200,
    repeats: Annotated[
        int, typer.Option(min=1, help="Times that a step is made, undone in between; the budget counts them.")
    ] = 10,
    seed: options.Seed = 0,
    batch: options.Batch = 256,
    flow: options.Flow = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Fill in what a mask hides, so that it suits the rest; prints the path of the output."""
    import torch

    from hgfctl.engine.data.masks import mask as read_mask
    from hgfctl.engine.evaluation.latents import filled
    from hgfctl.engine.evaluation.likelihoods import batches, items
    from hgfctl.engine.figures.samples import samples_figure
    from hgfctl.engine.flows import flow_name
    from hgfctl.storage.sample_files import writing

    model = _model(checkpoint, flow, device)
    source, name = _data(model, data, split, device)
    hidden = read_mask(mask, model.shape)
    if nfe < repeats:
        raise RequestError(f"--nfe {nfe} is below one step of {repeats} --repeats")
    chosen_items = items(source, num, seed)
    began = time.monotonic()
    seeds = torch.arange(seed, seed + len(chosen_items.x))
    labels = chosen_items.labels if model.classes else None
    with writing(out, model.shape, seeds, labels, samples_figure) as write, console.progress() as bar:
        task = bar.add_task(f"filling in {name}", total=len(seeds))
        for first, part in batches(chosen_items, batch):
            write(filled(model, part, hidden, seeds[first : first + batch], nfe // repeats, repeats))
            bar.advance(task, len(part.x))
    facts = {
        "output": str(out),
        "num": len(seeds),
        "data": name,
        "hidden": int(hidden.sum()),
        "sampler": "euler",
        "flow": flow_name(model.hvp.flow),
        "nfe": nfe // repeats * repeats,
        "checkpoint": str(model.path),
        "repeats": repeats,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 3),
    }
    console.result(out, facts, json)


def interpolation(
    checkpoint: options.Checkpoint,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Data whose items are encoded first; seeds are drawn when left out."),
    ] = None,
    between: Annotated[
        list[str] | None,
        typer.Option(metavar="I,J", help="Two seeds, or two items of DATA; repeatable.  [default: 0,1]"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="9 images or 101 points when left out.")] = None,
    class_: Annotated[
        int | None,
        typer.Option("--class", min=0, help="Class of all items; that of the first of two when left out."),
    ] = None,
    split: options.Split = None,
    nfe: options.TransportNfe = None,
    out: Annotated[Path | None, typer.Option(help="Where to write; beside the run's samples when left out.")] = None,
    flow: options.Flow = None,
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Show the way between two items: a spherical path of latents, decoded (PNG)."""
    from hgfctl.engine.data.density import DensityData
    from hgfctl.engine.evaluation.latents import interpolated_items
    from hgfctl.engine.figures.interpolation import interpolation_figure
    from hgfctl.engine.transport.transport import chosen
    from hgfctl.storage.runs import run_of

    model = _model(checkpoint, flow, device)
    source = None if data is None else _data(model, data, split, device)[0]
    pairs = [_pair(text) for text in between or ["0,1"]]
    if class_ is not None and class_ >= model.classes:
        raise RequestError(f"--class {class_}: the model has {model.classes} classes, from 0 on")
    images = len(model.shape) == 3
    if not images and model.shape[0] < 2:
        raise RequestError("one-dimensional items make no picture of what lies between them")
    method = chosen(model.hvp.flow, nfe)
    with console.working("interpolating"):
        x = interpolated_items(model, source, pairs, steps or (9 if images else 101), method, class_)
    background = source.batch(0, 2000, 0).x if isinstance(source, DensityData) else None
    home = run_of(model.path)
    target = out or (home.samples if home else model.path.parent) / f"{model.path.stem}-interpolation.png"
    interpolation_figure(x, background).save(target)
    console.result(target, {"files": [str(target)]}, json)


def _errors(parts: "list[torch.Tensor]") -> tuple[float | None, float | None]:
    """Root mean square and largest of the items' errors; None where there are none."""
    import torch

    if not parts:
        return None, None
    errors = torch.cat(parts)
    return float(errors.square().mean().sqrt()), float(errors.max())


def _model(checkpoint: str, flow: str | None, device: str) -> "Checkpoint":
    from hgfctl.engine.checkpoint import read_checkpoint, with_flow
    from hgfctl.storage.runs import checkpoint_file

    return with_flow(read_checkpoint(checkpoint_file(console.argument_path(checkpoint)), console.device(device)), flow)


def _data(model: "Checkpoint", data: str | None, split: str | None, device: str) -> "tuple[DataSet, str]":
    """The data that were named, or the model's own, and what they are called; they fit the model."""
    from hgfctl.engine.evaluation.likelihoods import named_data

    place: torch.device = console.device(device)
    return named_data(model, data, split, place)


def _pair(text: str) -> tuple[int, int]:
    """ "3,8" -> (3, 8)."""
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdigit() for part in parts):
        raise RequestError(f"--between {text}: two whole numbers, such as 3,8")
    return int(parts[0]), int(parts[1])
