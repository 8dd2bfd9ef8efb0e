"""Do figures by features that need no photographs tell good images from bad ones? On scikit-learn's digits.

    python tests/benchmarks/evaluation.py RUN [--nfe 20] [--seeds 0 10000 20000]

RUN is a training of digits-oscillation. By features `pixels` and `random`, the Frechet distance to the real training
digits (1,438) of as many images: generated from the run's last checkpoint, from the one nearest to half of the
training, and from its first one; and of noise. Mean and standard deviation over seeds. Below them what two halves (two
quarters) of all 1,797 real digits, drawn at random, are apart: the laws are one, so this is bias alone.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.data.digits import digits
from hgfctl.engine.evaluation.image_sets import as_bytes
from hgfctl.engine.features import FEATURES
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.statistics.frechet import frechet_distance
from hgfctl.engine.statistics.moments import statistics
from hgfctl.storage.runs import Run

CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--nfe", type=int, default=20)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 10_000, 20_000])
    arguments = parser.parse_args()

    real, every = (as_bytes(digits(split).all().x) for split in ("train", "all"))
    checkpoints = Run(arguments.run).checkpoints()
    chosen = (checkpoints[-1], checkpoints[(len(checkpoints) - 1) // 2], checkpoints[0])
    rows = {path.stem: [generated(path, len(real), arguments.nfe, seed) for seed in arguments.seeds] for path in chosen}
    rows["noise"] = [noise(real.shape, seed) for seed in arguments.seeds]
    features = {name: FEATURES[name](CPU) for name in ("pixels", "random")}
    print(f"{'images':16}" + "".join(f"{'FID(' + name + ')':>20}" for name in features))
    for name, sets in rows.items():
        found = [[frechet_distance(statistics(f(x)), statistics(f(real))) for x in sets] for f in features.values()]
        print(f"{name:16}" + "".join(f"{spread(values):>20}" for values in found), flush=True)
    for parts in (2, 4):
        found = [[apart(f(every), parts, seed) for seed in arguments.seeds] for f in features.values()]
        title = f"real, 2 x {len(every) // parts}"
        print(f"{title:16}" + "".join(f"{spread(values):>20}" for values in found))


def generated(path: Path, count: int, nfe: int, seed: int) -> Tensor:
    """Images of a checkpoint, uint8."""
    model = read_checkpoint(path, CPU)
    sampler = sampler_for(model.model, model.shape, model.classes, SamplingRequest.of(model.config.sample, nfe))
    return as_bytes(torch.cat([part.x for part in sampler.batches(torch.arange(seed, seed + count), 250)]))


def noise(shape: torch.Size, seed: int) -> Tensor:
    """Every pixel uniform on 0 ... 255."""
    return torch.randint(0, 256, shape, generator=generator(seed, "noise"), dtype=torch.uint8)


def apart(features: Tensor, parts: int, seed: int) -> float:
    """The distance between two random parts, each one of so many."""
    order = torch.randperm(len(features), generator=generator(seed, "halves"))
    size = len(features) // parts
    return frechet_distance(statistics(features[order[:size]]), statistics(features[order[size : 2 * size]]))


def spread(values: list[float]) -> str:
    numbers = torch.tensor(values, dtype=torch.float64)
    return f"{float(numbers.mean()):.4g} ± {float(numbers.std()):.2g}"


if __name__ == "__main__":
    main()
