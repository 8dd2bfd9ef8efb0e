"""`hgfctl visualize force`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hgfctl.cli import console, training
from hgfctl.cli.options import AllowCode

if TYPE_CHECKING:
    from hgfctl.config import Config
    from hgfctl.engine.metrics.force_report import ForceReport


def force(
    preset: Annotated[str, typer.Argument(help="A flow's preset: a name that `hgfctl presets` lists, or a YAML file.")],
    settings: training.Settings = None,
    allow_code: AllowCode = False,
    num: Annotated[int, typer.Option(min=100, max=20_000, help="How many items of the data fly.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    out: Annotated[Path, typer.Option(help="Where to write.")] = Path("force.png"),
    json: Annotated[bool, typer.Option("--json", help='Print {"files": [...]} and all that was measured.')] = False,
) -> None:
    """Measure a flow's force: energy, volume, neighbours, mixing, stiffness and scale over t (PNG, and a table).

    Nothing is trained: draws of the data follow the flow itself.
    """
    from hgfctl.engine.experiment import flow_of
    from hgfctl.engine.figures.force import force_figure
    from hgfctl.engine.metrics.force_report import force_report
    from hgfctl.engine.parts import data_of
    from hgfctl.presets import load

    console.check_picture(out)
    config = load(preset, settings or [])
    data = data_of(config)
    flow = flow_of(config, data, allow_code)
    with console.working("flying"):
        report = force_report(flow, data.batch(0, num, seed).x.double(), seed)
    force_figure(report, _title(config)).save(out)
    for line in _table(report):
        console.plain(line)
    steps = getattr(flow, "steps", None)
    if steps is not None and report.steps > 4 * steps:
        console.note(
            f"the force is stiffer than {steps} steps can follow, so what was flown is not its flow; flow.steps="
            f"{report.steps} might do"
        )
    console.result(out, {"files": [str(out)], "num": num, "seed": seed, **report.facts()}, json)


def _title(config: "Config") -> str:
    """The preset, and the force that it puts into the flow `designed`."""
    options = config.flow.options if config.flow and config.flow.name == "designed" else {}
    force = options.get("force", "none") if options else None
    named = force.get("name") if isinstance(force, dict) else force
    return config.preset if named is None else f"{config.preset}, force {named}"


def _table(report: "ForceReport") -> list[str]:
    from hgfctl.engine.figures.force import verdict

    found, drift = report.lyapunov, report.drift
    method = "exactly" if report.exact else "by random probes"
    rows = {
        "force": verdict(report),
        "curl": f"{report.curl:.2g} of at most 1, {method}",
        "volume": f"exp({report.log_volume:.3g}) times what it was, after T = {report.T:.4g}",
        "neighbours": f"Lyapunov exponent {found.exponent:.3g} ± {found.spread:.2g} (flights of {found.duration:.3g}): "
        f"{report.growth:.3g} times as far apart a T",
        "energy": "none that is kept"
        if drift is None
        else f"drifts by {drift.relative:.2g} of the kinetic one ({drift.integrator}, {drift.steps} steps"
        + (f"; order {drift.order:.2f})" if drift.order == drift.order else ")"),
        "stiffness": f"at most {max(report.stiffness):.3g}"
        + (f": steps of {report.step:.3g}, {report.steps} over T" if report.step < math.inf else ""),
        "mixing": f"x_t is {report.distance[0]:.2g} sd from x_T at first, {report.distance[len(report.t) // 2]:.2g} "
        f"half-way; two samples {report.floor:.2g}",
        "prior": f"{report.prior_distance:.2g} sd from x_T, p = {report.prior_p:.2g}",
        "scale": f"|x_t| / sqrt(d) from {report.size[0]:.3g} ± {report.spread[0]:.2g} to {report.size[-1]:.3g} ± "
        f"{report.spread[-1]:.2g}; changes by a factor of {report.scale:.3g}",
    }
    return [f"{name:11} {said}" for name, said in rows.items()]
