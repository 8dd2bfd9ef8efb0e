"""How good are samples of flows on manifolds, and which solver suits them?

    python tests/benchmarks/manifolds.py RUN [--nfe 10 20 40] [--num 20000] [--seeds 0 100000 200000]
    python tests/benchmarks/manifolds.py RUN --search [--nfe 5 10 20 40] [--num 2000]

The first says, for each budget, mean ± standard deviation over the sets of seeds: on the sphere the share of samples on
the right cells (chance .5); on the torus and of rotations the sliced Wasserstein distance to as many fresh data, and
what fresh data have of each other, in coordinates without a seam: (cos pi x, sin pi x), or the nine of a matrix. The
second tries solvers and grids: the median and the 95 % quantile of the distance to the exact solution of the trained
field, by 100 steps of rk4, and the same figure of merit.
"""

import argparse
import itertools
import math
from pathlib import Path

import torch
from torch import Tensor

from hgfctl.engine.checkpoint import Checkpoint, read_checkpoint
from hgfctl.engine.data.dataset import DataSet
from hgfctl.engine.data.density import DensityData
from hgfctl.engine.data.sphere_checkerboard import SphereCheckerboard
from hgfctl.engine.evaluation.sources import data_behind
from hgfctl.engine.flows.torus import Torus
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.plan import Plan, plan
from hgfctl.engine.solvers import SOLVERS, grids
from hgfctl.engine.statistics.sliced import sliced_wasserstein
from hgfctl.errors import RequestError
from hgfctl.storage.runs import checkpoint_file

SAMPLERS = ("euler", "heun", "ab2", "ab3", "ab4", "abm2", "abm3")
GRIDS = ("uniform", "cosine", "trimmed-cosine", "quadratic", "power:1.5", "sigmoid:1.5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--nfe", nargs="+", type=int, default=[10, 20, 40])
    parser.add_argument("--num", type=int, default=20_000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 100_000, 200_000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--grid", default="auto")
    parser.add_argument("--search", action="store_true")
    arguments = parser.parse_args()
    model = read_checkpoint(checkpoint_file(arguments.run), torch.device("cpu"))
    data = data_behind(model)
    if arguments.search:
        search(model, data, arguments.nfe, arguments.num)
    else:
        report(model, data, arguments)


def report(model: Checkpoint, data: DataSet, arguments: argparse.Namespace) -> None:
    print(f"{'nfe':>3} {'sampler, grid':22} {'share' if on_sphere(data) else 'distance':18} of data")
    for nfe in arguments.nfe:
        chosen = plan(model.hvp.flow, nfe, arguments.sampler, arguments.grid, model.shape)
        found = [quality(model, data, drawn(model, chosen, arguments.num, seed), seed) for seed in arguments.seeds]
        values = torch.tensor([value for value, _ in found])
        floors = torch.tensor([floor for _, floor in found])
        method = f"{chosen.solver.name}, {chosen.grid}"
        print(f"{chosen.nfe:3} {method:22} {spread(values):18} {spread(floors)}")


def spread(values: Tensor) -> str:
    return f"{float(values.mean()):.4f} ± {float(values.std()):.4f}"


def on_sphere(data: DataSet) -> bool:
    return isinstance(data, DensityData) and isinstance(data.density, SphereCheckerboard)


def quality(model: Checkpoint, data: DataSet, x: Tensor, seed: int) -> tuple[float, float]:
    """Of samples, and of as many data."""
    first, second = (data.batch(0, len(x), seed + offset).x.double() for offset in (1, 2))
    if isinstance(data, DensityData) and isinstance(data.density, SphereCheckerboard):
        board = data.density
        return float(board.on_cells(x).double().mean()), float(board.on_cells(first).double().mean())
    x, first, second = (seamless(model, points) for points in (x, first, second))
    return sliced_wasserstein(x, first), sliced_wasserstein(second, first)


def seamless(model: Checkpoint, x: Tensor) -> Tensor:
    if not isinstance(model.hvp.flow, Torus):
        return x
    angle = 2 * math.pi * (x - model.hvp.flow.lo) / model.hvp.flow.side
    return torch.cat([angle.cos(), angle.sin()], 1)


@torch.no_grad()
def drawn(model: Checkpoint, chosen: Plan, num: int, seed: int) -> Tensor:
    start = model.hvp.flow.prior.sample((num, *model.shape), generator(seed, "benchmark"))
    parts = [chosen.solver.solve(model.hvp, model.hvp.flow, part, chosen.times) for part in start.split(2500)]
    return torch.cat(parts)


def search(model: Checkpoint, data: DataSet, budgets: list[int], num: int) -> None:
    flow = model.hvp.flow
    exact = drawn(model, Plan(SOLVERS["rk4"], "uniform", grids.uniform(flow, 100)), num, 0)
    print(f"exact {quality(model, data, exact, 0)[0]:.4f}; nfe sampler grid median 95% quality")
    for nfe in budgets:
        rows = []
        for sampler, grid in itertools.product(SAMPLERS, GRIDS):
            try:
                x = drawn(model, plan(flow, nfe, sampler, grid, model.shape), num, 0)
            except RequestError:
                continue
            errors = (seamless(model, x) - seamless(model, exact)).norm(dim=1)
            ends = [float(errors.quantile(q)) for q in (0.5, 0.95)]
            rows.append((*ends, quality(model, data, x, 0)[0], sampler, grid))
        for median, high, merit, sampler, grid in sorted(rows)[:12]:
            print(f"{nfe:3} {sampler:6} {grid:15} {median:.2e} {high:.2e} {merit:.4f}", flush=True)


if __name__ == "__main__":
    main()
