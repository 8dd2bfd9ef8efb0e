"""Figures of a data set, to look at before anything is trained on it."""

from dataclasses import dataclass

import numpy as np
import torch

from hgfctl.engine.data.dataset import Batch, Finite

SHEET = 64
"""Images of a contact sheet, equally far apart in the data set."""


@dataclass(frozen=True)
class Inspection:
    """Figures of a data set; means and standard deviations on the scale [-1, 1] of images.

    Args:
        count: of the items that can be used.
        shape: of an item.
        classes: items of each class; empty without classes.
        class_names: where classes have names.
        mean, sd: of each channel, or over all coordinates of vectors.
        root_mean_square: sqrt(E x^2), the `sd` of a flow's preconditioning.
        skipped: "path: reason" of each image that cannot be used.
        sheet: some items.
    """

    count: int
    shape: tuple[int, ...]
    classes: list[int]
    class_names: list[str]
    mean: list[float]
    sd: list[float]
    root_mean_square: float
    skipped: list[str]
    sheet: Batch


def inspect(data: Finite) -> Inspection:
    """Looks at every item once, in float64 sums."""
    images = len(data.shape) == 3
    channels = data.shape[0] if images else 1
    sums = torch.zeros(2, channels, dtype=torch.float64)
    kinds = np.zeros(data.classes, np.int64)
    for part in torch.split(torch.arange(len(data)), 1024):
        x, labels = data.at(part)
        flat = (x.transpose(0, 1) if images else x.unsqueeze(0)).double().reshape(channels, -1)
        sums += torch.stack([flat.sum(1), flat.square().sum(1)])
        if labels is not None:
            kinds += np.bincount(labels.numpy(), minlength=data.classes)
    numbers = len(data) * np.prod(data.shape) / channels
    mean, square = sums / numbers
    chosen = torch.linspace(0, len(data) - 1, min(SHEET, len(data))).round().long()
    return Inspection(
        count=len(data),
        shape=data.shape,
        classes=kinds.tolist(),
        class_names=list(data.class_names),
        mean=mean.tolist(),
        sd=(square - mean**2).clamp_min(0).sqrt().tolist(),
        root_mean_square=float(square.mean().sqrt()),
        skipped=list(data.skipped),
        sheet=data.at(chosen),
    )
