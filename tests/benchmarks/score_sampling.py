"""Do samples of a learned score have the modes' weights and the covariance of the mixture that it was learned from?

    python tests/benchmarks/score_sampling.py RUN [--nfe 1000 3000] [--sampler auto] [--num 20000] [--seeds 0 1000 2000]

For each budget, over the seeds: the largest difference of a mode's share (by the most likely mode of each sample) from
that of a million real draws, in points; the largest difference of the covariance's entries, in per cent of the
larger variance; and the same for real draws of that number.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.data.density import DensityData
from hgfctl.engine.data.mixture import GaussianMixture
from hgfctl.engine.parts import data_of
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.storage.runs import checkpoint_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--nfe", nargs="+", type=int, default=[1000, 3000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--num", type=int, default=20_000)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 100_000, 200_000])
    arguments = parser.parse_args()

    model = read_checkpoint(checkpoint_file(arguments.run), torch.device("cpu"))
    data = data_of(model.config)
    assert isinstance(data, DensityData)
    mixture = data.density
    assert isinstance(mixture, GaussianMixture)
    truth = mixture.sample(1_000_000, generator(0, "benchmark", "truth"))
    print(f"{'samples':12} {'weights, points':18} covariance, %")
    real = [mixture.sample(arguments.num, generator(seed, "benchmark", "again")) for seed in arguments.seeds]
    print(f"{'real':12} {_row([_compare(mixture, x, truth) for x in real])}")
    for nfe in arguments.nfe:
        sampler = sampler_for(
            model.model,
            model.shape,
            model.classes,
            SamplingRequest.of(model.config.sample, nfe, arguments.sampler),
        )
        drawn = []
        for seed in arguments.seeds:
            seeds = torch.arange(seed, seed + arguments.num)
            drawn.append(torch.cat([part.x.double() for part in sampler.batches(seeds, 5000)]))
        print(f"nfe {sampler.nfe:<8} {_row([_compare(mixture, x, truth) for x in drawn])}", flush=True)


def _compare(mixture: GaussianMixture, x: Tensor, truth: Tensor) -> tuple[float, float]:
    weights = (_shares(mixture, x) - _shares(mixture, truth)).abs().max() * 100
    real = torch.cov(truth.T)
    return float(weights), float((torch.cov(x.T) - real).abs().max() / real.max()) * 100


def _shares(mixture: GaussianMixture, x: Tensor) -> Tensor:
    one, zero = x.new_ones(()), x.new_zeros(())
    modes = torch.cat([mixture.posterior(part, one, zero)[0].argmax(1) for part in x.split(50_000)])
    return torch.bincount(modes, minlength=len(mixture.means)) / len(x)


def _row(found: list[tuple[float, float]]) -> str:
    weights, covariance = torch.tensor(found, dtype=torch.float64).T
    return f"{weights.mean():5.2f} ± {weights.std():<10.2f} {covariance.mean():5.2f} ± {covariance.std():.2f}"


if __name__ == "__main__":
    main()
