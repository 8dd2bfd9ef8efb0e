"""Which sampler and grid is best for which flow and budget? Against the exact HVP of Gaussian mixtures.

    python tests/benchmarks/solvers.py [--flows oscillation diffusion flow-matching] [--nfe 5 10 20 35] [--best 4]

Median over start points of the RMS error per coordinate, against RK4 with 500 steps; mixtures `gmm64` (three of its
seeds) and `ring`. The row `auto` is what `hgfctl sample` chooses.
"""

import argparse
from itertools import product

import torch
from torch import Tensor

from hgfctl.engine.data.mixture import GaussianMixture, gmm64_mixture, ring_mixture
from hgfctl.engine.flows import FLOWS
from hgfctl.engine.flows.flow import Flow
from hgfctl.engine.flows.mixture_hvp import MixtureHVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.engine.solvers.plan import Plan, plan
from hgfctl.errors import RequestError

MIXTURES = {"64-d": [gmm64_mixture(seed) for seed in range(3)], "ring": [ring_mixture()]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", nargs="+", default=["oscillation", "flow-matching", "diffusion"])
    parser.add_argument("--nfe", nargs="+", type=int, default=[5, 10, 20, 35])
    parser.add_argument("--points", type=int, default=64)
    parser.add_argument("--best", type=int, default=4, help="rows for each flow, mixture and budget")
    arguments = parser.parse_args()
    print(f"{'flow':14} {'mixture':8} {'nfe':>3}  auto, then the best")
    for name, (kind, mixtures) in product(arguments.flows, MIXTURES.items()):
        flow: Flow = FLOWS[name](sd=0.5)
        problems = [_problem(flow, mixture, arguments.points) for mixture in mixtures]
        for nfe in arguments.nfe:
            rows = [(_error(flow, problems, plan(flow, nfe)), "auto")]
            for sampler, grid in product(SOLVERS, GRIDS):
                try:
                    chosen = plan(flow, nfe, sampler, grid)
                except RequestError:  # the budget is below one step
                    continue
                rows.append((_error(flow, problems, chosen), f"{sampler} {grid}"))
            text = ", ".join(f"{error:.1e} {row}" for error, row in [rows[0], *sorted(rows[1:])[: arguments.best]])
            print(f"{name:14} {kind:8} {nfe:3}  {text}", flush=True)


def _problem(flow: Flow, mixture: GaussianMixture, points: int) -> tuple[MixtureHVP, Tensor, Tensor]:
    exact = MixtureHVP(mixture, flow)
    start = flow.prior.sample((points, mixture.dim), generator(0, "start"))
    truth = SOLVERS["rk4"].solve(exact, flow, start, GRIDS["sigmoid"](flow, 500))
    return exact, start, truth


def _error(flow: Flow, problems: list[tuple[MixtureHVP, Tensor, Tensor]], chosen: Plan) -> float:
    errors = [
        (chosen.solver.solve(exact, flow, start, chosen.times) - truth).square().mean(1).sqrt()
        for exact, start, truth in problems
    ]
    return float(torch.cat(errors).median())


if __name__ == "__main__":
    main()
