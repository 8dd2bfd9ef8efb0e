"""Which sampler and grid suit flows of designed forces? Error of each against the same network's exact trajectories.

    python tests/benchmarks/designed.py RUN [RUN ...] [--nfe 5 8 10 15 20 35 60] [--num 64]

The reference is dopri5 at a tolerance of 1e-7. Printed, for each run and budget: the five pairs with the smallest
median distance to it (root mean square over coordinates), and what `auto` takes.
"""

import argparse
from pathlib import Path

import torch

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.errors import RequestError
from hgfctl.storage.runs import checkpoint_file

SAMPLERS = ("euler", "heun", "rk4", "ab2", "ab3", "ab4", "abm2", "abm3")
GRIDS = (
    *("uniform", "cosine", "trimmed-cosine", "quadratic", "power:1.5", "power:3"),
    *("sigmoid:1", "sigmoid:1.5", "sigmoid", "sigmoid:1.5,1.5", "sigmoid:1,2"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--nfe", nargs="+", type=int, default=[5, 8, 10, 15, 20, 35, 60])
    parser.add_argument("--num", type=int, default=64)
    arguments = parser.parse_args()
    seeds = torch.arange(arguments.num)
    for run in arguments.runs:
        model = read_checkpoint(checkpoint_file(run), torch.device("cpu"))
        fine = model.config.sample.model_copy(update={"tolerance": 1e-7})
        (reference,) = model.sampler(20_000, "dopri5", default=fine).batches(seeds, arguments.num)
        for nfe in arguments.nfe:
            errors = {}
            for sampler in SAMPLERS:
                for grid in GRIDS:
                    try:
                        chosen = model.sampler(nfe, sampler, grid)
                    except RequestError:
                        continue
                    (made,) = chosen.batches(seeds, arguments.num)
                    off = (made.x - reference.x).flatten(1).square().mean(1).sqrt()
                    errors[sampler, grid] = float(off.median())
            best = sorted(errors, key=lambda pair: errors[pair])[:5]
            auto = model.sampler(nfe)
            took = errors.get((auto.method, auto.grid or ""), float("nan"))
            told = "  ".join(f"{sampler} {grid} {errors[sampler, grid]:.1e}" for sampler, grid in best)
            print(f"{run.name} {nfe:3}: auto {auto.method} {auto.grid} {took:.1e} | {told}", flush=True)


if __name__ == "__main__":
    main()
