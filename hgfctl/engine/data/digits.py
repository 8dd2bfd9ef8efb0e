"""scikit-learn's digits: 1,797 real 8 x 8 scans of handwritten digits, small enough to come with the library."""

import hashlib
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hgfctl.engine.data.dataset import Items

HELD_OUT = 0.2
"""Share of each class that training never sees: 360 scans of 1,797."""


def digits(split: Literal["train", "held-out", "all"] = "train") -> Items:
    """Data set `digits`: images (1, 8, 8) in [-1, 1], 10 classes.

    Args:
        split: train (1,438 scans), held-out (359) or all; the same on every machine, with every class alike in both.
    """
    from sklearn.datasets import load_digits

    source = load_digits()
    labels = source.target.astype(np.int64)
    chosen = {"train": ~held_out(labels), "held-out": held_out(labels), "all": np.full(len(labels), True)}[split]
    x = torch.from_numpy(source.images[chosen] / 8 - 1).float().unsqueeze(1)
    scans = Items(x, torch.from_numpy(labels[chosen]))
    scans.levels = 17
    return scans


def to_pixels(x: Tensor) -> Tensor:
    """Images in [-1, 1] -> the scans' own scale 0 ... 16, clamped but not rounded."""
    return ((x + 1) * 8).clamp(0, 16)


def held_out(labels: np.ndarray) -> np.ndarray:
    """(N,) bool. Of each class the scans whose position hashes lowest: no generator that changes with a version."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        of_class = sorted(np.flatnonzero(labels == label).tolist(), key=_hash)
        chosen[of_class[: round(HELD_OUT * len(of_class))]] = True
    return chosen


def _hash(position: int) -> bytes:
    return hashlib.blake2b(f"digits {position}".encode(), digest_size=8).digest()
