"""Options and arguments that several commands share: each has one name, one help text and one bound everywhere.

A type here goes into a command's signature beside its default, as in `device: Device = "auto"`. An option of one
command alone stands in that command.
"""

from typing import Annotated, Literal

import typer

Checkpoint = Annotated[
    str,
    typer.Argument(metavar="CKPT", help="A checkpoint, or a run folder (its newest); - reads the path from stdin."),
]
Data = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A folder or zip of images, an .npz or .npy, a data set's or a preset's name; the model's own held-out "
        "data, or what it was trained on, when left out.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A shipped preset, or the path of a YAML file; `hgfctl presets` lists them."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Another value for a key of the preset; repeatable."),
]
SampleSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="sample.KEY=VALUE", help="Another key of the preset's sample section; repeatable."),
]
Flow = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Sample by this flow, exactly, whichever the network was trained for: oscillation, diffusion or "
        "flow-matching.",
    ),
]
Nfe = Annotated[
    int | None,
    typer.Option(min=1, help="Budget of network evaluations for each item; the preset's when left out."),
]
TransportNfe = Annotated[
    int | None, typer.Option(min=1, help="Budget of network evaluations an item; by tolerance when left out.")
]
TransportSampler = Annotated[str, typer.Option(help="With --nfe: auto (ab4), euler, heun, rk4, ab2, ab3, ab4.")]
TransportGrid = Annotated[str, typer.Option(help="With --nfe: see `hgfctl sample --help`.")]
Tolerance = Annotated[float, typer.Option(min=1e-12, max=0.1, help="Tolerance of a step, relative and absolute.")]
Num = Annotated[int | None, typer.Option(min=1, help="Items; all of a finite set, 1,000 draws, when left out.")]
Seed = Annotated[int, typer.Option(min=0, help="Item i has seed SEED + i, and depends on it alone.")]
DrawSeed = Annotated[int, typer.Option(min=0, help="Seed of draws from a law.")]
Split = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A split of data that have several: train, held-out, test ..."),
]
Batch = Annotated[int, typer.Option(min=1, help="Items at a time.")]
Precision = Annotated[
    Literal["fp32", "bf16", "fp64"],
    typer.Option(help="Precision of the network; positions are float64 in any case."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the plain result.")]
AllowCode = Annotated[
    bool,
    typer.Option("--allow-code", help="Import, and run, the code that a preset names as module:attr; trust it first."),
]
