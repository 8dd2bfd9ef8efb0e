"""`hgfctl visualize reflection`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, training
from hgfctl.errors import RequestError

if TYPE_CHECKING:
    from hgfctl.engine.figures.reflection import ReflectionStudy


def reflection(
    preset: Annotated[str, typer.Argument(help="Preset of a reflection in the plane.")] = "checkerboard-reflection",
    settings: training.Settings = None,
    num: Annotated[int, typer.Option(min=1000, help="How many particles.")] = 1_000_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("reflection.png"),
    json: Annotated[bool, typer.Option("--json", help='Print {"files": [...]} and what was measured.')] = False,
) -> None:
    """Flight in a box: data, velocities, flights, and how the law of x becomes the uniform one (PNG).

    Nothing is trained: draws of the data follow the flow itself.
    """
    from hgfctl.engine.figures.reflection import reflection_figure

    console.check_picture(out)
    with console.working("flying"):
        found = study_of(preset, settings or [], num, seed)
    reflection_figure(found).save(out)
    facts = found.facts()
    console.note(
        f"at T = {found.flow.T:g} the law is {facts['distance']:.3g} from uniform, by a histogram of {num:,} draws; "
        f"uniform draws are {facts['floor']:.3g} from it"
    )
    console.result(out, {"files": [str(out)], "num": num, "seed": seed, **facts}, json)


def study_of(preset: str, settings: list[str], num: int, seed: int) -> "ReflectionStudy":
    """Raises RequestError where a preset has no box, or its data do not lie in the plane; before anything is drawn."""
    from hgfctl.engine.experiment import flow_of
    from hgfctl.engine.figures.reflection import study
    from hgfctl.engine.flows import flow_name
    from hgfctl.engine.flows.reflection import Reflection
    from hgfctl.engine.parts import data_of
    from hgfctl.presets import load

    config = load(preset, settings)
    data = data_of(config)
    flow = flow_of(config, data)
    if not isinstance(flow, Reflection):
        raise RequestError(
            f"preset {config.preset}: its flow is '{flow_name(flow)}', which has no walls; checkerboard-reflection has"
        )
    if data.shape != (2,):
        raise RequestError(
            f"preset {config.preset}: its items have shape {tuple(data.shape)}, and this picture is of data in the "
            "plane; `visualize phase-space` draws those on a line"
        )
    return study(flow, data, num, seed)
