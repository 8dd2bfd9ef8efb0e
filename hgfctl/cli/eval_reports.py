"""What `hgfctl eval-fid` says of what it found."""

from collections.abc import Mapping, Sequence
from typing import Any

COVERAGE = ("precision", "recall", "density", "coverage")

Row = Mapping[str, Any]
"""A measurement as JSON, see `Measurement.as_json`."""


def figure(row: Row) -> str:
    """ "FID(random) 3.21 ± 0.04"."""
    return f"{row['figure']} {_distance(row)}"


def details(row: Row) -> list[str]:
    """All that a measurement says besides its figure, a line each."""
    lines = []
    if row["nfe"] is not None:
        on = f" on {row['grid']}" if row["grid"] else ""
        spans = ", ".join(f"{first} to {first + row['num'] - 1}" for first in row["seeds"])
        lines.append(("sampled by", f"{row['sampler']}{on}, {row['nfe']} evaluations each, seeds {spans}"))
    if row["fid_infinity"] is not None:
        lines.append(("at infinity", f"{row['fid_infinity']:.5g} (extrapolated to infinitely many images)"))
    if row["kid"] is not None:
        lines.append(("KID", f"{row['kid']:.3g} ± {row['kid_error']:.1g}"))
    if row["precision"] is not None:
        lines += [(key, f"{row[key]:.3f}") for key in COVERAGE]
    return [f"  {name:12} {text}" for name, text in lines]


def table(rows: Sequence[Row]) -> str:
    """A line a budget."""
    width = max(16, len(rows[0]["figure"]))
    head = f"{'nfe':>4}  {'sampler, grid':24} {rows[0]['figure']:>{width}} {'at infinity':>12} {'KID':>10}"
    lines = [head + "".join(f" {key:>9}" for key in COVERAGE)]
    for row in rows:
        method = f"{row['sampler']}, {row['grid']}" if row["grid"] else row["sampler"]
        cells = f"{row['nfe']:4}  {method:24} {_distance(row):>{width}} {_cell(row['fid_infinity'], '.5g'):>12}"
        cells += f" {_cell(row['kid'], '.3g'):>10}"
        lines.append(cells + "".join(f" {_cell(row[key], '.3f'):>9}" for key in COVERAGE))
    return "\n".join(lines)


def points(row: Row) -> str:
    """Of vectors: "sliced-W2 0.021 ± 0.001 (as many true points have 0.019), MMD^2 1e-05 ± 2e-05"."""
    spread = "" if row["sliced_wasserstein_std"] is None else f" ± {row['sliced_wasserstein_std']:.1g}"
    floor = "" if row["floor"] is None else f" (as many true points have {row['floor']:.3g})"
    mmd = f"MMD^2 {row['mmd']:.3g} ± {row['mmd_error']:.1g}"
    return f"sliced-W2 {row['sliced_wasserstein']:.4g}{spread}{floor}, {mmd}"


def _distance(row: Row) -> str:
    return f"{row['fid']:.5g}" + ("" if row["fid_std"] is None else f" ± {row['fid_std']:.2g}")


def _cell(value: float | None, digits: str) -> str:
    return "" if value is None else format(value, digits)
