"""`hgfctl convert`."""

from pathlib import Path
from typing import Annotated

import typer

from hgfctl.cli import console
from hgfctl.errors import RequestError


def convert(
    source: Annotated[
        str, typer.Argument(metavar="FILE.pkl", help="A snapshot of EDM's or EDM2's; - reads the path from stdin.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="A .safetensors file; named like the snapshot, in this folder, when left out.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the path.")] = False,
) -> None:
    """Turn published weights into a checkpoint, without running anything of theirs; prints its path.

    `sample`, `eval-fid` and `visualize` take it, by whichever --flow. Nothing is trained: velocity, denoiser and noise
    are one network seen through one linear map.
    """
    from hgfctl.engine.conversion.convert import convert as converted

    path = console.argument_path(source)
    target = out or Path(path.with_suffix(".safetensors").name)
    if target.suffix != ".safetensors":
        raise RequestError(f"--out {target}: name a file that ends in .safetensors")
    with console.working(f"reading {path.name}"):
        made = converted(path, target)
    network = made.network
    kinds = f", {network.classes} classes" if network.classes else ""
    shape = " x ".join(map(str, network.shape))
    console.note(
        f"{network.architecture} for {shape}{kinds}, {made.parameters:,} parameters, {network.preconditioning} -> "
        f"{made.config.model.name}"
    )
    facts = {
        "output": str(target),
        "parameters": made.parameters,
        "architecture": network.architecture,
        "preconditioning": network.preconditioning,
        "model": made.config.model.name,
        "shape": list(network.shape),
        "classes": network.classes,
        "augmentation_labels": network.augmented,
        "sd": network.sd,
        "left_out": list(made.forgotten),
    }
    console.result(target, facts, json)
