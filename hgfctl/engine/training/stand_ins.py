"""Stand-ins: a dry run takes them in place of data and checkpoints that are not there."""

from pathlib import Path

import torch

from hgfctl.config import Component, Config
from hgfctl.engine.checkpoint import Checkpoint
from hgfctl.engine.data.dataset import DataSet, Items
from hgfctl.engine.data.files import files_of
from hgfctl.engine.experiment import experiment
from hgfctl.engine.randomness import generator


def stand_in(config: Config) -> DataSet | None:
    """Noise in the shape of the data that a configuration names, where it says their shape; for dry runs."""
    form = files_of(config.data.name).form(config.data.options)
    if form is None:
        return None
    shape, classes = form
    x = torch.randint(0, 256, (64, *shape), generator=generator("stand-in"), dtype=torch.uint8)
    return Items(x, torch.arange(64) % classes if classes else None)


def stand_in_teacher(config: Config, data: DataSet, device: torch.device) -> Checkpoint:
    """A checkpoint as it would be before any training; for dry runs."""
    plain = config.model_copy(update={"model": Component(name="hvp"), "loss": Component(name="hvp"), "init": None})
    parts = experiment(plain, device, data)
    model = parts.model.eval().requires_grad_(False)
    return Checkpoint(Path("a teacher"), parts.config, model, data.shape, data.classes, step=0, images=0)
