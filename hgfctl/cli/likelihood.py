"""`hgfctl likelihood`."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hgfctl.cli import console
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    from hgfctl.engine.evaluation.likelihoods import Likelihoods


def likelihood(
    checkpoint: Annotated[
        str,
        typer.Argument(metavar="CKPT", help="A checkpoint, or a run folder (its newest); - reads the path from stdin."),
    ],
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            help="A data set: a folder or zip of images, an .npz or .npy, a name or a preset. The model's own held-out "
            "data, or what it was trained on, when left out.",
        ),
    ] = None,
    num: Annotated[
        int | None, typer.Option(min=2, help="Items; all of a finite set, 1,000 draws of a law, when left out.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of data that have several: train, held-out, test ...")
    ] = None,
    trace: Annotated[
        Literal["auto", "exact", "hutchinson"],
        typer.Option(help="Of the divergence; auto is exact for vectors of up to 64 dimensions."),
    ] = "auto",
    probes: Annotated[int, typer.Option(min=1, help="Of Hutchinson's estimate, an item.")] = 4,
    dequantise: Annotated[
        Literal["uniform", "normal"],
        typer.Option(help="Images within their levels; normal asks the model at the noise level of a sixth of a step."),
    ] = "uniform",
    nfe: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Budget of passes through the network an item; a divergence costs one for V and one more a probe "
            "(exact: a dimension). As many as the tolerance takes when left out.",
        ),
    ] = None,
    sampler: Annotated[str, typer.Option(help="With --nfe: auto (ab4), euler, heun, rk4, ab2, ab3, ab4.")] = "auto",
    grid: Annotated[str, typer.Option(help="With --nfe: see `hgfctl sample --help`.")] = "auto",
    rtol: Annotated[float, typer.Option(min=1e-12, max=0.1, help="Relative tolerance of a step.")] = 1e-5,
    atol: Annotated[float, typer.Option(min=1e-12, max=0.1, help="Absolute tolerance of a step.")] = 1e-5,
    flow: console.Flow = None,
    seed: Annotated[int, typer.Option(min=0, help="Of draws, probes and dequantisation: item i has SEED + i.")] = 0,
    out: Annotated[Path | None, typer.Option(help="FILE.npz: every item's figures.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Items at a time.")] = 256,
    precision: Annotated[Literal["fp32", "bf16", "fp64"], typer.Option(help="Of the network.")] = "fp32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Log-likelihood of data under a trained flow: nats of vectors, bits a dimension of images.

    Of a model with classes it is that of an item given its class. Prints the mean over the items and its standard
    error; a budget, or a solver that keeps a tolerance.
    """
    from hgfctl.engine.checkpoint import read_checkpoint, with_flow
    from hgfctl.engine.evaluation import likelihoods as engine
    from hgfctl.engine.flows import flow_name
    from hgfctl.engine.precision import prepared, region
    from hgfctl.storage.runs import checkpoint_file

    if out is not None and out.suffix != ".npz":
        raise RequestError(f"--out {out}: name a file that ends in .npz")
    if nfe is None and (sampler, grid) != ("auto", "auto"):
        raise RequestError("--sampler and --grid belong to a budget; give --nfe, too")
    path = checkpoint_file(console.argument_path(checkpoint))
    place = console.device(device)
    model = with_flow(read_checkpoint(path, place), flow)
    source, name = engine.named_data(model, data, split, place)
    request = engine.Request(trace, probes, nfe, sampler, grid, rtol, atol, dequantise, seed)
    exact, passes = request.exact(model.shape), request.passes(model.shape)
    method = request.method(model.hvp, model.shape)
    prepared(model.model, precision, place)
    began = time.monotonic()
    items = engine.items(source, num, seed)
    parts = []
    with console.progress() as bar, region(precision, place):
        task = bar.add_task(f"{method.name}, {'exact' if exact else 'hutchinson'}", total=len(items.x))
        for first, part in engine.batches(items, batch):
            parts.append(engine.likelihoods(model, source, part, request, first))
            bar.advance(task, len(part.x))
    found = engine.joined(parts)
    nats, bits = engine.summary(found)
    evaluations = found.evaluations.double()
    facts = {
        "log_likelihood": nats.value,
        "log_likelihood_error": nats.error,
        "bits_per_dim": None if bits is None else bits.value,
        "bits_per_dim_error": None if bits is None else bits.error,
        "trace_error": None if exact or probes == 1 else float(found.standard_error.mean()),
        "truth": None if found.truth is None else float(found.truth.mean()),
        "num": len(items.x),
        "dim": math.prod(model.shape),
        "data": name,
        "trace": "exact" if exact else "hutchinson",
        "probes": None if exact else probes,
        "dequantise": None if bits is None else dequantise,
        "conditional": bool(model.classes),
        "sampler": method.name,
        "grid": getattr(method, "grid", None),
        "flow": flow_name(model.hvp.flow),
        "evaluations": float(evaluations.mean()),
        "nfe": float(evaluations.mean()) * passes,
        "most_nfe": int(evaluations.max()) * passes,
        "precision": precision,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 3),
        "checkpoint": str(path),
        "output": None if out is None else str(out),
    }
    _tell(facts)
    if out is not None:
        _write(found, out)
    line = f"{nats.value:.4f} ± {nats.error:.4f} nats"
    console.result(line if bits is None else f"{bits.value:.4f} ± {bits.error:.4f} bits/dim", facts, json)


def _tell(facts: dict[str, Any]) -> None:
    console.note(
        f"{facts['num']:,} items of {facts['data']}; {facts['sampler']}, {facts['trace']} trace, "
        f"{facts['evaluations']:.0f} evaluations and {facts['nfe']:.0f} passes each, {facts['seconds']:.1f} s"
    )
    if facts["truth"] is not None:
        console.note(f"the data's own law gives {facts['truth']:.4f} nats")


def _write(found: "Likelihoods", out: Path) -> None:
    import numpy as np

    from hgfctl.storage.atomic import replacing

    columns = {name: column.numpy() for name, column in found._asdict().items() if column is not None}
    with replacing(out) as partial, partial.open("wb") as file:
        np.savez(file, **columns)
