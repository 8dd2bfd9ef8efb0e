"""How good are generated patches of photographs? Against the held-out parts of the same photographs.

    python tests/benchmarks/patches.py RUN [RUN ...] [--nfe 5 10 20 35] [--num 4096] [--seeds 0 10000 20000]

For each run and budget, mean and standard deviation over sets of samples:

    frechet   Frechet distance in pixel space (-1 ... 1) of `num` patches to the training patches, and how many times
              that of as many training patches
    spectrum  root mean square, over eight bands of spatial frequency, of ln(energy / energy of the training patches)

The held-out parts of two photographs are other things than the rest (no flower, no roof): against them the training
patches themselves are far off, which is printed, and nothing is judged by it.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.data.patches import patches
from hgfctl.engine.flows.basis import Cosines
from hgfctl.engine.randomness import generator
from hgfctl.engine.statistics.frechet import frechet_distance
from hgfctl.engine.statistics.moments import statistics
from hgfctl.storage.runs import checkpoint_file

BANDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--nfe", nargs="+", type=int, default=[5, 10, 20, 35])
    parser.add_argument("--num", type=int, default=4096)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 10_000, 20_000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--grid", default="auto")
    arguments = parser.parse_args()

    real = patches().all().x
    some = real[torch.randperm(len(real), generator=generator("real"))]
    target, energies = statistics(real.flatten(1)), bands(real)
    floor = frechet_distance(statistics(some[: arguments.num].flatten(1)), target)
    held_out = frechet_distance(statistics(patches("held-out").all().x.flatten(1)), target)
    print(f"{arguments.num} training patches: frechet {floor:.3f}; the held-out ones {held_out:.2f}")
    for run in arguments.runs:
        model = read_checkpoint(checkpoint_file(run), torch.device("cpu"))
        for nfe in arguments.nfe:
            sampler = model.sampler(nfe, arguments.sampler, arguments.grid)
            rows = []
            for first in arguments.seeds:
                seeds = torch.arange(first, first + arguments.num)
                made = torch.cat([part.x for part in sampler.batches(seeds, 256)])
                distance = frechet_distance(statistics(made.flatten(1)), target)
                rows.append((distance, float((bands(made) / energies).log().square().mean().sqrt())))
            (frechet, spectrum), spread = (
                part(torch.tensor(rows, dtype=torch.float64), 0).tolist() for part in (torch.mean, torch.std)
            )
            print(
                f"{run.parent.name}/{run.name:28} {sampler.nfe:3} {sampler.method}, {sampler.grid:18} "
                f"frechet {frechet:.3f} ± {spread[0]:.3f} ({frechet / floor:.1f} x)   "
                f"spectrum {spectrum:.3f} ± {spread[1]:.3f}"
            )


def bands(x: Tensor) -> Tensor:
    """Mean energy of the cosine modes in each band of spatial frequency: (N, 1, H, W) -> (BANDS,)."""
    energy = Cosines().modes(x.double()).square().mean(0)
    band = (Cosines.frequencies(tuple(x.shape[1:])) * BANDS).long().clamp(max=BANDS - 1)
    return torch.stack([energy[band == i].mean() for i in range(BANDS)])


if __name__ == "__main__":
    main()
