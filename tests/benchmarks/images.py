"""How near are generated images to a real set, flow by flow? Without a network trained on photographs.

    python tests/benchmarks/images.py RUN [RUN ...] --data PATH [--nfe 5 10 20] [--num 1000] [--sampler auto]

The Frechet distance of images averaged to 8 x 8 pixels, from -1 to 1, to all real ones. It falls with the number of
images, so the floor stands beside it: the distance of as many real images, drawn at random, to all of them.
"""

import argparse
from pathlib import Path

import torch
from torch.nn.functional import adaptive_avg_pool2d

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.data import DATA
from hgfctl.engine.data.locate import kind_of
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.sampling.sampler import FlowSampler
from hgfctl.engine.statistics.frechet import frechet_distance
from hgfctl.engine.statistics.moments import statistics
from hgfctl.storage.runs import checkpoint_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--nfe", nargs="+", type=int, default=[5, 10, 20])
    parser.add_argument("--num", type=int, default=1000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 10_000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--grid", default="auto")
    arguments = parser.parse_args()

    real = features(DATA.build(kind_of(arguments.data), {"path": arguments.data}).all().x)
    target = statistics(real)
    floor = [
        frechet_distance(
            statistics(real[torch.randperm(len(real), generator=generator(seed))[: arguments.num]]), target
        )
        for seed in arguments.seeds
    ]
    print(f"{len(real)} real images; {arguments.num} of them: {spread(floor)}")
    for run in arguments.runs:
        model = read_checkpoint(checkpoint_file(run), torch.device("cpu"))
        for nfe in arguments.nfe:
            schedule = plan(model.hvp.flow, nfe, arguments.sampler, arguments.grid)
            sampler = FlowSampler(model.shape, model.classes, model.hvp, schedule)
            distances = []
            for seed in arguments.seeds:
                seeds = torch.arange(seed, seed + arguments.num)
                made = torch.cat([part.x.clamp(-1, 1) for part in sampler.batches(seeds, 100)])
                distances.append(frechet_distance(statistics(features(made)), target))
            print(
                f"{run.name:36} nfe {sampler.nfe:3} {sampler.method}, {sampler.grid}: {spread(distances)}", flush=True
            )


def features(x: torch.Tensor) -> torch.Tensor:
    """(N, C, H, W) -> (N, 64 C), float64."""
    return adaptive_avg_pool2d(x, 8).flatten(1).double()


def spread(values: list[float]) -> str:
    numbers = torch.tensor(values, dtype=torch.float64)
    return f"{float(numbers.mean()):.2f}" + (f" ± {float(numbers.std()):.2f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
