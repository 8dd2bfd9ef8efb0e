"""Does pairing data and noise within a batch straighten flow matching, and what does it cost?

    python tests/benchmarks/optimal_transport.py [--seeds 0 1 2] [--images 1000000] [--nfe 1 2 5 50] [--within 1 64 256]

First the time of an assignment, beside that of a training step. Then, of eight Gaussians on a circle (preset
ring-flow-matching, times uniform, batch 1024), for independent pairs (within 1) and for optimal transport within parts
of a batch: how far trajectories are from straight, E int |V - (x_1 - x_0)|^2 dt / E |x_1 - x_0|^2, and the sliced
Wasserstein distance between samples and data by Euler's method. A row `data` for the distance of data from data.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from hgfctl.engine.data.mixture import ring_mixture
from hgfctl.engine.experiment import Experiment, experiment
from hgfctl.engine.flows.flow_matching import FlowMatching
from hgfctl.engine.flows.velocity_laws.coupled import CoupledVelocity
from hgfctl.engine.flows.velocity_laws.optimal_transport import TransportedVelocity, assignment
from hgfctl.engine.models.hvp import HVP
from hgfctl.engine.randomness import generator
from hgfctl.engine.sampling.plan import plan
from hgfctl.engine.statistics.sliced import sliced_wasserstein
from hgfctl.engine.training.trainer import Trainer
from hgfctl.presets import load

NUM = 10_000


@dataclass(frozen=True)
class Transported(FlowMatching):
    """Flow matching with optimal transport within parts of a batch."""

    batch: int = 256

    @property
    def velocity_law(self) -> CoupledVelocity:
        return TransportedVelocity(self.prior_sd, 1.0, self.batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--nfe", nargs="+", type=int, default=[1, 2, 5, 50])
    parser.add_argument("--within", nargs="+", type=int, default=[1, 64, 256])
    parser.add_argument("--only-times", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    _times()
    if not arguments.only_times:
        _errors(arguments.seeds, arguments.images, arguments.nfe, arguments.within)


def _times() -> None:
    print("assignment, median of 9 (ms)")
    for count in (256, 1024):
        for dim in (2, 64, 3072):
            x, z = torch.randn(2, count, dim, generator=generator("times", count, dim))
            print(f"  {count:5} items of {dim:4}: {_milliseconds(lambda x=x, z=z: assignment(x, z)):8.2f}")
    for name in ("ring-flow-matching", "digits-flow-matching"):
        parts = experiment(load(name), torch.device("cpu"))
        trainer = Trainer(parts)
        batch = parts.config.train.batch
        print(f"training step of {name}, batch {batch}: {_milliseconds(trainer.advance):.2f}")
        x0, labels = parts.data.part(0, batch, 0, slice(0, batch))
        z = torch.randn(x0.shape, generator=generator("times"))
        for most in (256, 1024):
            law = TransportedVelocity(0.5, 1.0, most)
            pairing = _milliseconds(lambda law=law, x0=x0, z=z, labels=labels: law.paired(x0, z, labels))
            print(f"  pairing its batch within {most}: {pairing:.2f}")


def _milliseconds(work: Callable[[], object]) -> float:
    work()
    taken = []
    for _ in range(9):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1000 * sorted(taken)[4]


def _errors(seeds: list[int], images: int, budgets: list[int], parts: list[int]) -> None:
    data, other = (ring_mixture().sample(NUM, generator("benchmark data", i)) for i in range(2))
    print(f"data      {sliced_wasserstein(data, other):.4f}")
    print("within seed  not straight  " + "  ".join(f"nfe {nfe:<3}" for nfe in budgets))
    for within in parts:
        rows = []
        for seed in seeds:
            hvp = _trained(seed, images, within)
            start = hvp.flow.prior.sample((NUM, 2), generator("benchmark", seed))
            row = [_bend(hvp, start), *(sliced_wasserstein(_drawn(hvp, start, nfe)[-1], data) for nfe in budgets)]
            rows.append(torch.tensor(row))
            _print(within, str(seed), rows[-1])
        _print(within, "mean", torch.stack(rows).mean(0))
        if len(rows) > 1:
            _print(within, "sd", torch.stack(rows).std(0))


def _print(within: int, seed: str, row: Tensor) -> None:
    print(
        f"{within:6} {seed:>4}  {row[0]:<12.4f}  " + "  ".join(f"{value:.4f} " for value in row[1:].tolist()),
        flush=True,
    )


def _trained(seed: int, images: int, within: int) -> HVP:
    config = load("ring-flow-matching", [f"train.seed={seed}", f"train.images={images}", "times=uniform"])
    parts: Experiment = experiment(config, torch.device("cpu"))
    assert isinstance(parts.model, HVP)
    if within > 1:
        parts.model.flow = Transported(sd=parts.model.flow.sd, batch=within)
    trainer = Trainer(parts)
    for _ in range(config.train.steps):
        trainer.advance()
    ema = trainer.ema
    assert isinstance(ema, HVP)
    return ema.eval()


@torch.no_grad()
def _drawn(hvp: HVP, start: Tensor, nfe: int) -> list[Tensor]:
    """Positions by Euler's method on a uniform grid, start and end included."""
    chosen = plan(hvp.flow, nfe, "euler", "uniform")
    return list(chosen.solver.trajectory(hvp, hvp.flow, start, chosen.times))


@torch.no_grad()
def _bend(hvp: HVP, start: Tensor, steps: int = 100) -> float:
    way = _drawn(hvp, start, steps)
    line = way[0] - way[-1]
    bends = [(steps * (before - after) - line).square().sum(1).mean() for before, after in pairwise(way)]
    return float(torch.stack(bends).mean() / line.square().sum(1).mean())


if __name__ == "__main__":
    main()
