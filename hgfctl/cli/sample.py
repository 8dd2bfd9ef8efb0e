"""`hgfctl sample`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgfctl.cli import console, distributed, guidance, options
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.errors import RequestError
from hgfctl.processes import launched

if TYPE_CHECKING:
    import torch

    from hgfctl.config import SampleSection
    from hgfctl.engine.checkpoint import Checkpoint
    from hgfctl.engine.ranks import Ranks
    from hgfctl.engine.sampling.sampler import Sampler


def sample(
    checkpoint: options.Checkpoint,
    nfe: options.Nfe = None,
    num: Annotated[int, typer.Option(min=1, help="How many items.")] = 64,
    seed: options.Seed = 0,
    classes: Annotated[
        str | None, typer.Option(metavar="3,5", help="Only these classes, in turn; all when left out.")
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help=f"auto, {', '.join(SOLVERS)}; consistency; hmc, langevin for scores."),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            help=f"auto, optimized, {', '.join(GRIDS)}; families take numbers, as in power:3 or sigmoid:2.5,1.5."
        ),
    ] = None,
    flow: options.Flow = None,
    optimize_grid: Annotated[
        bool,
        typer.Option(
            "--optimize-grid",
            help="First look for a better grid for this model, sampler and --nfe; it is kept beside CKPT.",
        ),
    ] = False,
    churn: Annotated[
        float | None, typer.Option(metavar="S_CHURN", help="Puts noise back in on the way, as in EDM; heun only.")
    ] = None,
    restart: Annotated[
        int | None, typer.Option(metavar="K", help="Times to go back to more noise and down again, within the budget.")
    ] = None,
    tolerance: Annotated[float | None, typer.Option(help="Error of a step; dopri5 only.")] = None,
    settings: options.SampleSettings = None,
    weight: guidance.Weight = None,
    guide: guidance.Guide = None,
    interval: guidance.Interval = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="FILE.npz, FILE.png (one grid), or a new folder of PNGs. An .npz below the run when left out."
        ),
    ] = None,
    batch: options.Batch = 256,
    gpus: distributed.Gpus = None,
    precision: options.Precision = "fp32",
    device: options.Device = "auto",
    json: options.Json = False,
) -> None:
    """Sample a trained flow or score on a budget of network evaluations; prints the path of the output."""
    import torch

    from hgfctl.engine.checkpoint import read_checkpoint, with_flow
    from hgfctl.engine.precision import prepared, region
    from hgfctl.engine.ranks import joined
    from hgfctl.engine.sampling.plan import ADAPTIVE
    from hgfctl.presets import overridden
    from hgfctl.storage.runs import checkpoint_file

    guided = guidance.Asked(weight, guide, interval)
    path = checkpoint_file(console.argument_path(checkpoint))
    if gpus and not launched():
        distributed.launch(gpus, device, {checkpoint: str(path)})
        return
    with joined(console.device(device)) as ranks:
        model = with_flow(read_checkpoint(path, ranks.device), flow)
        prepared(model.model, precision, ranks.device)
        solver = {"churn": churn, "restart": restart, "tolerance": tolerance}
        section = overridden(model.config, settings or [], "sample", solver).sample
        if optimize_grid:
            _check_optimizable(grid, ranks.world, weight)
            with region(precision, ranks.device):
                _optimize(model, section, nfe, sampler)
        engine = model.sampler(nfe, sampler, grid, guided.of(model, str(path)), section)
        if tolerance is not None and engine.grid != ADAPTIVE:
            raise RequestError("--tolerance is for --sampler dopri5")
        work = _Work(engine, torch.arange(seed, seed + num), _classes(classes, model.classes), batch)
        unnamed = precision if precision != "fp32" else None
        special = (guide, interval, classes, settings, churn, restart, tolerance, unnamed)
        output = out or _default_output(model, engine, flow, grid, special, seed, num)
        with region(precision, ranks.device):
            seconds = _write(work, output, ranks)
    _tell(model, engine, num, seconds)
    used = section.changed(sampler=sampler).sampler.options
    facts = {
        "output": str(output),
        "num": num,
        "shape": list(model.shape),
        **_method_facts(engine),
        "churn": used.get("churn") or None,
        "restart": used.get("restart") or None,
        "seed": seed,
        "precision": precision,
        "seconds": round(seconds, 3),
        "images_per_second": round(num / seconds, 1),
        "checkpoint": str(path),
    }
    console.result(output, facts, json)


@dataclass(frozen=True)
class _Work:
    """Items to be drawn: by which sampler, from which seeds, of which classes, and how many at a time."""

    sampler: "Sampler"
    seeds: "torch.Tensor"
    classes: list[int]
    batch: int


def _write(work: _Work, output: Path, ranks: "Ranks") -> float:
    """Draws the items and writes them, on the first rank; returns the seconds that it took."""
    from hgfctl.engine.sampling.sampler import shared_batches

    engine, began = work.sampler, time.monotonic()
    with _target(work, output) if ranks.first else nullcontext() as write, console.progress() as bar:
        task = bar.add_task(f"{engine.method}, {engine.nfe} evaluations", total=len(work.seeds))
        for part in shared_batches(engine, work.seeds, work.batch, work.classes, ranks):
            if write:
                write(part.x)
            bar.advance(task, len(part.x))
    return time.monotonic() - began


@contextmanager
def _target(work: _Work, output: Path) -> Iterator[Any]:
    from hgfctl.engine.figures.samples import samples_figure
    from hgfctl.storage.sample_files import writing

    labels = work.sampler.labels(work.seeds, work.classes)
    with writing(output, work.sampler.shape, work.seeds, labels, samples_figure) as write:
        yield write


def _tell(model: "Checkpoint", engine: "Sampler", num: int, seconds: float) -> None:
    """Says on stderr how the items were drawn."""
    from hgfctl.engine.sampling.plan import ADAPTIVE

    method = engine.method + (f" on {engine.grid}" if engine.grid else "")
    method += f", {engine.guidance}" if engine.guidance else ""
    most = "at most " if engine.grid == ADAPTIVE else ""
    console.note(f"{num} samples, {method}, {most}{engine.nfe} evaluations each, {seconds:.1f} s")
    if engine.method == "consistency" and model.model.samplers[0] != "consistency":
        console.note("warning: this model was not trained by loss consistency, and a step of it is no way to the data")


def _method_facts(engine: "Sampler") -> dict[str, Any]:
    from hgfctl.engine.flows import flow_name
    from hgfctl.engine.models.guided import as_json

    facts = {"nfe": engine.nfe, "sampler": engine.method, "grid": engine.grid, "flow": flow_name(engine.flow)}
    return {**facts, **as_json(engine.guidance)}


def _check_optimizable(grid: str | None, ranks: int, guidance_weight: float | None) -> None:
    """Raises RequestError where a grid cannot be searched for beside what else is asked for."""
    from hgfctl.engine.sampling.optimized_grids import OPTIMIZED

    if grid not in (None, "auto", OPTIMIZED):
        raise RequestError(f"--optimize-grid: leave --grid {grid} out; the search makes one of its own")
    if ranks > 1:
        raise RequestError("--optimize-grid works on one device; leave --gpus out, and sample on several after it")
    if guidance_weight is not None:
        raise RequestError("--optimize-grid is for the model itself; leave --guidance out")


def _optimize(model: "Checkpoint", section: "SampleSection", nfe: int | None, sampler: str | None) -> None:
    """Searches a grid and keeps it beside the checkpoint."""
    from hgfctl.engine.sampling import optimized_grids
    from hgfctl.engine.sampling.choose import sampler_for
    from hgfctl.engine.sampling.grid_search import TRIES, Progress, search
    from hgfctl.engine.sampling.request import SamplingRequest
    from hgfctl.engine.sampling.sampler import FlowSampler

    engine = sampler_for(model.model, model.shape, model.classes, SamplingRequest.of(section, nfe, sampler))
    if not isinstance(engine, FlowSampler):
        raise RequestError(f"--optimize-grid is for solvers of flows, and this model is sampled by {engine.method}")
    with console.progress("error") as bar:
        task = bar.add_task(f"a grid for {engine.method}, {engine.nfe} evaluations", total=TRIES, error="")
        for found in search(engine, nfe or section.nfe):
            if isinstance(found, Progress):
                bar.update(task, completed=found.tried, error=f"{found.error:.2e}")
    assert not isinstance(found, Progress)
    kept = optimized_grids.add(model.path, found)
    verdict = "better, so auto takes it" if found.is_better else "no better, so auto does not take it"
    console.note(
        f"{kept.name}: a grid for {found.sampler} at NFE {found.nfe}; distance to converged samples on held-out seeds "
        f"{found.error:.2e}, {found.grid_before} {found.error_before:.2e}: {verdict}"
    )


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


def _default_output(
    model: "Checkpoint",
    engine: "Sampler",
    flow: str | None,
    grid: str | None,
    special: tuple[object, ...],
    seed: int,
    num: int,
) -> Path:
    """Below the run, or beside a checkpoint that lies in none; options without room in the name make its digits."""
    from hashlib import sha256

    from hgfctl.storage.runs import run_of

    run = run_of(model.path)
    folder = run.samples if run else model.path.parent
    by = "" if flow is None else f"-{flow}"
    on = "" if grid is None else "-" + grid.replace(":", "-").replace(",", "-")
    guided = f"-guidance{engine.guidance.weight:g}" if engine.guidance else ""
    digits = f"-{sha256(repr(special).encode()).hexdigest()[:8]}" if any(special) else ""
    name = f"{model.path.stem}{by}-{engine.method}{on}-nfe{engine.nfe}{guided}{digits}-seed{seed}-num{num}.npz"
    return folder / name
