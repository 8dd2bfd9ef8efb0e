"""Lines and tables that `hgfctl eval-fid` prints of its measurements."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hgfctl.engine.evaluation.measurement import Measurement


def figure(measurement: "Measurement") -> str:
    """The result: "FID(random) 3.21 ± 0.04", or "sliced-W2 0.021 ± 0.001, MMD^2 1e-05 ± 2e-05" of vectors."""
    return ", ".join(
        f"{metric.called(measurement.id)} {metric.text(measurement.row)}" for metric in measurement.leading
    )


def details(measurement: "Measurement") -> list[str]:
    """All that a measurement holds besides its result, a line each."""
    row = measurement.row
    lines = []
    if row["nfe"] is not None:
        on = f" on {row['grid']}" if row["grid"] else ""
        spans = ", ".join(f"{first} to {first + row['num'] - 1}" for first in row["seeds"])
        lines.append(("sampled by", f"{row['sampler']}{on}, {row['nfe']} evaluations each, seeds {spans}"))
    lines += [line for metric in measurement.leading for line in metric.beside(row)]
    lines += [line for metric in measurement.beside for line in metric.details(row)]
    return [f"  {name:12} {text}" for name, text in lines]


def table(measurements: "Sequence[Measurement]") -> str:
    """A line a budget."""
    lines: list[str] = []
    for measurement in measurements:
        row = measurement.row
        metrics = [*measurement.leading, *measurement.beside]
        columns = [column for metric in metrics for column in metric.columns(row, row["figure"])]
        if not lines:
            titles = "".join(f" {title:>{width}}" for title, width, _ in columns)
            lines.append(f"{'nfe':>4}  {'sampler, grid':24}{titles}")
        method = f"{row['sampler']}, {row['grid']}" if row["grid"] else row["sampler"]
        lines.append(f"{row['nfe']:4}  {method:24}" + "".join(f" {text:>{width}}" for _, width, text in columns))
    return "\n".join(lines)
