"""What a dry run takes in place of data and checkpoints that are not there."""

from pathlib import Path

import torch

from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.data.dataset import DataSet, Items
from hgfctl.engine.experiment import experiment
from hgfctl.engine.randomness import generator
from hgfctl.presets import Component, Config


def stand_in(config: Config) -> DataSet | None:
    """Noise in the shape of the data that a configuration names, where it says their shape; for dry runs."""
    options = config.data.options
    if config.data.name == "cifar10":
        shape, classes = (3, 32, 32), 10 if options.get("labels", True) else 0
    elif config.data.name == "folder" and "resolution" in options:
        shape, classes = (options.get("channels") or 3, options["resolution"], options["resolution"]), 0
    else:
        return None
    x = torch.randint(0, 256, (64, *shape), generator=generator("stand-in"), dtype=torch.uint8)
    return Items(x, torch.arange(64) % classes if classes else None)


def stand_in_teacher(config: Config, data: DataSet, device: torch.device) -> Checkpoint:
    """What a checkpoint would hold before any training; for dry runs."""
    plain = config.model_copy(update={"model": Component(name="hvp"), "loss": Component(name="hvp"), "init": None})
    parts = experiment(plain, device, data)
    model = parts.model.eval().requires_grad_(False)
    return Checkpoint(Path("a teacher"), parts.config, model, data.shape, data.classes, step=0, images=0)
