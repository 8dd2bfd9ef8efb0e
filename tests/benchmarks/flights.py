"""Does simulating starve training? Steps of a simulated flow beside those of a closed form, in turns in one process.

    python tests/benchmarks/flights.py [--rounds 6]

Ring presets, the same network and batch (1,024): ring-oscillation (closed form), ring-pendulum with states flown ahead
by a thread of their own, and the same with each batch flown when it is needed. A turn is a whole round of flights, 64
steps, with one torch thread; printed is the median over turns of the time relative to the closed form's in that turn.
"""

import argparse
import time

import torch

from hgfctl.engine.experiment import experiment
from hgfctl.engine.training.trainer import Trainer
from hgfctl.presets import load

STEPS = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    device = torch.device("cpu")
    trainers = {
        name: Trainer(experiment(load(preset), device))
        for name, preset in (
            ("closed form", "ring-oscillation"),
            ("flown ahead", "ring-pendulum"),
            ("flown when needed", "ring-pendulum"),
        )
    }
    trainers["flown when needed"]._flights = []
    ratios: dict[str, list[float]] = {name: [] for name in trainers}
    for i in range(rounds + 1):
        taken = {name: seconds(trainer) for name, trainer in trainers.items()}
        if i:  # the first turn waits for the first flights
            for name, value in taken.items():
                ratios[name].append(value / taken["closed form"])
    for name, values in ratios.items():
        found = torch.tensor(values)
        print(f"{name:18} {found.median():.2f} ({found.min():.2f} to {found.max():.2f})")


def seconds(trainer: Trainer) -> float:
    began = time.monotonic()
    for _ in range(STEPS):
        trainer.advance()
    return time.monotonic() - began


if __name__ == "__main__":
    main()
