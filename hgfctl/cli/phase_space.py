"""`hgfctl visualize phase-space`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, training
from hgfctl.cli.options import AllowCode
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    from hgfctl.engine.figures.phase_space import Portrait


def phase_space(
    presets: Annotated[
        list[str],
        typer.Argument(metavar="PRESET...", help="Presets of flows on a line, such as line-oscillation; side by side."),
    ],
    settings: training.Settings = None,
    allow_code: AllowCode = False,
    num: Annotated[int, typer.Option(min=100, help="How many particles.")] = 100_000,
    reach: Annotated[
        float,
        typer.Option(
            min=0,
            help="Stop where x is this many times as wide as the data, long before the end of a diffusion; 0 never.",
        ),
    ] = 4.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("phase-space.png"),
    json: Annotated[bool, typer.Option("--json", help='Print {"files": [...]} and what was drawn.')] = False,
) -> None:
    """How flows on a line move (x, v): clouds from t = 0, blue, to the end, red, paths, and marginals (PNG).

    Nothing is trained: draws of the data follow the flow itself.
    """
    from hgfctl.engine.figures.phase_space import phase_space_figure

    console.check_picture(out)
    with console.working("following the flows"):
        portraits = portraits_of(presets, settings or [], num, seed, reach, allow_code)
    phase_space_figure(portraits).save(out)
    flows = [one.facts() for one in portraits]
    console.result(out, {"files": [str(out)], "num": num, "seed": seed, "flows": flows}, json)


def portraits_of(
    presets: list[str], settings: list[str], num: int, seed: int, reach: float, allow_code: bool = False
) -> "list[Portrait]":
    """Raises RequestError where a preset has no flow, or its data do not lie on a line; before anything is drawn."""
    from hgfctl.engine.experiment import flow_of
    from hgfctl.engine.figures.phase_space import portrait
    from hgfctl.engine.parts import data_of
    from hgfctl.presets import load

    found = []
    for name in presets:
        config = load(name, settings)
        data = data_of(config)
        flow = flow_of(config, data, allow_code)
        if data.shape != (1,):
            raise RequestError(
                f"preset {config.preset}: its items have shape {tuple(data.shape)}, and phase space is drawn for data "
                "on a line; line-oscillation is such a preset, and --set data=gmm1 such data"
            )
        found.append((config.preset, flow, data))
    return [portrait(name, flow, data, num, seed, reach) for name, flow, data in found]
