"""`hgfctl ema`."""

from pathlib import Path
from typing import Annotated

import typer

from hgfctl.cli import console, options
from hgfctl.errors import RequestError


def ema(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run folder with emas/; - reads the path from stdin.")],
    sigma_rel: Annotated[
        float, typer.Option(help="Relative width of the average wanted, up to 0.28; 0.05 is short, 0.15 long.")
    ],
    step: Annotated[
        int | None, typer.Option(min=1, help="When the average ends; the last snapshot when left out.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A .safetensors file; in the run's emas/ when left out.")] = None,
    json: options.Json = False,
) -> None:
    """Rebuild the weights under another length of their average, after training; prints the checkpoint made.

    From the snapshots that a preset with train.power_emas leaves (Karras et al. 2024, arXiv 2312.02696).
    """
    from hgfctl.engine.training.rebuild import rebuild
    from hgfctl.storage.runs import Run

    folder = Run(console.argument_path(run))
    if out is not None and out.suffix != ".safetensors":
        raise RequestError(f"--out {out}: name a file that ends in .safetensors")
    made = rebuild(folder, sigma_rel, step, out)
    if made.misfit > 0.1:
        console.note(
            f"the snapshots can only come within {made.misfit:.0%} of that profile; more of them (a smaller "
            "train.save_every), or widths nearer to it, come closer"
        )
    facts = {
        "checkpoint": str(made.path),
        "sigma_rel": sigma_rel,
        "step": made.step,
        "snapshots": made.snapshots,
        "misfit": float(f"{made.misfit:.4g}"),
    }
    console.result(made.path, facts, json)
