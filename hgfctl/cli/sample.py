"""`hgfctl sample`."""

import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, distributed
from hgfctl.errors import RequestError
from hgfctl.processes import launched

if TYPE_CHECKING:
    from hgfctl.engine.assembly import Trained
    from hgfctl.engine.solvers.sampling import Sampler


def sample(
    checkpoint: Annotated[
        str,
        typer.Argument(metavar="CKPT", help="A checkpoint, or a run folder (its newest); - reads the path from stdin."),
    ],
    nfe: Annotated[
        int | None,
        typer.Option(min=1, help="Budget of network evaluations for each item; the preset's when left out."),
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="How many items.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="Item i has seed SEED + i, and depends on it alone.")] = 0,
    classes: Annotated[
        str | None, typer.Option(metavar="3,5", help="Only these classes, in turn; all when left out.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help="auto, euler, heun, rk4, ab2, ab3, ab4, ddim, dpm++2m; hmc, langevin for scores."),
    ] = None,
    grid: Annotated[
        str | None, typer.Option(help="auto, uniform, cosine, trimmed-cosine, quadratic, rho, log-snr or sigmoid.")
    ] = None,
    flow: console.Flow = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.npz, FILE.png (one grid), or a new folder of PNGs. An .npz below the run when left out."
        ),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Items at a time.")] = 256,
    gpus: distributed.Gpus = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the output's path.")] = False,
) -> None:
    """Sample a trained flow or score on a budget of network evaluations; prints the path of the output."""
    import torch

    from hgfctl.engine.assembly import sampler_of, trained, under_flow
    from hgfctl.engine.flows import flow_name
    from hgfctl.engine.ranks import joined
    from hgfctl.engine.solvers.sampling import shared_batches
    from hgfctl.runs import checkpoint_file
    from hgfctl.sample_files import writing

    path = checkpoint_file(console.argument_path(checkpoint))
    if gpus and not launched():
        distributed.launch(gpus, device, {checkpoint: str(path)})
        return
    with joined(console.device(device)) as ranks:
        model = under_flow(trained(path, ranks.device), flow)
        engine = sampler_of(model.model, model.shape, model.classes, model.config.sample, nfe, sampler, grid)
        wanted = _classes(classes, model.classes)
        output = out or _default_output(model, engine, flow, seed, num)
        seeds = torch.arange(seed, seed + num)
        began = time.monotonic()
        target = writing(output, model.shape, seeds, engine.labels(seeds, wanted)) if ranks.first else nullcontext()
        with target as write, console.progress() as bar:
            task = bar.add_task(f"{engine.method}, {engine.nfe} evaluations", total=num)
            for part in shared_batches(engine, seeds, batch, wanted, ranks):
                if write:
                    write(part.x)
                bar.advance(task, len(part.x))
    seconds = time.monotonic() - began
    method = engine.method + (f" on {engine.grid}" if engine.grid else "")
    console.note(f"{num} samples, {method}, {engine.nfe} evaluations each, {seconds:.1f} s")
    facts = {
        "output": str(output),
        "num": num,
        "shape": list(model.shape),
        "nfe": engine.nfe,
        "sampler": engine.method,
        "grid": engine.grid,
        "flow": flow_name(engine.flow),
        "seed": seed,
        "seconds": round(seconds, 3),
        "images_per_second": round(num / seconds, 1),
        "checkpoint": str(path),
    }
    console.result(output, facts, json)


def _classes(text: str | None, count: int) -> list[int]:
    """ "3,5" -> [3, 5]."""
    if text is None:
        return []
    if not count:
        raise RequestError("--classes: this checkpoint was trained without classes")
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdigit() or int(part) >= count:
            raise RequestError(
                f"--classes {text}: '{part}' is not a class; they are 0 to {count - 1}, separated by commas"
            )
    return [int(part) for part in parts]


def _default_output(model: "Trained", engine: "Sampler", flow: str | None, seed: int, num: int) -> Path:
    """Below the run, or beside a checkpoint that lies in none."""
    from hgfctl.runs import run_of

    run = run_of(model.path)
    folder = run.samples if run else model.path.parent
    by = "" if flow is None else f"-{flow}"
    name = f"{model.path.stem}{by}-{engine.method}-nfe{engine.nfe}-seed{seed}-num{num}.npz"
    return folder / name
