"""Which sampler and grid is best for which flow and budget? The table that `--sampler auto` goes by is written here.

    python tests/benchmarks/solvers.py measure ROWS.jsonl [--networks RUN ...] [--flows ...] [--only NAME ...]
    python tests/benchmarks/solvers.py table ROWS.jsonl [--write]

`measure` appends a row for each problem, flow, budget, sampler and grid: the median over start points of the RMS error
per coordinate, and the share of mode flips (an error above 0.1, data having a root mean square of about 0.5). Problems
are the exact HVPs of mixtures (`ring`, `tight-ring`: 128 starts each; `gmm64`: 48 starts of each of three seeds),
against DOP853 with tolerance 1e-11, and trained networks (20 starts), against `angle-abm3` with 150 steps. A network
serves every linear flow: its denoiser is converted. All pairs are measured on the rings; on `gmm64` the best of a
screening with 16 starts, those that were best on the rings, and a few baselines; on networks what was best on the
oracles, and the baselines. The oscillation is to be measured first: what is the same for every flow (methods in the
angle, grids on the common clock) is not screened again; of it, what was best there is measured.

`table` prints a choice for vectors (`ring`, `tight-ring`, networks of up to 15 coordinates), one for images (`gmm64`,
other networks): within 3 times the error of the best on every oracle, or as near to it as any, and of those the best on
networks, on the one where it does worst relative to the best. --write puts it into the package, each choice with what
it measured, the best of each problem and EDM's Heun (rho = 7).
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from hgfctl.engine.checkpoint import Checkpoint, read_checkpoint
from hgfctl.engine.data.mixture import GaussianMixture, gmm64_mixture, ring_mixture
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.conversions import denoiser_from_hvp, hvp_from_denoiser_and_noise, noise_from_hvp
from hgfctl.engine.flows.linear import LinearFlow
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.phase_space import Velocity, over
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.best import IMAGE, LONG, TABLE, VECTOR
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.solvers import SOLVERS
from hgfctl.engine.solvers.grids import named
from hgfctl.errors import RequestError
from hgfctl.storage.atomic import replacing
from hgfctl.storage.runs import checkpoint_file

BUDGETS = (5, 8, 10, 15, 20, 35, 60)
FLIP = 0.1
OWN_TIME = ("uniform", "cosine", "trimmed-cosine", "power:1.5", "quadratic", "power:3")
COMMON_CLOCK = (
    "rho", "log-snr", "log-snr:0.01", "sigmoid:0.5", "sigmoid:1", "sigmoid:1.5", "sigmoid", "sigmoid:2.5",
    "sigmoid:0.5,1.5", "sigmoid:1.5,1.5", "sigmoid:2,1.5", "sigmoid:0.1,2", "sigmoid:0.5,2", "sigmoid:1,2",
    "sigmoid:1.5,2", "sigmoid:0.5,2.5", "sigmoid:0.1,3", "sigmoid:1,3",
)  # fmt: skip
BASELINES = (
    ("heun", "rho"), ("dpm++2m", "rho"), ("dpm++2m", "log-snr"), ("unipc3", "log-snr"), ("unipc3", "rho"),
    ("ipndm4", "rho"), ("deis3", "rho"),
)  # fmt: skip
PROMISING = 6
"""Best of each oracle that others are asked about."""
SLACK = 3.0
"""How many times the error of the best a choice may have on an oracle, to be better on networks."""
SCREENED = 30
"""Best of a screening."""


ORACLES = {
    "ring": ([ring_mixture()], 128),
    "tight-ring": ([ring_mixture(sd=0.01)], 128),
    "gmm64": ([gmm64_mixture(seed) for seed in range(3)], 48),
}
"""Mixtures, and how many starts of each."""


@dataclass(frozen=True)
class Problem:
    """One or more velocities with starts and the ends that exact integration gives."""

    name: str
    kind: str
    flow: LinearFlow
    parts: list[tuple[Velocity, Tensor, Tensor]]

    def measured(self, sampler: str, grid: str, nfe: int) -> dict[str, Any] | None:
        """A row, or None where the budget is below one step."""
        try:
            chosen = plan(self.flow, nfe, sampler, grid)
        except RequestError:
            return None
        errors = torch.cat(
            [
                (chosen.solver.solve(v, self.flow, start, chosen.times) - truth).square().flatten(1).mean(1).sqrt()
                for v, start, truth in self.parts
            ]
        )
        return {
            "problem": self.name,
            "kind": self.kind,
            "flow": self.flow.tuned_as,
            "nfe": nfe,
            "used": chosen.nfe,
            "sampler": sampler,
            "grid": grid,
            "median": float(f"{errors.median():.4g}"),
            "flips": round(float((errors > FLIP).double().mean()), 4),
        }


def oracle(name: str, mixtures: list[GaussianMixture], points: int, flow: LinearFlow) -> Problem:
    parts = []
    for mixture in mixtures:
        exact = MixtureHVP(mixture, flow)
        start = flow.prior.sample((points, mixture.dim), generator(0, "start"))
        parts.append((exact, start, _integrated(exact, start, flow)))
    return Problem(name, VECTOR if mixtures[0].dim < LONG else IMAGE, flow, parts)


def _integrated(exact: MixtureHVP, start: Tensor, flow: LinearFlow) -> Tensor:
    def derivative(t: float, x: Any) -> Any:
        return exact(torch.from_numpy(x).reshape(start.shape), torch.tensor(t, dtype=torch.float64)).flatten().numpy()

    done = solve_ivp(derivative, (flow.T, 0.0), start.flatten().numpy(), "DOP853", [0.0], rtol=1e-11, atol=1e-11)
    return torch.from_numpy(done.y[:, -1]).reshape(start.shape)


def network(model: Checkpoint, flow: LinearFlow, points: int = 20) -> Problem:
    """A trained network as the HVP of any linear flow: converted at equal sigma."""
    hvp, own = model.hvp, model.hvp.flow
    assert isinstance(own, LinearFlow)
    labels = torch.arange(points) % model.classes if model.classes else None

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        if own == flow:
            return hvp(x, t, labels)
        a, b, _, _ = flow.path(t)
        time = own.time(flow.sigma(t))
        own_a, own_b, _, _ = own.path(time)
        y = over(torch.hypot(own_a, own_b / own.sd) / torch.hypot(a, b / own.sd), x) * x
        v = hvp(y, time, labels)
        parts = denoiser_from_hvp(own, y, time, v), noise_from_hvp(own, y, time, v)
        return hvp_from_denoiser_and_noise(flow, x, t, *parts)

    start = flow.prior.sample((points, *model.shape), generator(0, "start"))
    with torch.no_grad():
        truth = SOLVERS["angle-abm3"].solve(velocity, flow, start, named("sigmoid:1")(flow, 150))
    kind = VECTOR if math.prod(model.shape) < LONG else IMAGE
    return Problem(model.config.preset, kind, flow, [(velocity, start, truth)])


def candidates(flow: str) -> Iterator[tuple[str, str]]:
    """All pairs; grids on the flow's own time with the oscillation only, whose time is the angle."""
    turned = [name for name in SOLVERS if name.startswith("angle-ab")] if flow == "oscillation" else []
    samplers = [name for name in SOLVERS if name not in (*turned, "dopri5")]
    yield from product(samplers, (*OWN_TIME, *COMMON_CLOCK) if flow == "oscillation" else COMMON_CLOCK)


@torch.no_grad()
def measure(arguments: argparse.Namespace) -> None:
    done = _rows(arguments.rows) if arguments.rows.exists() else []
    seen = {(row["problem"], row["flow"], row["nfe"], row["sampler"], row["grid"]) for row in done}
    models = [read_checkpoint(checkpoint_file(run), torch.device("cpu")) for run in arguments.networks]
    for name in arguments.flows:
        flow = FLOWS[name](sd=0.5)
        laws = [law for law in ORACLES if not arguments.only or law in arguments.only]
        problems = [
            *((law, oracle(law, *ORACLES[law], flow)) for law in laws),
            *((model.config.preset, network(model, FLOWS[name](sd=model.hvp.flow.sd))) for model in models),
        ]
        for (problem_name, problem), nfe in product(problems, BUDGETS):
            here = [row for row in done if row["flow"] == flow.tuned_as and row["nfe"] == nfe]
            pairs = list(candidates(name))
            if problem_name == "gmm64" and name == "oscillation":
                few = oracle("few", [gmm64_mixture(0)], 16, flow)
                rows = [row for pair in pairs if (row := few.measured(*pair, nfe))]
                pairs = list(dict.fromkeys([*_best(rows, SCREENED), *_promising(here)]))
            elif problem_name not in ("ring", "tight-ring"):
                pairs = _promising(here)
                if name != "oscillation":
                    known = [row for row in done if row["problem"] == problem_name and row["nfe"] == nfe]
                    turned = _in_the_angle(_best([row for row in known if row["flow"] == "Oscillation"], PROMISING))
                    pairs = list(dict.fromkeys([*(pairs if problem_name in ORACLES else BASELINES), *turned]))
            for sampler, grid in pairs:
                if (problem_name, flow.tuned_as, nfe, sampler, grid) in seen:
                    continue
                row = problem.measured(sampler, grid, nfe)
                if row:
                    here.append(row)
                    done.append(row)
                    with arguments.rows.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            best = min((row for row in here if row["problem"] == problem_name), key=lambda row: row["median"])
            print(f"{name} {problem_name} {nfe}: {best['median']:.2e} {best['sampler']} {best['grid']}", flush=True)


def _promising(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """The best of each oracle among rows of one flow and budget, and the baselines."""
    best = [_best([row for row in rows if row["problem"] == law], PROMISING) for law in ORACLES]
    return list(dict.fromkeys([*BASELINES, *(pair for pairs in best for pair in pairs)]))


def _in_the_angle(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is the same for every flow: the oscillation's own time is the angle."""
    return [
        (f"angle-{sampler}" if f"angle-{sampler}" in SOLVERS and sampler.startswith("ab") else sampler, grid)
        for sampler, grid in pairs
        if grid in COMMON_CLOCK
    ]


def _best(rows: list[dict[str, Any]], count: int) -> list[tuple[str, str]]:
    return [(row["sampler"], row["grid"]) for row in sorted(rows, key=lambda row: row["median"])[:count]]


def table(arguments: argparse.Namespace) -> None:
    errors: dict[tuple[str, str, int], dict[str, dict[tuple[str, str], dict[str, Any]]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for row in _rows(arguments.rows):
        errors[row["flow"], row["kind"], row["nfe"]][row["problem"]][row["sampler"], row["grid"]] = row
    written: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for (flow, kind, nfe), problems in sorted(errors.items()):
        least = {name: min(row["median"] for row in rows.values()) for name, rows in problems.items()}
        sampler, grid = _chosen(problems, least)
        found = {name: rows[sampler, grid] for name, rows in problems.items()}
        measured = {
            name: {
                "median": row["median"],
                "flips": row["flips"],
                "best": least[name],
                "heun": problems[name]["heun", "rho"]["median"],
            }
            for name, row in found.items()
        }
        written[flow][kind].append({"nfe": nfe, "sampler": sampler, "grid": grid, "measured": measured})
        text = ", ".join(
            f"{name} {row['median']:.1e} ({row['flips']:.0%}; best {least[name]:.1e} "
            f"{' '.join(min(problems[name], key=lambda pair: problems[name][pair]['median']))})"
            for name, row in found.items()
        )
        print(f"{flow:12} {kind:6} {nfe:2}  {sampler} {grid}: {text}")
    if arguments.write:
        with replacing(TABLE) as partial:
            partial.write_text(_as_json({**json.loads(TABLE.read_text(encoding="utf-8")), **written}), encoding="utf-8")


def _chosen(problems: dict[str, dict[tuple[str, str], dict[str, Any]]], least: dict[str, float]) -> tuple[str, str]:
    """Within SLACK of the best on every oracle (or as near as it gets), and of those the best on networks."""

    def worst(pair: tuple[str, str], of_oracles: bool) -> float:
        ratios = [
            rows[pair]["median"] / least[name] for name, rows in problems.items() if (name in ORACLES) == of_oracles
        ]
        return max(ratios, default=1.0)

    common = set.intersection(*(set(rows) for rows in problems.values()))
    allowed = max(SLACK, min(worst(pair, True) for pair in common))
    return min(
        (pair for pair in common if worst(pair, True) <= allowed),
        key=lambda pair: (worst(pair, False), worst(pair, True), pair),
    )


def _as_json(written: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    """A line a choice, so that changes can be read."""
    flows = [
        f' "{flow}": {{\n'
        + ",\n".join(
            f'  "{kind}": [\n' + ",\n".join(f"   {json.dumps(choice)}" for choice in choices) + "\n  ]"
            for kind, choices in kinds.items()
        )
        + "\n }"
        for flow, kinds in written.items()
    ]
    return "{\n" + ",\n".join(flows) + "\n}\n"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("rows", type=Path)
    measuring.add_argument("--networks", nargs="+", type=Path, default=[])
    measuring.add_argument("--flows", nargs="+", default=["oscillation", "flow-matching", "diffusion"])
    measuring.add_argument("--only", nargs="+", help="these oracles")
    measuring.set_defaults(work=measure)
    deciding = commands.add_parser("table")
    deciding.add_argument("rows", type=Path)
    deciding.add_argument("--write", action="store_true", help="into the package")
    deciding.set_defaults(work=table)
    arguments = parser.parse_args()
    arguments.work(arguments)


if __name__ == "__main__":
    main()
