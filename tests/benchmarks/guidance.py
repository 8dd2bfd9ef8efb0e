"""Does guidance help digits? Labels and Frechet distance over its weight, at equal budgets of network evaluations.

    python tests/benchmarks/guidance.py RUN [--guides itself CKPT ...] [--weights 1.5 2 3 4] [--intervals 0.4,4 0.1,1]
                                        [--nfe 20 36] [--num 1438] [--seeds 0 10000 20000]

The columns are those of digits.py. RUN is guided by itself without classes, or by other checkpoints, at all noise
levels and in each interval of them. The first row of a budget is unguided: it makes as many calls of one network as the
others make of two.
"""

import argparse
from itertools import product
from pathlib import Path

import torch
from digits import judged

from hgfctl.engine.checkpoint import guided_by, read_checkpoint
from hgfctl.engine.metrics.digits_judge import DigitsJudge
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.storage.runs import checkpoint_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--guides", nargs="+", default=["itself"])
    parser.add_argument("--weights", nargs="+", type=float, default=[1.5, 2, 3, 4])
    parser.add_argument("--intervals", nargs="*", type=_interval, default=[(0.4, 4.0), (0.1, 1.0)])
    parser.add_argument("--nfe", nargs="+", type=int, default=[20, 36])
    parser.add_argument("--num", type=int, default=1438)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 10_000, 20_000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--grid", default="auto")
    arguments = parser.parse_args()

    judge, cpu = DigitsJudge(), torch.device("cpu")
    print(f"real digits: label {judge.real_label:.3f}, frechet {judge.real_frechet:.1f}")
    print(f"{'nfe':>3} {'guide':20} {'interval':9} {'w':>4} {'sampler, grid':24} {'label':14} {'frechet':14} of real")
    model = read_checkpoint(checkpoint_file(arguments.run), cpu)
    guides = {
        name: None if name == "itself" else read_checkpoint(checkpoint_file(Path(name)), cpu)
        for name in arguments.guides
    }
    guided = [
        (name, guided_by(model, weight, guide, interval))
        for (name, guide), interval, weight in product(
            guides.items(), [None, *arguments.intervals], arguments.weights
        )
    ]  # fmt: skip
    for nfe in arguments.nfe:
        for name, guidance in [("none", None), *guided]:
            how = (nfe, arguments.sampler, arguments.grid, guidance)
            sampler = sampler_for(
                model.model, model.shape, model.classes, SamplingRequest.of(model.config.sample, *how)
            )
            ends = "{:g},{:g}".format(*guidance.interval) if guidance and guidance.interval else ""
            cells = f"{sampler.nfe:3} {name[-20:]:20} {ends:9} {guidance.weight if guidance else 1:4g}"
            method = f"{sampler.method}, {sampler.grid}"
            print(f"{cells} {method:24} {judged(judge, sampler, arguments.seeds, arguments.num)}", flush=True)


def _interval(text: str) -> tuple[float, float]:
    low, high = map(float, text.split(","))
    return low, high


if __name__ == "__main__":
    main()
