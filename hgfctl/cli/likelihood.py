"""`hgfctl likelihood`."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hgfctl.cli import console, options
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    from hgfctl.engine.evaluation.likelihoods import Likelihoods


def likelihood(
    checkpoint: options.Checkpoint,
    data: options.Data = None,
    num: Annotated[
        int | None, typer.Option(min=2, help="Items; all of a finite set, 1,000 draws of a law, when left out.")
    ] = None,
    split: options.Split = None,
    trace: Annotated[
        Literal["auto", "exact", "hutchinson"],
        typer.Option(help="Trace of the divergence; auto is exact for vectors of up to 64 dimensions."),
    ] = "auto",
    probes: Annotated[int, typer.Option(min=1, help="Probes of Hutchinson's estimate, an item.")] = 4,
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
    sampler: options.TransportSampler = "auto",
    grid: options.TransportGrid = "auto",
    rtol: Annotated[float, typer.Option(min=1e-12, max=0.1, help="Relative tolerance of a step.")] = 1e-5,
    atol: Annotated[float, typer.Option(min=1e-12, max=0.1, help="Absolute tolerance of a step.")] = 1e-5,
    flow: options.Flow = None,
    seed: Annotated[int, typer.Option(min=0, help="For draws, probes and dequantisation: item i has SEED + i.")] = 0,
    out: Annotated[Path | None, typer.Option(help="FILE.npz: every item's figures.")] = None,
    batch: options.Batch = 256,
    precision: options.Precision = "fp32",
    device: options.Device = "auto",
    json: options.Json = False,
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
    bits = found.bits_per_dim is not None
    facts = {
        **_figures(found, exact or probes == 1),
        "num": len(items.x),
        "dim": math.prod(model.shape),
        "data": name,
        "trace": "exact" if exact else "hutchinson",
        "probes": None if exact else probes,
        "dequantise": dequantise if bits else None,
        "conditional": bool(model.classes),
        "sampler": method.name,
        "grid": getattr(method, "grid", None),
        "flow": flow_name(model.hvp.flow),
        **_passes(found, passes),
        "precision": precision,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 3),
        "checkpoint": str(path),
        "output": None if out is None else str(out),
    }
    _tell(facts)
    if out is not None:
        _write(found, out)
    key, unit = ("bits_per_dim", "bits/dim") if bits else ("log_likelihood", "nats")
    console.result(f"{facts[key]:.4f} ± {facts[f'{key}_error']:.4f} {unit}", facts, json)


def _figures(found: "Likelihoods", no_trace_error: bool) -> dict[str, Any]:
    """Means over the items and their standard errors."""
    from hgfctl.engine.evaluation.likelihoods import summary

    nats, bits = summary(found)
    return {
        "log_likelihood": nats.value,
        "log_likelihood_error": nats.error,
        "bits_per_dim": bits and bits.value,
        "bits_per_dim_error": bits and bits.error,
        "trace_error": None if no_trace_error else float(found.standard_error.mean()),
        "truth": None if found.truth is None else float(found.truth.mean()),
    }


def _passes(found: "Likelihoods", passes: int) -> dict[str, float]:
    """Evaluations of V with its divergence, and the passes through the network that they took."""
    mean = float(found.evaluations.double().mean())
    return {"evaluations": mean, "nfe": mean * passes, "most_nfe": int(found.evaluations.double().max()) * passes}


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
