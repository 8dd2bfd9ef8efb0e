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
from pathlib import Path

import torch
from sklearn.svm import SVC

from hgfctl.engine.assembly import sampler_of, trained
from hgfctl.engine.data.digits import digits, to_pixels
from hgfctl.engine.metrics.frechet import frechet_distance
from hgfctl.engine.metrics.moments import statistics
from hgfctl.runs import checkpoint_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--nfe", nargs="+", type=int, default=[5, 10, 20, 35])
    parser.add_argument("--num", type=int, default=1438)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 10_000, 20_000])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--grid", default="auto")
    arguments = parser.parse_args()

    real, held_out = digits("train").all(), digits("held-out").all()
    judge = SVC(gamma=0.001).fit(_pixels(real.x), real.labels)
    target = statistics(_pixels(held_out.x))
    reference = frechet_distance(statistics(_pixels(real.x)), target)
    print(f"real digits: label {judge.score(_pixels(held_out.x), held_out.labels):.3f}, frechet {reference:.1f}")
    print(f"{'run':28} {'nfe':>3} {'sampler, grid':24} {'label':14} {'frechet':14} {'of real':8}")
    for run in arguments.runs:
        model = trained(checkpoint_file(run), torch.device("cpu"))
        for nfe in arguments.nfe:
            sampler = sampler_of(
                model.model, model.shape, model.classes, model.config.sample, nfe, arguments.sampler, arguments.grid
            )
            rows = []
            for seed in arguments.seeds:
                seeds = torch.arange(seed, seed + arguments.num)
                pixels = _pixels(torch.cat([part.x for part in sampler.batches(seeds, 250)]))
                asked = sampler.labels(seeds)
                rows.append((judge.score(pixels, asked), frechet_distance(statistics(pixels), target)))
            label, frechet = torch.tensor(rows, dtype=torch.float64).T
            method = f"{sampler.method}, {sampler.grid}"
            ratio = float(frechet.mean()) / reference
            print(f"{run.name:28} {sampler.nfe:3} {method:24} {_spread(label, 3):14} {_spread(frechet):14} {ratio:.2f}")


def _pixels(x: torch.Tensor) -> torch.Tensor:
    return to_pixels(x).flatten(1).double()


def _spread(values: torch.Tensor, digits: int = 1) -> str:
    spread = f" ± {float(values.std()):.{digits}f}" if len(values) > 1 else ""
    return f"{float(values.mean()):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
