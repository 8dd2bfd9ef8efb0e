"""What bfloat16 in the network, and float32 in the solver, do to samples.

python tests/benchmarks/precision.py network RUN [--nfe 20] [--num 1438] [--seeds 0 10000 20000]
python tests/benchmarks/precision.py state

network   of digits: RMS difference (pixels in [-1, 1]) to the samples of the same network in float64, from the same
          seeds; the share of pixels that differ by a level of 16 or more; label and Frechet distance as in digits.py
state     of the exact HVP of `gmm64`, from float32 starts: RMS distance of a float32 state to a float64 one after
          so many steps, by plain and by compensated sums
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import get_args
from unittest.mock import patch

import torch
from torch import Tensor

from hgfctl.engine.checkpoint import read_checkpoint
from hgfctl.engine.data.mixture import gmm64_mixture
from hgfctl.engine.flows.oscillation import Oscillation
from hgfctl.engine.oracles.mixture import MixtureHVP
from hgfctl.engine.precision import Inference, prepared, region
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.sampling.sampler import FlowSampler
from hgfctl.engine.solvers import GRIDS, SOLVERS
from hgfctl.engine.solvers.running_sum import RunningSum
from hgfctl.storage.runs import checkpoint_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["network", "state"])
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--nfe", type=int, default=20)
    parser.add_argument("--num", type=int, default=1438)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 10_000, 20_000])
    arguments = parser.parse_args()
    {"network": network, "state": state}[arguments.what](arguments)


def network(arguments: argparse.Namespace) -> None:
    from sklearn.svm import SVC

    from hgfctl.engine.data.digits import digits, to_pixels
    from hgfctl.engine.statistics.frechet import frechet_distance
    from hgfctl.engine.statistics.moments import statistics

    def flat(x: Tensor) -> Tensor:
        return to_pixels(x).flatten(1).double()

    real, held_out = digits("train").all(), digits("held-out").all()
    judge, target = SVC(gamma=0.001).fit(flat(real.x), real.labels), statistics(flat(held_out.x))
    exact = {seed: _samples(arguments, "fp64", seed)[0] for seed in arguments.seeds}
    for precision in get_args(Inference):
        rows = []
        for seed in arguments.seeds:
            x, labels = (
                (exact[seed], _labels(arguments, seed)) if precision == "fp64" else _samples(arguments, precision, seed)
            )
            off = (x - exact[seed]).abs()
            rows.append([
                float(off.square().mean().sqrt()), float((off > 1 / 8).double().mean()),
                float(judge.score(flat(x), labels)), frechet_distance(statistics(flat(x)), target),
            ])  # fmt: skip
        mean, spread = torch.tensor(rows).double().mean(0).tolist(), torch.tensor(rows).double().std(0).tolist()
        print(
            f"{precision}: off by {mean[0]:.1e} ± {spread[0]:.0e}, {mean[1]:.2%} of pixels by a level or more; label "
            f"{mean[2]:.4f} ± {spread[2]:.4f}, frechet {mean[3]:.2f} ± {spread[3]:.2f}",
            flush=True,
        )


def _sampler(arguments: argparse.Namespace, precision: Inference) -> FlowSampler:
    model = read_checkpoint(checkpoint_file(arguments.run), torch.device("cpu"))
    prepared(model.model, precision, torch.device("cpu"))
    return FlowSampler(model.shape, model.classes, model.hvp, plan(model.hvp.flow, arguments.nfe))


def _labels(arguments: argparse.Namespace, seed: int) -> Tensor | None:
    return _sampler(arguments, "fp32").labels(torch.arange(seed, seed + arguments.num))


def _samples(arguments: argparse.Namespace, precision: Inference, seed: int) -> tuple[Tensor, Tensor | None]:
    sampler, seeds = _sampler(arguments, precision), torch.arange(seed, seed + arguments.num)
    with region(precision, torch.device("cpu")):
        return torch.cat([part.x for part in sampler.batches(seeds, 240)]), sampler.labels(seeds)


class _Plain(RunningSum):
    """A sum that forgets."""

    def add(self, increment: Tensor, confine: Callable[[Tensor], Tensor]) -> Tensor:
        self.value = confine(self.value + increment)
        return self.value


def state(arguments: argparse.Namespace) -> None:
    flow = Oscillation()
    exact = MixtureHVP(gmm64_mixture(), flow)
    start = flow.prior.sample((64, 64), generator(0, "precision")).float()
    print("solver  steps  compensated  plain    gain")
    for name, module in (("euler", "one_step"), ("heun", "one_step"), ("ab4", "adams_bashforth")):
        for steps in (100, 1000):
            times = GRIDS["uniform"](flow, steps)
            truth = SOLVERS[name].solve(exact, flow, start.double(), times)
            off = []
            for kind in (RunningSum, _Plain):
                with patch(f"hgfctl.engine.solvers.{module}.RunningSum", kind):
                    found = SOLVERS[name].solve(exact, flow, start, times)
                off.append(float((found - truth).square().mean().sqrt()))
            print(f"{name:7} {steps:5}  {off[0]:.1e}      {off[1]:.1e}  {off[1] / off[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
