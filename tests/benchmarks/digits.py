"""How good are generated digits? Against scikit-learn's held-out scans, at several budgets.

    python tests/benchmarks/digits.py RUN [RUN ...] [--nfe 5 10 20 35] [--num 1438] [--seeds 0 10000 20000]

For each run, budget and seed:

    label     share of the digits that a support vector classifier (gamma = 0.001), fitted on the real training digits
              (pixels 0 ... 16), labels as they were asked for
    frechet   Frechet distance in pixel space (0 ... 16) to the held-out digits; and how many times that of the real
              training digits to the held-out ones. It falls with the number of digits (1/N), so as many are
              generated as there are real training digits: 1,438
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.metrics.digits_judge import DigitsJudge
from hgfctl.engine.sampling.choose import sampler_for
from hgfctl.engine.sampling.request import SamplingRequest
from hgfctl.engine.sampling.sampler import Sampler
from hgfctl.storage.runs import checkpoint_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--nfe", nargs="+", type=int, default=[5, 10, 20, 35])
    parser.add_argument("--num", type=int, default=1438)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 10_000, 20_000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--grid", default="auto")
    arguments = parser.parse_args()

    judge = DigitsJudge()
    print(f"real digits: label {judge.real_label:.3f}, frechet {judge.real_frechet:.1f}")
    print(f"{'run':28} {'nfe':>3} {'sampler, grid':24} {'label':14} {'frechet':14} {'of real':8}")
    for run in arguments.runs:
        model = read_checkpoint(checkpoint_file(run), torch.device("cpu"))
        for nfe in arguments.nfe:
            request = SamplingRequest.of(model.config.sample, nfe, arguments.sampler, arguments.grid)
            sampler = sampler_for(model.model, model.shape, model.classes, request)
            method = f"{sampler.method}, {sampler.grid}"
            print(f"{run.name:28} {sampler.nfe:3} {method:24} {judged(judge, sampler, arguments.seeds, arguments.num)}")


def judged(judge: DigitsJudge, sampler: Sampler, firsts: Sequence[int], num: int) -> str:
    """The columns label, frechet and of real: of sets of `num` digits, each from its first seed on."""
    rows = []
    for first in firsts:
        seeds = torch.arange(first, first + num)
        made = torch.cat([part.x for part in sampler.batches(seeds, 250)])
        rows.append((judge.label(made, sampler.labels(seeds)), judge.frechet(made)))
    label, frechet = torch.tensor(rows, dtype=torch.float64).T
    ratio = float(frechet.mean()) / judge.real_frechet
    return f"{spread(label, 3):14} {spread(frechet):14} {ratio:.2f}"


def spread(values: torch.Tensor, digits: int = 1) -> str:
    """Mean ± standard deviation."""
    deviation = f" ± {float(values.std()):.{digits}f}" if len(values) > 1 else ""
    return f"{float(values.mean()):.{digits}f}{deviation}"


if __name__ == "__main__":
    main()
