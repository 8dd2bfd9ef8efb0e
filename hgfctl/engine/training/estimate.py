"""Estimates of what a training takes, from a few real steps: for the days before one has the data, or the machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hgfctl.engine import precision
from hgfctl.engine.experiment import Experiment
from hgfctl.engine.models.hvp import parameter_count
from hgfctl.engine.randomness import generator
from hgfctl.engine.training.memory import peak_memory
from hgfctl.engine.training.trainer import Trainer

PATIENCE = 8.0
"""Seconds that a measured step may take; a longer one is foretold from smaller batches."""
FLOAT32 = 4
"""Bytes."""


@dataclass(frozen=True)
class Estimate:
    """The cost of one training on one device.

    Args:
        parameters: of the model.
        flops: multiplications and additions of the loss for one item: of the network's forward pass, or of several.
        training_flops: of the loss and its gradient.
        fixed_bytes: of weights, gradients, Adam's moments and averages.
        bytes_per_item: kept for the backward pass, for each item of a batch (or part of one).
        seconds_per_step: of a whole batch.
        measured: "batch" where whole steps were timed, else how it was foretold.
        peak_bytes: of the process or device at the end of the measured steps.
    """

    parameters: int
    flops: int
    training_flops: int
    fixed_bytes: int
    bytes_per_item: int
    seconds_per_step: float
    measured: str
    peak_bytes: int

    def memory(self, batch: int) -> int:
        """Bytes that a batch needs, or a part of one under accumulation; what libraries take is not in it."""
        return self.fixed_bytes + batch * self.bytes_per_item


def estimate(build: Callable[[int], Experiment], wanted: int, device: torch.device) -> Estimate:
    """Measures.

    Args:
        build: the experiment, freshly made, with another batch size (and no accumulation).
        wanted: its real batch size.
        device: where.
    """
    parts = build(1)
    train = parts.config.train
    flops, training_flops, kept = _one_item(parts, device)
    trainer, batch = Trainer(parts), 1
    pace = _seconds(trainer)
    while 2 * batch <= wanted and 2 * pace < PATIENCE:
        batch *= 2
        trainer = Trainer(build(batch))
        pace = _seconds(trainer)
        if pace * wanted / batch < PATIENCE:
            trainer, batch = Trainer(build(wanted)), wanted
            pace = _seconds(trainer)
            break
    parameters = parameter_count(trainer.model)
    copies = 5 + len(train.power_emas) + bool(parts.init)  # weights, gradients, two moments, averages, teacher
    return Estimate(
        parameters=parameters,
        flops=flops,
        training_flops=training_flops,
        fixed_bytes=parameters * FLOAT32 * copies,
        bytes_per_item=kept,
        seconds_per_step=pace * wanted / batch,
        measured="steps of the whole batch" if batch == wanted else f"steps of {batch}, scaled to {wanted}",
        peak_bytes=peak_memory(device),
    )


def _seconds(trainer: Trainer) -> float:
    """Seconds of a step: the median of three, or the second one where it is long; the first one allocates and tunes."""
    trainer.advance()
    taken: list[float] = []
    while len(taken) < 3 and sum(taken) < PATIENCE:
        began = time.monotonic()
        trainer.advance()
        taken.append(time.monotonic() - began)
    return sorted(taken)[len(taken) // 2]


def _one_item(parts: Experiment, device: torch.device) -> tuple[int, int, int]:
    """Flops of the loss of one item, those with its gradient, and bytes that are kept for the backward pass."""
    from torch.utils.flop_counter import FlopCounterMode

    train, model = parts.config.train, parts.model.train()
    x0, labels = parts.data.batch(0, 1, 0)
    x0, labels = x0.to(device), None if labels is None else labels.to(device)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        FlopCounterMode(display=False) as counter,
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        precision.training_region(train.precision, device),
    ):
        loss = parts.loss(model, x0, labels, generator(0, "estimate")).mean()
        forward = counter.get_total_flops()
        loss.backward()  # type: ignore[no-untyped-call]
    return forward, counter.get_total_flops(), sum(kept.values())
